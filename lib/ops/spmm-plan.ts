// Which kernel of spmm runs, with which parameters: a pure function of the problem and the device. Times are expected
// microseconds on an H200, replayed from a graph. The constants of the models were fitted together by random search to the likely plans of 1,671
// problems (2026-11-21), the benchmark's matrices with 1 to 512 columns, and random ones; panels and float32 tiles, which had been fitted to sweeps
// over every plan of theirs, were only scaled. Those of row groups, streams of one column and tiles of half types were fitted again (2026-11-22).

import { type SpmmPlan, type SpmmVariant, spmmPlan } from '../backends/calls/spmm.js';
import type { RowBins } from '../formats/row-bins.js';
import { bestOf, type Candidate, type Choice, choose, type Found, placedAs } from '../planning/choice.js';
import { mostInGrid, type PlanDevice } from '../planning/plan-device.js';
import type { FloatDType } from '../tensor/dtype.js';
import {
  describePadding,
  type Padded,
  paddedColumns,
  paddingTime,
  raggedTime,
  withPadding,
} from './padding.js';
import { binPlans, binTime, groupPlaced, groupPlans, groupTime, splitTime } from './spmm-gather-plans.js';
import { type MemoryTimes, memoryTimes } from './spmm-memory.js';
import { bundled, streamAlone } from './spmm-occupancy.js';
import { panelPlans, panelProblem, panelTime } from './spmm-panel.js';
import { streamPlans, streamProblem, streamTime } from './spmm-stream.js';
import { bestStripPlan, type StripFeatures, stripOperandsProblem, stripsProblem } from './spmm-strips.js';
import { bestTilePlan, type TileFeatures, tilesProblem } from './spmm-tiles-plan.js';

/** What the choice depends on. */
export interface SpmmFeatures {
  readonly dtype: FloatDType;
  readonly format: 'csr' | 'block-sparse';
  readonly rows: number;
  readonly columns: number;
  /** Stored entries. */
  readonly stored: number;
  readonly longestRow: number;
  readonly bins: Pick<RowBins, 'items' | 'segments' | 'limit' | 'atLeast' | 'stream' | 'column'> | undefined;
  /** Columns of B and C. */
  readonly width: number;
  readonly batch: number;
  readonly batchedValues: boolean;
  /** Rows of B and C begin at multiples of 16 bytes; of two elements. */
  readonly vectors: boolean;
  readonly pairs: boolean;
  /** Rows of B begin 4 GiB apart or more. */
  readonly farRows: boolean;
  /** B is a copy: rows of C begin or end between multiples of 16 bytes, and are written element by element. */
  readonly padded: boolean;
  /** An up-to-date copy in tiles. */
  readonly tiles: TileFeatures | undefined;
  /** Columns from the first to the last of a strip, at most; undefined where strips were not counted. */
  readonly stripSpan: number | undefined;
  /** An up-to-date copy in strips. */
  readonly strips: StripFeatures | undefined;
}

/**
 * @internal Features that are put together: what is known later is set. Objects that are spread would each be of a kind of their own to the
 * engine, and planners read features by the hundred.
 */
export type SpmmDraft = { -readonly [Key in keyof SpmmFeatures]: SpmmFeatures[Key] };

/** A variant with its best parameters and their expected time, or the problem that rules it out. */
export type SpmmCandidate = Candidate<SpmmVariant>;

/**
 * The plan that is expected to be fastest, or the best of a `forced` variant. `bestTiles` is what `bestWithTiles` found for `features.tiles`,
 * where that was asked before.
 * @throws WarptileError ERR_UNSUPPORTED where the forced variant is impossible.
 */
export function selectSpmm(
  features: SpmmFeatures,
  device: PlanDevice,
  forced?: SpmmVariant,
  bestTiles?: SpmmFound,
): Choice<SpmmPlan> {
  // A plan on copies of the operands says nothing about operands as they are.
  const known = bestTiles?.plan?.padded === false ? bestTiles : undefined;
  const found = withPadding(features, paddedSpmm(features), (problem) =>
    spmmVariantsFor(problem, device, problem === features ? known : undefined),
  );
  return choose(found, describePlan, forced);
}

/** @internal The best plan of each variant for operands as they are; that of tiles may be known. */
export function spmmVariantsFor(
  features: SpmmFeatures,
  device: PlanDevice,
  bestTiles?: SpmmFound,
): SpmmFound[] {
  const memory = memoryTimes(features);
  const found = [
    rowSplit(features, device, memory),
    rowGroup(features, device, memory),
    rowBins(features, device, memory),
    bestTiles ?? tiles(features, device),
    panel(features, device),
    stream(features, device, memory),
  ];
  found.push(strips(features, device, found));
  return found;
}

/** @internal The problem on a copy of B, and the microseconds of making it; none where rows begin at multiples of 16 bytes. */
export function paddedSpmm(features: SpmmFeatures): Padded<SpmmFeatures> | undefined {
  // A single column would become four or eight.
  if (features.vectors || features.width === 1) return undefined;
  const { dtype, format, rows, columns, stored, longestRow, bins, batch, batchedValues } = features;
  const { tiles, stripSpan, strips } = features;
  const width = paddedColumns(features.width, dtype);
  const us =
    paddingTime(columns * width * batch, features) + raggedTime(rows * features.width * batch, features);
  if (us === Number.POSITIVE_INFINITY) return undefined;
  const padded: SpmmFeatures = {
    dtype,
    format,
    rows,
    columns,
    stored,
    longestRow,
    bins,
    width,
    batch,
    batchedValues,
    vectors: true,
    pairs: true,
    farRows: false,
    padded: true,
    tiles,
    stripSpan,
    strips,
  };
  return { features: padded, us };
}

/** @internal The best plan with tiles, built or thought of. */
export function bestWithTiles(features: SpmmFeatures, tiles: TileFeatures, device: PlanDevice): SpmmFound {
  return withCopies(features, (problem) => bestTilePlan(problem, tiles, device));
}

/** @internal The best plan with strips, built or thought of; infinite microseconds where none fits the operands. */
export function bestWithStrips(features: SpmmFeatures, strips: StripFeatures, device: PlanDevice): SpmmFound {
  return withCopies(features, (problem) => bestStripPlan(problem, strips, device));
}

function withCopies(features: SpmmFeatures, find: (problem: SpmmFeatures) => SpmmFound): SpmmFound {
  const [found] = withPadding(features, paddedSpmm(features), (problem) => [find(problem)]);
  return found;
}

/** 'vector 4, lanes 8, splits 4, warps 8', 'warpgroups, 64 columns, cluster 2, padded' */
export function describePlan(plan: SpmmPlan): string {
  return describePadding(describeParameters(plan), plan);
}

function describeParameters(plan: SpmmPlan): string {
  const { variant, vector, piece, lanes, splits, warps, columns, cluster, blockItems, warpItems, warpRows } =
    plan;
  if (variant === 'panel') return `rows ${warps * warpRows}, cluster ${cluster}`;
  const loads = piece < vector ? `vector ${vector} by ${piece}` : `vector ${vector}`;
  if (variant === 'stream') return `${loads}, blocks ${blockItems}, warps ${warpItems}`;
  if (variant === 'row-bins') {
    return `${loads}, lanes ${lanes}, splits ${splits}, blocks ${blockItems}, warps ${warpItems}`;
  }
  if (variant === 'row-group') return `${loads}, lanes ${lanes}, splits ${splits}, warps ${warps}`;
  if (variant === 'strips') return `${loads}, lanes ${lanes}, warps ${warps}`;
  if (variant !== 'tiles') return '';
  return `${warps > 1 ? 'warpgroups' : 'warps'}, ${columns} columns, cluster ${cluster}`;
}

/** @internal */
export type SpmmFound = Found<SpmmPlan>;

const ruledOut = (variant: SpmmVariant, problem: string): SpmmFound => ({
  variant,
  plan: undefined,
  us: Number.POSITIVE_INFINITY,
  problem,
});

const splitPlan = spmmPlan('row-split');

function rowSplit(features: SpmmFeatures, device: PlanDevice, memory: MemoryTimes): SpmmFound {
  const plan = splitPlan;
  // The only kernel of blocks: nothing to compare it with.
  const us = features.format === 'csr' ? splitTime(features, device, memory) : Number.POSITIVE_INFINITY;
  return { variant: 'row-split', plan, us, problem: undefined };
}

function rowGroup(features: SpmmFeatures, device: PlanDevice, memory: MemoryTimes): SpmmFound {
  const problem = gatherProblem(features);
  const found = bestOf('row-group', problem, groupPlans(features), (plan) =>
    groupTime(features, device, plan, memory),
  );
  return placedAs(found, (plan) => placed(features, device, plan, memory));
}

/** @internal A plan with what the next kernel's blocks beside its own ask for: row groups with their bundle, streams alone. */
export function placed(
  features: SpmmFeatures,
  device: PlanDevice,
  plan: SpmmPlan,
  memory = memoryTimes(features),
): SpmmPlan {
  if (plan.variant === 'row-group') return bundled(plan, groupPlaced(features, device, plan, memory).bundle);
  if (plan.variant !== 'stream') return plan;
  const alone = streamAlone(features, device.multiprocessors, plan, streamTime(features, plan, memory));
  return alone ? spmmPlan('stream', { ...plan, alone }) : plan;
}

function rowBins(features: SpmmFeatures, device: PlanDevice, memory: MemoryTimes): SpmmFound {
  const problem = gatherProblem(features);
  if (problem !== undefined) return ruledOut('row-bins', problem);
  if (features.batch > mostInGrid) return ruledOut('row-bins', `needs a batch of at most ${mostInGrid}`);
  if (features.bins === undefined) return ruledOut('row-bins', 'rows are few or long, and about equally so');
  const plans = binPlans(features);
  if (plans.length === 0) return ruledOut('row-bins', 'has too many columns of B');
  return bestOf('row-bins', undefined, plans, (plan) => binTime(features, device, plan, memory));
}

/** Why rows of B cannot be gathered by vectors of 32-bit places. */
function gatherProblem({ format, farRows }: SpmmFeatures): string | undefined {
  if (format !== 'csr') return 'needs a CSR matrix';
  return farRows ? 'needs rows of B less than 4 GiB apart' : undefined;
}

function tiles(features: SpmmFeatures, device: PlanDevice): SpmmFound {
  const problem = tilesProblem(features);
  if (problem !== undefined) return ruledOut('tiles', problem);
  if (features.tiles === undefined) return ruledOut('tiles', 'needs an up-to-date copy: prepare({ n })');
  return bestTilePlan(features, features.tiles, device);
}

function panel(features: SpmmFeatures, device: PlanDevice): SpmmFound {
  const time = (plan: SpmmPlan): number => panelTime(features, device, plan);
  return bestOf('panel', panelProblem(features), panelPlans(device), time);
}

function stream(features: SpmmFeatures, device: PlanDevice, memory: MemoryTimes): SpmmFound {
  const problem = gatherProblem(features) ?? streamProblem(features);
  if (problem !== undefined) return ruledOut('stream', problem);
  const found = bestOf('stream', undefined, streamPlans(features), (plan) =>
    streamTime(features, plan, memory),
  );
  return placedAs(found, (plan) => placed(features, device, plan, memory));
}

/**
 * By so much strips must be expected to be faster than what needs no copy. Where they are expected to be a little faster, they are as often
 * slower: without it 19 choices of the benchmark would change, 7 for the better and 12 for the worse, by 1.2 times at most.
 */
const worthStrips = {
  'row-split': 1.3,
  'row-group': 1.3,
  panel: 1.3,
  'row-bins': 1.15,
  stream: 1.15,
  tiles: 1,
  strips: 1,
};

function strips(features: SpmmFeatures, device: PlanDevice, others: readonly SpmmFound[]): SpmmFound {
  const problem = stripsProblem(features) ?? stripOperandsProblem(features);
  if (problem !== undefined) return ruledOut('strips', problem);
  if (features.strips === undefined) return ruledOut('strips', 'needs an up-to-date copy: prepare({ n })');
  const best = bestStripPlan(features, features.strips, device);
  // It was compared with everything then, also with tiles of which there is no copy now.
  if (features.strips.chosen) return best;
  const rival = others.reduce((a, b) => (b.us < a.us ? b : a));
  const { variant, plan, us } = best;
  return { variant, plan, us: us * worthStrips[rival.variant], problem: undefined };
}
