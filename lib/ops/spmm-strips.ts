// The kernel of spmm that takes strips of rows: its plans, and how long they take.

import { type SpmmPlan, type StripHeight, spmmPlan } from '../backends/calls/spmm.js';
import { bestOf, type Found } from '../planning/choice.js';
import { mostInGrid, type PlanDevice } from '../planning/plan-device.js';
import type { SpmmFeatures } from './spmm-plan.js';
import { overlapped, wavesOf } from './times.js';

/** A copy in strips, built or thought of. */
export interface StripFeatures {
  readonly rows: StripHeight;
  /** Columns of all strips. */
  readonly count: number;
  /** What warps take: strips, or parts of long ones. */
  readonly items: number;
  readonly longest: number;
  readonly parts: number;
  /** Preparing chose it for this width. */
  readonly chosen?: boolean;
}

/** Matches kSpmmMaxStripSpan of cuda/api/spmm.h. */
const widestSpan = 196_608;
const warpsOfBlock = 8;

/** Why there can be no copy in strips; undefined where there can. */
export function stripsProblem(features: SpmmFeatures): string | undefined {
  const { dtype, format, batchedValues, stripSpan: span } = features;
  if (dtype !== 'float32') return 'needs float32';
  if (format !== 'csr') return 'needs a CSR matrix';
  if (batchedValues) return 'needs one set of values';
  if (span === undefined) return 'needs rows that share columns with their neighbours';
  return span > widestSpan ? `needs strips of at most ${widestSpan} columns` : undefined;
}

/** Why a copy in strips cannot be used for these operands. */
export function stripOperandsProblem({ vectors, pairs, farRows, width }: SpmmFeatures): string | undefined {
  if (!vectors && !pairs) return 'needs rows at multiples of two elements';
  if (farRows) return 'needs rows of B less than 4 GiB apart';
  return width > 32 * mostInGrid ? `needs at most ${32 * mostInGrid} columns of B` : undefined;
}

/**
 * Columns of a lane and lanes: the shapes that have a kernel, by the rows of a strip; the columns of A that a warp takes in a round. And
 * microseconds:
 *   step    a round of the longest item
 *   column  of a strip, a thousand, of the multiprocessor
 */
interface StripShape {
  readonly vector: number;
  readonly lanes: number;
  readonly round: number;
  readonly step: number;
  readonly column: number;
}

const shapes: Readonly<Record<StripHeight, readonly StripShape[]>> = {
  4: [
    { vector: 4, lanes: 32, round: 8, step: 0.2961, column: 4.698 },
    { vector: 8, lanes: 16, round: 8, step: 0.2643, column: 4.096 },
  ],
  8: [
    { vector: 4, lanes: 8, round: 32, step: 0.5685, column: 2.489 },
    { vector: 4, lanes: 16, round: 16, step: 0.3563, column: 3.635 },
    { vector: 4, lanes: 32, round: 8, step: 0.2675, column: 6.096 },
  ],
};

const model = {
  start: 1.066,
  overlap: 0.4537,
  first: 0.2086,
  /** Warps that share a strip wait for each other. */
  sharing: 0.2484,
  /** A block, of the multiprocessor. */
  block: 0.3487,
  /** Bytes a microsecond of operands that are read or written once. */
  memory: 2.354e6,
  parts: 2.82,
  /** A round, where rows of B are loaded two by two. */
  pairs: 0.9329,
};

const sharings = [1, 2, 4, 8] as const;

// Made once, as those of tiles: to make them takes longer than to estimate them. By the rows of a strip and how rows of B are loaded.
const plansOf = (rows: StripHeight, piece: number): readonly (readonly SpmmPlan[])[] =>
  shapes[rows].map(({ vector, lanes }) =>
    sharings.map((warps) => spmmPlan('strips', { vector, piece, lanes, warps })),
  );
const loadsOf = (rows: StripHeight) => ({ wholes: plansOf(rows, 4), pairs: plansOf(rows, 2) });
const allPlans = { 4: loadsOf(4), 8: loadsOf(8) };

/**
 * @internal Every plan that has a kernel for the copy and fits a width: whole tiles for wide lanes; others, but for the narrowest, where most
 * of their lanes have columns.
 */
export function stripPlans(
  { width, vectors }: Pick<SpmmFeatures, 'width' | 'vectors'>,
  rows: StripHeight,
): readonly SpmmPlan[] {
  const fitting: SpmmPlan[] = [];
  for (const [i, plans] of allPlans[rows][vectors ? 'wholes' : 'pairs'].entries()) {
    const [{ vector, lanes }] = plans;
    const tile = vector * lanes;
    const fits = vector === 8 ? vectors && width % tile === 0 : i === 0 || 2 * width > tile;
    if (fits) fitting.push(...plans);
  }
  return fitting;
}

/** The plan that is expected to be fastest; none where the operands do not fit. */
export function bestStripPlan(
  features: SpmmFeatures,
  strips: StripFeatures,
  device: PlanDevice,
): Found<SpmmPlan> {
  return bestOf('strips', stripOperandsProblem(features), stripPlans(features, strips.rows), (plan) =>
    stripsTime(features, strips, device, plan),
  );
}

/** @internal Of a plan out of `stripPlans`. */
export function stripsTime(
  { rows, columns, width, batch }: SpmmFeatures,
  strips: StripFeatures,
  device: PlanDevice,
  { vector, piece, lanes, warps }: SpmmPlan,
): number {
  const shape = shapes[strips.rows].find((one) => one.vector === vector && one.lanes === lanes);
  const { round, step, column } = shape as StripShape;
  const loads = piece < 4 ? model.pairs : 1;
  const { count, longest, parts } = strips;
  const items = Math.max(1, strips.items);
  const across = Math.ceil(width / (vector * lanes)) * batch;
  const load = (Math.ceil((items * warps) / warpsOfBlock) * across) / device.multiprocessors;
  const waves = wavesOf(load);
  const taken = Math.ceil(count / items / round / warps) * round;
  const touched = width * batch * (Math.min(columns, count) + rows) + count * (1 + strips.rows);
  const us = overlapped(
    model.start,
    model.overlap,
    model.first + Math.ceil(longest / round / warps) * step * loads,
    waves * (model.block + (warpsOfBlock * taken * column * loads) / 1000),
    (4 * touched) / model.memory,
  );
  return us + (warps > 1 ? model.sharing : 0) + (parts > 0 ? model.parts : 0);
}
