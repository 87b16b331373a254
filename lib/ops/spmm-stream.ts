// Plans of spmm's kernels that share out entries, and their expected microseconds on an H200, for lib/ops/spmm-plan.ts.

import { noParameters, type SpmmPlan } from '../backends/calls/spmm.js';
import { mostInGrid } from '../planning/plan-device.js';
import { dtypeInfo } from '../tensor/dtype.js';
import { type DenseOperands, gathersFar, type LaneColumns, memoryTimes } from './spmm-gather-plans.js';
import type { SpmmFeatures } from './spmm-plan.js';

const shapes = (vector: number, piece: number, ...lanes: number[]): LaneColumns[] =>
  lanes.map((each) => ({ vector, piece, lanes: each }));
const allShapes = {
  4: { wholes: shapes(4, 4, 8), pairs: shapes(4, 2, 8, 16), singles: shapes(4, 1, 8, 32) },
  2: { wholes: shapes(8, 8, 8), pairs: shapes(8, 2, 8, 16), singles: shapes(4, 1, 8) },
};

/** @internal Why it cannot run; of a matrix in CSR whose rows of B are near. */
export function streamProblem({ bins, batch, width }: SpmmFeatures): string | undefined {
  if (bins === undefined) return 'rows are few or long, and about equally so';
  if (batch > mostInGrid) return `needs a batch of at most ${mostInGrid}`;
  if (width > 1 && width < fewestColumns) return `needs ${fewestColumns} columns of B or more, or one`;
  return width > mostInGrid * narrowestTile ? 'has too many columns of B' : undefined;
}

const narrowestTile = 32;

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
  const { wholes, pairs, singles } = allShapes[dtypeInfo[dtype].bytes as 2 | 4];
  // Of eight lanes some may have fewer columns than others, more of them none at all.
  const fits = ({ vector, piece, lanes }: LaneColumns): boolean =>
    2 * width > lanes * (lanes > 8 ? vector : piece);
  const found = vectors ? wholes.filter(fits) : [...(inPairs ? pairs : []), ...singles].filter(fits);
  if (found.length === 0) found.push(singles[0]);
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
  const { piece, vector, lanes } = plan;
  const tiles = Math.ceil(width / (lanes * vector)) * batch;
  const groups = 32 / lanes;
  const long = stream.longest / (stream.blockItems > 0 ? 4 * groups : stream.warpItems > 0 ? groups : 1);
  const stages = Math.ceil(Math.max(long, stream.stretch) / 8);
  const far = gathersFar(features);
  if (piece < vector) {
    const costs = pieceCosts[dtype === 'float32' ? 'float32' : 'half'][`${piece}x${lanes}`];
    const { start, entries, rows: perRow, stage, segments } = far ? costs.far : costs.near;
    const shared = (tiles * (stored * entries + rows * perRow)) / 1e6;
    return start + shared + stages * stage + (stream.segments > 0 ? segments : 0);
  }
  const shared = (tiles * (stored * model.entries[dtype] + rows * model.rows[dtype])) / 1e6;
  const alone = stages * model.stage;
  const us = Math.max(shared, alone) + model.overlap * Math.min(shared, alone);
  // Near rows of B make the other kernels faster than they are expected to be, and not this one.
  const rival = far ? 1 : model.near;
  return rival * (model.start + us + (stream.segments > 0 ? model.segments : 0));
}

/** Microseconds of a launch; of a million entries and rows of a column tile; of a stage of eight entries; of rows that are cut. */
interface PieceCosts {
  readonly start: number;
  readonly entries: number;
  readonly rows: number;
  readonly stage: number;
  readonly segments: number;
}

const pieceCost = (
  start: number,
  entries: number,
  rows: number,
  stage: number,
  segments: number,
): PieceCosts => ({
  start,
  entries,
  rows,
  stage,
  segments,
});

/**
 * Of columns that are not loaded at once, by pieces and lanes, where rows of B are near and where they are far. Fitted to 380 random problems in
 * float32, off by 6 to 17 % (root mean square), and 120 in float16; sixteen lanes of half types, of which few were measured, as they compare
 * with eight in float32.
 */
const pieceCosts: Readonly<
  Record<
    'float32' | 'half',
    Readonly<Record<string, { readonly near: PieceCosts; readonly far: PieceCosts }>>
  >
> = {
  float32: {
    '1x8': { near: pieceCost(4.4, 22.6, 33, 0.56, 2.4), far: pieceCost(0, 24.6, 88, 0, 2.8) },
    '1x32': { near: pieceCost(0.7, 43.3, 134, 1.8, 0.3), far: pieceCost(3.3, 59.5, 287, 0.76, 0) },
    '2x8': { near: pieceCost(4.3, 22.3, 27, 0.66, 2.2), far: pieceCost(0, 25.3, 84, 0, 1.7) },
    '2x16': { near: pieceCost(3, 28.2, 59, 1.28, 2.5), far: pieceCost(0, 39, 157, 0.08, 3.7) },
  },
  half: {
    '1x8': { near: pieceCost(3.8, 21.7, 24, 0.92, 1.8), far: pieceCost(3.8, 23.9, 20, 0.92, 1.8) },
    '2x8': { near: pieceCost(5.4, 27.5, 7, 0.5, 2.3), far: pieceCost(5.4, 31.2, 22, 0, 1.8) },
    '2x16': { near: pieceCost(3.8, 34.8, 15, 1, 2.6), far: pieceCost(5.4, 48, 41, 0, 3.8) },
  },
};
