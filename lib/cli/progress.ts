import { Presets, SingleBar } from 'cli-progress';

/** A bar on a terminal; nothing where the output goes elsewhere. */
export class ProgressBar {
  #bar: SingleBar | undefined;
  #total = 0;
  #done = 0;

  start(total: number): void {
    this.#total = total;
    this.#show('');
  }

  /** Work on item number `done` begins. */
  step(done: number, name: string): void {
    this.#done = done;
    this.#bar?.update(done, { name: shortened(name) });
  }

  /** Prints above the bar. */
  print(text: string): void {
    this.stop();
    console.log(text);
    this.#show('');
  }

  stop(): void {
    this.#bar?.stop();
    this.#bar = undefined;
  }

  #show(name: string): void {
    if (!process.stderr.isTTY) return;
    const format = '{bar} {value}/{total} {name}';
    this.#bar = new SingleBar(
      { format, clearOnComplete: true, barsize: 30, stream: process.stderr },
      Presets.shades_classic,
    );
    this.#bar.start(this.#total, this.#done, { name });
  }
}

function shortened(name: string): string {
  const room = Math.max(20, (process.stderr.columns ?? 80) - 50);
  return name.length > room ? `${name.slice(0, room - 3)}...` : name;
}
