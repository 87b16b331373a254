// Plans of spmm's kernels that share out entries, and their expected microseconds on an H200, for lib/ops/spmm-plan.ts.

import { type SpmmPlan, spmmPlan } from '../backends/calls/spmm.js';
import { blockEntries } from '../formats/row-stream.js';
import { evenness } from '../planning/occupancy.js';
import { mostInGrid } from '../planning/plan-device.js';
import { dtypeInfo } from '../tensor/dtype.js';
import type { DenseOperands, LaneColumns } from './spmm-gather-plans.js';
import { gathersFar, type MemoryTimes, memoryTimes } from './spmm-memory.js';
import type { SpmmFeatures } from './spmm-plan.js';
import { overlapped } from './times.js';

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

// Microseconds a million: entries and rows of a column tile of eight lanes.
const model = {
  start: 1.938,
  entries: { float32: 15.35, float16: 15.11, bfloat16: 15.11 },
  rows: { float32: 15.43, float16: 33.59, bfloat16: 33.59 },
  /** Entries of a group of lanes, one stage of eight after another, where it has no company. */
  stage: 0.7174,
  overlap: 0.2976,
  segments: 1.901,
  /** A factor, where rows of B are near. */
  near: 1.083,
};

// Of one column, from 204 times of 102 windows and graphs and 31 of the benchmark's (2026-11-22), which it is 0.15 off (root mean square). A million
// entries where elements of B are in the cache of the multiprocessor, or beside them where they are not, and rows; a round of 1,024 entries of
// a long row. Where stretches hold more rows than warps take, each doubling of them, and each doubling of the longest row over the mean; each
// doubling of the segments. `even` and `evenEntries`, the more even rows are: columns of weights are scattered, those of windows are not.
const columnModel = {
  start: 1.71,
  entries: 0.8,
  near: 1.41,
  even: 0.256,
  evenEntries: { float32: 1.61, float16: 0.406, bfloat16: 0.406 },
  rows: 4.08,
  round: 0.336,
  overlap: 0.345,
  doubledRows: 0.287,
  uneven: 0.093,
  doubledSegments: 0.243,
};
/** Rows of a stretch that warps take (kFewRows of cuda/kernels/spmm/config.h), and so many doublings of it at most. */
const rowsOfWarps = 32;
const mostDoublings = 3;

function columnTime(features: SpmmFeatures, memory: MemoryTimes): number {
  const { dtype, rows, stored, longestRow, batch } = features;
  const { column } = features.bins as NonNullable<SpmmFeatures['bins']>;
  const { start, entries, near, even, evenEntries, round, doubledRows, uneven, doubledSegments } =
    columnModel;
  const millions = (batch * stored) / 1e6;
  const evenRows = evenness(features);
  const gathered = Math.max(
    (near + evenEntries[dtype] * evenRows) * millions,
    entries * millions + memory.elements,
  );
  const ofRows = (columnModel.rows * batch * rows) / 1e6;
  const rounds = round * Math.max(0, Math.ceil(column.longest / blockEntries) - 1);
  const segments = column.segments > 0 ? doubledSegments * Math.log2(column.segments) : 0;
  const us = overlapped(start, columnModel.overlap, gathered + ofRows, rounds) + even * evenRows + segments;
  const doublings = Math.log2(rows / Math.max(1, column.items * rowsOfWarps));
  if (!(doublings > 0)) return us;
  const longest = Math.log2(Math.max(1, (longestRow * rows) / Math.max(1, stored)));
  return us + doubledRows * Math.min(mostDoublings, doublings) + uneven * longest;
}

/** @internal */
export function streamTime(features: SpmmFeatures, plan: SpmmPlan, memory = memoryTimes(features)): number {
  const { dtype, rows, stored, width, batch } = features;
  if (width === 1) return columnTime(features, memory);
  const { stream } = features.bins as NonNullable<SpmmFeatures['bins']>;
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
  return (far ? 1 : model.near) * (model.start + us + (stream.segments > 0 ? model.segments : 0));
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

/** Of columns that are not loaded at once, by those of a lane and of a piece, where rows of B are near and where they are far. */
const pieceCosts: Readonly<
  Record<'float32' | 'half', Readonly<Record<number, Readonly<Record<number, Distances>>>>>
> = {
  float32: {
    4: {
      1: {
        near: { start: 2.457, entries: 19.21, rows: 25.58, stage: 0.3415, segments: 2.7 },
        far: { start: 0, entries: 20.9, rows: 45.63, stage: 0.4252, segments: 1.966 },
      },
      2: {
        near: { start: 2.385, entries: 16.9, rows: 23.87, stage: 0.3258, segments: 1.542 },
        far: { start: 0, entries: 20.05, rows: 63.67, stage: 0, segments: 1.287 },
      },
    },
    8: {
      1: {
        near: { start: 2.783, entries: 44.19, rows: 57.92, stage: 0.2686, segments: 1.914 },
        far: { start: 0, entries: 40.02, rows: 128.9, stage: 0, segments: 0 },
      },
      2: {
        near: { start: 2.524, entries: 28.15, rows: 37.66, stage: 0, segments: 3.62 },
        far: { start: 0, entries: 24.69, rows: 90.55, stage: 0, segments: 0 },
      },
    },
  },
  half: {
    4: {
      1: {
        near: { start: 1.907, entries: 21.78, rows: 19.07, stage: 0.5426, segments: 0.9746 },
        far: { start: 0, entries: 23.67, rows: 24.87, stage: 1.963, segments: 4.496 },
      },
    },
    8: {
      1: {
        near: { start: 3.592, entries: 38.87, rows: 33.69, stage: 0.7565, segments: 1.769 },
        far: { start: 0, entries: 41.45, rows: 28.81, stage: 0.6537, segments: 0 },
      },
      2: {
        near: { start: 2.988, entries: 25.48, rows: 3.39, stage: 0.2299, segments: 2.28 },
        far: { start: 0, entries: 14.46, rows: 43.7, stage: 3.207, segments: 0 },
      },
    },
  },
};
