// Plans of spmm's kernels that share out entries, and their expected microseconds on an H200, for lib/ops/spmm-plan.ts.

import { noParameters, type SpmmPlan } from '../backends/calls/spmm.js';
import { mostInGrid } from '../planning/plan-device.js';
import { dtypeInfo } from '../tensor/dtype.js';
import { type DenseOperands, gathersFar, type LaneColumns, memoryTimes } from './spmm-gather-plans.js';
import type { SpmmFeatures } from './spmm-plan.js';

const lanes = 8;
const shape = (vector: number, piece: number): LaneColumns => ({ vector, piece, lanes });
const pieces = shape(4, 1);
const pairs = shape(8, 2);
const wholes = { 4: shape(4, 4), 2: shape(8, 8) };

/** @internal Why it cannot run; of a matrix in CSR whose rows of B are near. */
export function streamProblem({ bins, batch, width }: SpmmFeatures): string | undefined {
  if (bins === undefined) return 'rows are few or long, and about equally so';
  if (batch > mostInGrid) return `needs a batch of at most ${mostInGrid}`;
  if (width > 1 && width < fewestColumns) return `needs ${fewestColumns} columns of B or more, or one`;
  return width > mostInGrid * lanes * pieces.vector ? 'has too many columns of B' : undefined;
}

/** With fewer, more than half of the lanes would be idle. */
const fewestColumns = 5;

type LongItems = Pick<SpmmPlan, 'blockItems' | 'warpItems'>;
type StreamItems = Readonly<Record<'stream' | 'column', LongItems>>;

/** @internal Every plan that wastes less than half of its lanes, or loads. Requires that there is no `streamProblem`. */
export function streamPlans({
  dtype,
  width,
  vectors,
  pairs: inPairs,
  bins,
}: DenseOperands & { readonly bins: StreamItems | undefined }): readonly SpmmPlan[] {
  const { stream, column } = bins as StreamItems;
  const planOf = (loads: LaneColumns, { blockItems, warpItems }: LongItems): SpmmPlan => ({
    variant: 'stream',
    ...noParameters,
    ...loads,
    blockItems,
    warpItems,
  });
  if (width === 1) return [planOf({ vector: 1, piece: 1, lanes: 1 }, column)];
  const whole = wholes[dtypeInfo[dtype].bytes as 2 | 4];
  const fits = ({ vector }: LaneColumns): boolean => 2 * width > lanes * vector;
  const found: LaneColumns[] = [];
  if (vectors && fits(whole)) found.push(whole);
  else if (whole.vector === pairs.vector && inPairs && fits(pairs)) found.push(pairs);
  if (!vectors || !fits(whole)) found.push(pieces);
  return found.map((loads) => planOf(loads, stream));
}

// Fitted to the graphs of the benchmark. Microseconds a million: entries and rows of a column tile of eight lanes.
const model = {
  start: 3,
  entries: { float32: 15.5, float16: 18.3, bfloat16: 18.3 },
  rows: { float32: 30, float16: 38, bfloat16: 38 },
  /** Entries of a group of lanes, one stage of eight after another, where it has no company. */
  stage: 0.7,
  overlap: 0.25,
  segments: 1,
  near: 1.15,
  /** Of columns that are not loaded at once, by pieces and the bytes of an element. */
  pieces: { 1: { 4: 1.6, 2: 1.3 }, 2: { 4: 1, 2: 1.5 } },
  /** And of float32 out of rows of B that are far. */
  farPieces: 1.15,
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
export function streamTime(features: SpmmFeatures, plan: SpmmPlan, memory = memoryTimes(features)): number {
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
  const { piece, vector } = plan;
  const tiles = Math.ceil(width / (lanes * vector)) * batch;
  const share = piece === vector ? 1 : model.pieces[piece as 1 | 2][dtypeInfo[dtype].bytes as 2 | 4];
  const far = gathersFar(features);
  const slower = piece < vector && far && dtype === 'float32' ? model.farPieces : 1;
  const shared = (share * slower * tiles * (stored * model.entries[dtype] + rows * model.rows[dtype])) / 1e6;
  const longest =
    stream.blockItems > 0 ? stream.longest / 16 : stream.longest / (stream.warpItems > 0 ? 4 : 1);
  const alone = Math.ceil(Math.max(longest, stream.stretch) / lanes) * model.stage;
  const us = Math.max(shared, alone) + model.overlap * Math.min(shared, alone);
  // Near rows of B make the other kernels faster than they are expected to be, and not this one.
  const rival = far ? 1 : model.near;
  return rival * (model.start + us + (stream.segments > 0 ? model.segments : 0));
}
