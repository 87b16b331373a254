import type { Device } from '../lib/device/device.js';

export interface Timing {
  /** Median microseconds of one call. */
  readonly us: number;
  /** Distance between the quartiles over the median. */
  readonly spread: number;
}

export interface Effort {
  /** Samples of which the median is taken. */
  readonly samples: number;
  /** Milliseconds to spend on warming up, and on all samples together: a long kernel gets fewer calls, never none. */
  readonly budgetMs: number;
}

const minimumWarmUps = 50;
const mostCallsInGraph = 20;
// A sample shorter than this is as much clock as kernel.
const sampleMs = 1;

/**
 * Device time of what `run` enqueues. On a GPU: replays of a graph of several calls, between events on the device,
 * after at least 50 warm-up calls (fewer where they pass the budget). On the CPU: wall time of single calls.
 */
export async function measure(device: Device, run: () => void, effort: Effort): Promise<Timing> {
  if (device.kind === 'cpu') return measureCalls(device, run, effort);
  // One call warms caches and tells how many fit the budget.
  await device.time(run);
  const firstMs = await device.time(run);
  const calls = Math.max(1, Math.min(mostCallsInGraph, Math.floor((2 * sampleMs) / firstMs)));
  const graph = device.capture(() => {
    for (let call = 0; call < calls; ++call) run();
  });
  try {
    const replayMs = Math.max(await device.time(() => graph.replay()), 1e-4);
    const wanted = Math.ceil(minimumWarmUps / calls);
    const warmUps = Math.max(1, Math.min(wanted, Math.floor(effort.budgetMs / replayMs)));
    await device.time(() => repeat(warmUps, () => graph.replay()));
    const replays = Math.max(1, Math.floor(Math.min(sampleMs, effort.budgetMs / effort.samples) / replayMs));
    const samples: number[] = [];
    const deadline = performance.now() + 2 * effort.budgetMs;
    while (samples.length < effort.samples && (samples.length === 0 || performance.now() < deadline)) {
      const ms = await device.time(() => repeat(replays, () => graph.replay()));
      samples.push((1000 * ms) / (replays * calls));
    }
    return summarise(samples);
  } finally {
    graph.dispose();
  }
}

async function measureCalls(device: Device, run: () => void, effort: Effort): Promise<Timing> {
  const samples: number[] = [];
  const deadline = performance.now() + effort.budgetMs;
  do samples.push(1000 * (await device.time(run)));
  while (samples.length < effort.samples && performance.now() < deadline);
  return summarise(samples);
}

/**
 * Host microseconds of one call of `run`, which enqueues and returns: the median over batches, with the device idle
 * between them, short enough that its queue never fills and makes the host wait.
 */
export async function measureHost(device: Device, run: () => void, batches: number): Promise<Timing> {
  const calls = 200;
  const samples: number[] = [];
  // The first tenth lets the engine compile the path.
  for (let batch = -batches / 10; batch < batches; ++batch) {
    const start = performance.now();
    for (let call = 0; call < calls; ++call) run();
    const us = (1000 * (performance.now() - start)) / calls;
    if (batch >= 0) samples.push(us);
    await device.synchronize();
  }
  return summarise(samples);
}

/** The median and the spread of times in microseconds. */
export function summarise(samples: readonly number[]): Timing {
  const sorted = [...samples].sort((a, b) => a - b);
  const at = (share: number): number => sorted[Math.floor(share * (sorted.length - 1))];
  const us = at(0.5);
  return { us, spread: us === 0 ? 0 : (at(0.75) - at(0.25)) / us };
}

function repeat(times: number, body: () => void): void {
  for (let i = 0; i < times; ++i) body();
}
