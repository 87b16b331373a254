// PyTorch as a peer: a Python process that answers one problem after another (bench/peers/torch_peers.py).

import { type ChildProcess, spawn } from 'node:child_process';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { packageRoot } from '../lib/backends/load-addon.cjs';
import type { FloatDType } from '../lib/tensor/dtype.js';
import type { Effort } from './measure.js';
import { noPeers, type PeerTimes } from './peers.js';
import type { Column, Times } from './timings.js';

/** What PyTorch is asked to do: an operation that the script knows, and its sizes. */
export type TorchProblem = { readonly [name: string]: unknown };

interface Answer {
  readonly runs: readonly { readonly name: string; readonly times: Times }[];
  readonly problems: readonly string[];
}

// Compiling takes this long at worst.
const timeoutMs = 180_000;

/** The process, started with the first problem. */
export class TorchPeer {
  readonly #command: readonly string[];
  #child: ChildProcess | undefined;
  #lines: AsyncIterator<string> | undefined;
  /** Why there is no PyTorch, once that is known. */
  #problem: string | undefined;

  constructor(command = ['python3', path.join(packageRoot(), 'bench', 'peers', 'torch_peers.py')]) {
    this.#command = command;
  }

  async measure(
    operation: string,
    dtype: FloatDType,
    problem: TorchProblem,
    columns: readonly Column[],
    { samples, budgetMs }: Effort,
  ): Promise<PeerTimes> {
    if (this.#child === undefined && this.#problem === undefined) await this.#start();
    if (this.#problem !== undefined) return { ...noPeers, problems: [`torch: ${this.#problem}`] };
    const request = { operation, dtype, problem, columns, samples, budgetMs };
    this.#child?.stdin?.write(`${JSON.stringify(request)}\n`);
    const answer = (await this.#next()) as Answer | undefined;
    if (answer === undefined) {
      this.#problem ??= 'python3 ended or took too long';
      this.stop();
      return { ...noPeers, problems: [`torch: ${this.#problem}`] };
    }
    return fastest(answer, columns[0]);
  }

  stop(): void {
    this.#child?.kill('SIGKILL');
    this.#child = undefined;
  }

  async #start(): Promise<void> {
    const [program, ...args] = this.#command;
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'ignore'] });
    this.#child = child;
    child.on('error', (error) => {
      this.#problem ??= error.message;
    });
    // A process that is gone takes no more problems: its answer says so.
    child.stdin.on('error', () => {});
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const first = (await this.#next()) as { problem?: string } | undefined;
    if (first === undefined) this.#problem ??= 'python3 does not start';
    else if (first.problem !== undefined) this.#problem = first.problem;
    if (this.#problem !== undefined) this.stop();
  }

  /** The next line's value; undefined at the end, past the time limit, or where it is no JSON. */
  async #next(): Promise<unknown> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<undefined>((resolve) => {
      timer = setTimeout(() => resolve(undefined), timeoutMs);
    });
    try {
      const line = await Promise.race([this.#lines?.next(), late]);
      return line === undefined || line.done ? undefined : JSON.parse(line.value);
    } catch {
      return undefined;
    } finally {
      clearTimeout(timer);
    }
  }
}

function fastest({ runs, problems }: Answer, first: Column): PeerTimes {
  if (runs.length === 0) return { ...noPeers, problems };
  const us = (times: Times): number => times[first]?.us ?? Number.POSITIVE_INFINITY;
  const best = runs.reduce((least, run) => (us(run.times) < us(least.times) ? run : least));
  return {
    times: { torch: best.times },
    variants: { torch: best.name.slice('torch '.length) },
    runs: [],
    // That one of PyTorch's kernels does not take a problem is no news where another does.
    problems: [],
  };
}
