// Plans of spmm's kernels that share out entries, and their expected microseconds on an H200, for lib/ops/spmm-plan.ts.

import { type SpmmPlan, spmmPlan } from '../backends/calls/spmm.js';
import { mostInGrid } from '../planning/plan-device.js';
import { dtypeInfo } from '../tensor/dtype.js';
import type { DenseOperands, LaneColumns } from './spmm-gather-plans.js';
import { gathersFar, memoryTimes } from './spmm-memory.js';
import type { SpmmFeatures } from './spmm-plan.js';

const lanes = 8;
const shape = (vector: number, piece: number): LaneColumns => ({ vector, piece, lanes });
const narrowest = shape(4, 1);
// The narrowest first.
const shapes = {
  4: { wholes: [shape(4, 4)], pairs: [shape(4, 2), shape(8, 2)], singles: [narrowest, shape(8, 1)] },
  2: { wholes: [shape(8, 8)], pairs: [narrowest, shape(8, 2)], singles: [narrowest, shape(8, 1)] },
};

/** @internal Why it cannot run; of a matrix in CSR whose rows of B are near. */
export function streamProblem({ bins, batch, width }: SpmmFeatures): string | undefined {
  if (bins === undefined) return 'rows are few or long, and about equally so';
  if (batch > mostInGrid) return `needs a batch of at most ${mostInGrid}`;
  if (width > 1 && width < fewestColumns) return `needs ${fewestColumns} columns of B or more, or one`;
  return width > mostInGrid * lanes * narrowest.vector ? 'has too many columns of B' : undefined;
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
  const planOf = ({ vector, piece, lanes }: LaneColumns, { blockItems, warpItems }: LongItems): SpmmPlan =>
    spmmPlan('stream', { vector, piece, lanes, blockItems, warpItems });
  if (width === 1) return [planOf({ vector: 1, piece: 1, lanes: 1 }, column)];
  const { wholes, pairs, singles } = shapes[dtypeInfo[dtype].bytes as 2 | 4];
  // Of the narrowest some lanes may have fewer columns than others, of wider ones less than half of them none.
  const found = (vectors ? wholes : inPairs ? pairs : singles).filter(
    ({ vector, piece }, i) => 2 * width > lanes * (i === 0 && !vectors ? piece : vector),
  );
  if (found.length === 0) found.push(narrowest);
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
  const { piece, vector } = plan;
  const tiles = Math.ceil(width / (lanes * vector)) * batch;
  const longest =
    stream.blockItems > 0 ? stream.longest / 16 : stream.longest / (stream.warpItems > 0 ? 4 : 1);
  const stages = Math.ceil(Math.max(longest, stream.stretch) / lanes);
  const far = gathersFar(features);
  if (piece < vector) {
    const costs = pieceCosts[dtype === 'float32' ? 'float32' : 'half'][vector][piece];
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

/** Microseconds: of a launch, of a million entries and rows of a column tile, of a stage of eight entries, of rows that are cut. */
interface PieceCosts {
  readonly start: number;
  readonly entries: number;
  readonly rows: number;
  readonly stage: number;
  readonly segments: number;
}

interface Distances {
  readonly near: PieceCosts;
  readonly far: PieceCosts;
}

/**
 * Of columns that are not loaded at once, by those of a lane and of a piece, where rows of B are near and where they are far. Fitted to 305
 * plans of random problems, off by 9 to 22 % (root mean square); of far rows only pairs in float32, the others, which 24 plans had, are
 * an earlier fit in proportion to them.
 */
const pieceCosts: Readonly<
  Record<'float32' | 'half', Readonly<Record<number, Readonly<Record<number, Distances>>>>>
> = {
  float32: {
    4: {
      1: {
        near: { start: 2.9, entries: 18, rows: 23, stage: 0.4, segments: 1.5 },
        far: { start: 0, entries: 25, rows: 84, stage: 0.33, segments: 1.9 },
      },
      2: {
        near: { start: 2.4, entries: 16, rows: 22, stage: 0.38, segments: 1.6 },
        far: { start: 0, entries: 19.2, rows: 60, stage: 0, segments: 1.4 },
      },
    },
    8: {
      1: {
        near: { start: 3.9, entries: 28.4, rows: 59, stage: 0.29, segments: 2.1 },
        far: { start: 0, entries: 43, rows: 150, stage: 0, segments: 0 },
      },
      2: {
        near: { start: 3.4, entries: 26.7, rows: 52, stage: 0, segments: 2 },
        far: { start: 0, entries: 27.9, rows: 118, stage: 0, segments: 0 },
      },
    },
  },
  half: {
    4: {
      1: {
        near: { start: 2.2, entries: 17.6, rows: 19, stage: 0.69, segments: 1.1 },
        far: { start: 0, entries: 22.2, rows: 24, stage: 1.8, segments: 4.5 },
      },
    },
    8: {
      1: {
        near: { start: 3.5, entries: 25.1, rows: 45, stage: 0.57, segments: 1.5 },
        far: { start: 0, entries: 37, rows: 54, stage: 0.9, segments: 0 },
      },
      2: {
        near: { start: 3.8, entries: 23, rows: 2, stage: 0.35, segments: 1.8 },
        far: { start: 0, entries: 27.2, rows: 45, stage: 1.4, segments: 0 },
      },
    },
  },
};
