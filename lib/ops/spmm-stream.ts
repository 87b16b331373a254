// Plans of spmm's kernels that share out entries, and their expected microseconds on an H200, for lib/ops/spmm-plan.ts.

import { noParameters, type SpmmPlan } from '../backends/calls/spmm.js';
import { dtypeInfo } from '../tensor/dtype.js';
import { gathersFar, memoryTimes, mostInGrid } from './spmm-gather-plans.js';
import type { SpmmFeatures } from './spmm-plan.js';

const lanes = 8;
const vectorBytes = 16;

/** @internal Why it cannot run; of a matrix in CSR whose rows of B are near. */
export function streamProblem({ bins, batch, width, dtype, vectors }: SpmmFeatures): string | undefined {
  if (bins === undefined) return 'rows are few or long, and about equally so';
  if (batch > mostInGrid) return `needs a batch of at most ${mostInGrid}`;
  if (width === 1) return undefined;
  if (!vectors) return 'needs rows of B and C at multiples of 16 bytes';
  const tile = tileOf(dtype);
  // A narrower one leaves half of its lanes idle, or more.
  if (2 * width <= tile) return `needs more than ${tile / 2} columns of B, or one`;
  return width > mostInGrid * tile ? 'has too many columns of B' : undefined;
}

/** Columns of a group of lanes. */
function tileOf(dtype: SpmmFeatures['dtype']): number {
  return (lanes * vectorBytes) / dtypeInfo[dtype].bytes;
}

/** @internal The one plan. Requires that there is no `streamProblem`. */
export function streamPlan({ dtype, width, bins }: Pick<SpmmFeatures, 'dtype' | 'width' | 'bins'>): SpmmPlan {
  const { stream, column } = bins as NonNullable<SpmmFeatures['bins']>;
  const { blockItems, warpItems } = width === 1 ? column : stream;
  const vector = width === 1 ? 1 : vectorBytes / dtypeInfo[dtype].bytes;
  const shape = { vector, piece: vector, lanes: width === 1 ? 1 : lanes };
  return { variant: 'stream', ...noParameters, ...shape, blockItems, warpItems };
}

// Fitted to the graphs of the benchmark. Microseconds a million: entries and rows of a column tile of 128 bytes.
const model = {
  start: 3,
  entries: { float32: 15.5, float16: 18.3, bfloat16: 18.3 },
  rows: { float32: 30, float16: 38, bfloat16: 38 },
  /** Entries of a group of lanes, one stage of eight after another, where it has no company. */
  stage: 0.7,
  overlap: 0.25,
  segments: 1,
  near: 1.15,
  column: {
    start: 2,
    rows: 2,
    /** Entries beside the elements of B; and where those are in the cache of the multiprocessor. */
    entries: 2,
    near: 3.5,
    long: 0.5,
    /** Of 1024 entries of a long row. */
    round: 0.8,
  },
};

/** @internal */
export function streamTime(features: SpmmFeatures, memory = memoryTimes(features)): number {
  const { dtype, rows, stored, width, batch } = features;
  const { stream, column } = features.bins as NonNullable<SpmmFeatures['bins']>;
  if (width === 1) {
    const { entries, rows: perRow } = model.column;
    const { near } = model.column;
    const gathered = Math.max(batch * stored * near, batch * stored * entries + 1e6 * memory.elements);
    const shared = (gathered + batch * rows * perRow) / 1e6;
    const rounds = Math.ceil(column.longest / 1024) * model.column.round;
    const long = column.blockItems > 0 ? model.column.long : 0;
    return model.column.start + Math.max(shared, rounds) + long + (column.segments > 0 ? model.segments : 0);
  }
  const tiles = Math.ceil(width / tileOf(dtype)) * batch;
  const shared = (tiles * (stored * model.entries[dtype] + rows * model.rows[dtype])) / 1e6;
  const longest =
    stream.blockItems > 0 ? stream.longest / 16 : stream.longest / (stream.warpItems > 0 ? 4 : 1);
  const alone = Math.ceil(Math.max(longest, stream.stretch) / lanes) * model.stage;
  const us = Math.max(shared, alone) + model.overlap * Math.min(shared, alone);
  // Near rows of B make the other kernels faster than they are expected to be, and not this one.
  const rival = gathersFar(features) ? 1 : model.near;
  return rival * (model.start + us + (stream.segments > 0 ? model.segments : 0));
}
