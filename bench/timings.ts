// The columns of time: the same work under different circumstances.

import { CudaBackend } from '../lib/backends/cuda.js';
import type { Device } from '../lib/device/device.js';
import { type Effort, measure, summarise, type Timing } from './measure.js';

/**
 * warm: replayed from a CUDA graph, operands where the last call left them. cold: the same with the L2 cache emptied before
 * every call. eager: calls one after another as a program makes them. Device time, all three.
 */
export const columns = ['warm', 'cold', 'eager'] as const;
export type Column = (typeof columns)[number];
export type Times = { readonly [C in Column]?: Timing };

const eagerCalls = 50;
// In which the engine compiles what the host runs.
const eagerWarmUpMs = 20;
const coldCalls = 10;
// What is read between cold calls: past the L2 cache whatever it holds on to, by this factor.
const flushFactor = 2;

/** Measures what `run` enqueues in the columns asked for. The CPU has one column: warm. */
export async function measureColumns(
  device: Device,
  run: () => void,
  effort: Effort,
  asked: readonly Column[],
): Promise<Times> {
  if (device.kind === 'cpu') return { warm: await measure(device, run, effort) };
  const times: { [C in Column]?: Timing } = {};
  for (const column of asked) {
    if (column === 'warm') times.warm = await measure(device, run, effort);
    else if (column === 'cold') times.cold = await measureCold(device, run, effort);
    else times.eager = await measureEager(device, run, effort);
  }
  return times;
}

async function measureEager(device: Device, run: () => void, effort: Effort): Promise<Timing> {
  const firstMs = await device.time(run);
  const calls = Math.max(1, Math.min(eagerCalls, Math.floor(effort.budgetMs / effort.samples / firstMs)));
  const batch = (): Promise<number> =>
    device.time(() => {
      for (let call = 0; call < calls; ++call) run();
    });
  const start = performance.now();
  do await batch();
  while (performance.now() - start < eagerWarmUpMs);
  const samples: number[] = [];
  while (samples.length < effort.samples) samples.push((1000 * (await batch())) / calls);
  return summarise(samples);
}

/**
 * The time of a graph of [empty the cache, call] repeated, less that of emptying alone. Reading empties the cache: writing would
 * leave it full of lines to write back. Spare copies of the operands would do the same where memory holds them, but a
 * small problem needs hundreds.
 */
async function measureCold(device: Device, run: () => void, effort: Effort): Promise<Timing> {
  const { backend, info } = device;
  if (!(backend instanceof CudaBackend)) throw new Error('cold: expected a CUDA device');
  const bytes = flushFactor * (info.l2Bytes ?? 64 * 2 ** 20);
  const large = device.zeros([bytes], 'uint8');
  const sink = device.zeros([1], 'int32');
  const flush = (): void => backend.read(large.view.buffer, bytes, sink.view.buffer);
  const graphs = [
    device.capture(() => {
      for (let call = 0; call < coldCalls; ++call) flush();
    }),
    device.capture(() => {
      for (let call = 0; call < coldCalls; ++call) {
        flush();
        run();
      }
    }),
  ];
  try {
    for (const graph of graphs) await device.time(() => graph.replay());
    const samples: number[] = [];
    const deadline = performance.now() + 2 * effort.budgetMs;
    while (samples.length < effort.samples && (samples.length === 0 || performance.now() < deadline)) {
      const [flushing, both] = [
        await device.time(() => graphs[0].replay()),
        await device.time(() => graphs[1].replay()),
      ];
      samples.push((1000 * (both - flushing)) / coldCalls);
    }
    return summarise(samples);
  } finally {
    for (const graph of graphs) graph.dispose();
    large.dispose();
    sink.dispose();
  }
}
