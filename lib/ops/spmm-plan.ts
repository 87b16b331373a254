// Which kernel of spmm runs, with which parameters: a pure function of the problem and the device. Times are expected
// microseconds on an H200, replayed from a graph; the constants below come from a sweep over every plan there (docs/performance.md).

import type { SpmmPlan, SpmmVariant } from '../backends/calls/spmm.js';
import type { Device } from '../device/device.js';
import { WarptileError } from '../errors.js';
import type { FloatDType } from '../tensor/dtype.js';
import { maxInt32 } from '../validate.js';
import { bestTilePlan, type TileFeatures, tilesProblem } from './spmm-tiles-plan.js';
import { overlapped } from './spmm-time.js';

/** What the choice depends on. */
export interface SpmmFeatures {
  readonly dtype: FloatDType;
  readonly format: 'csr' | 'block-sparse';
  readonly rows: number;
  readonly columns: number;
  /** Stored entries. */
  readonly stored: number;
  readonly longestRow: number;
  readonly segments:
    | { readonly count: number; readonly longRows: number; readonly limit: number }
    | undefined;
  /** Columns of B and C. */
  readonly width: number;
  readonly batch: number;
  readonly batchedValues: boolean;
  /** Rows of B and C begin at multiples of 16 bytes. */
  readonly vectors: boolean;
  /** An up-to-date copy in tiles. */
  readonly tiles: TileFeatures | undefined;
}

export interface PlanDevice {
  readonly multiprocessors: number;
  /** Compute capability 9.0: later cards run the kernels of 8.0, which have no clusters. */
  readonly clusters: boolean;
}

/** A variant with its best parameters and their expected time, or the problem that rules it out. */
export interface SpmmCandidate {
  readonly variant: SpmmVariant;
  readonly us?: number;
  readonly parameters?: string;
  readonly problem?: string;
}

export interface SpmmChoice {
  readonly plan: SpmmPlan;
  readonly candidates: readonly SpmmCandidate[];
}

/** The CPU plans as an H200 would, so that what is tested there is what runs. */
export function planDevice({ info }: Device): PlanDevice {
  const [major] = info.computeCapability ?? [9];
  return { multiprocessors: info.multiprocessors ?? 132, clusters: major === 9 };
}

/**
 * The plan that is expected to be fastest, or the best of a `forced` variant.
 * @throws WarptileError ERR_UNSUPPORTED where the forced variant is impossible.
 */
export function selectSpmm(features: SpmmFeatures, device: PlanDevice, forced?: SpmmVariant): SpmmChoice {
  const found = [rowSplit(features, device), rowGroup(features, device), tiles(features, device)];
  const candidates = found.map(({ variant, plan, us, problem }) =>
    problem === undefined && plan !== undefined
      ? { variant, us, parameters: describePlan(plan) }
      : { variant, problem: problem ?? 'no kernel' },
  );
  if (forced !== undefined) {
    const { plan, problem } = found.find(({ variant }) => variant === forced) as Found;
    if (plan === undefined) throw new WarptileError('ERR_UNSUPPORTED', `variant: ${forced}: ${problem}`);
    return { plan, candidates };
  }
  let best = found[0];
  for (const item of found) if (item.plan !== undefined && item.us < best.us) best = item;
  return { plan: best.plan as SpmmPlan, candidates };
}

/** 'vector 4, lanes 8, splits 4, warps 8', 'warpgroups, 64 columns, cluster 2' */
export function describePlan({ variant, vector, lanes, splits, warps, columns, cluster }: SpmmPlan): string {
  if (variant === 'row-group') return `vector ${vector}, lanes ${lanes}, splits ${splits}, warps ${warps}`;
  if (variant !== 'tiles') return '';
  return `${warps > 1 ? 'warpgroups' : 'warps'}, ${columns} columns, cluster ${cluster}`;
}

interface Found {
  readonly variant: SpmmVariant;
  readonly plan?: SpmmPlan;
  readonly us: number;
  readonly problem?: string;
}

const nothing = { vector: 1, lanes: 32, splits: 1, warps: 1, columns: 0, cluster: 1 };
const ruledOut = (variant: SpmmVariant, problem: string): Found => ({
  variant,
  us: Number.POSITIVE_INFINITY,
  problem,
});

// The model: a launch, and then the longest of three, with a share of the other two, since they overlap only in part.
//   rounds   the chain of loads of the longest row
//   issue    instructions of all warps of a multiprocessor
//   gather   bytes of B that are gathered
// Fitted by random search to the sweep: over its 390 problems the choice takes 4 % longer than the best plan on average, 1.2 times at
// most; the estimates are off by 18 % (root mean square).
const model = {
  start: 1.7,
  overlap: 0.1556,
  round: 0.4182,
  // Nanoseconds of a multiprocessor: a chunk, the lines of 128 bytes that a warp touches for it in B (a quarter of them), the groups of
  // lanes that load indices for it, a warp, a step of its shuffles, its barrier.
  chunk: 12.988,
  lines: 1.993,
  groups: 0.061,
  warp: 41.577,
  shuffle: 0.761,
  barrier: 0.226,
  sharing: 0.0113,
  sharingStep: 0.0032,
  longRows: 6.7,
  // Bytes a microsecond of a multiprocessor.
  gathered: { float32: 200_000, float16: 69_856, bfloat16: 69_856 },
  split: {
    entry: 0.2241,
    perEntry: 7.322,
    warp: 69.81,
    gathered: { float32: 15_019, float16: 98_629, bfloat16: 98_629 },
  },
};

const bytesOf = (dtype: FloatDType): number => (dtype === 'float32' ? 4 : 2);

function rowSplit(features: SpmmFeatures, device: PlanDevice): Found {
  const { dtype, format, rows, stored, longestRow, width, batch, vectors } = features;
  const plan: SpmmPlan = { variant: 'row-split', ...nothing };
  // The only kernel of blocks: nothing to compare it with.
  if (format !== 'csr') return { variant: 'row-split', plan, us: Number.POSITIVE_INFINITY };
  const vector = vectors ? 16 / bytesOf(dtype) : 1;
  const lanes = width <= 8 * vector ? 8 : 32;
  const warpsAcross = (Math.ceil(width / (lanes * vector)) * batch * lanes) / 32;
  const { split } = model;
  const nanoseconds = warpsAcross * (stored * split.perEntry + rows * split.warp);
  const us = overlapped(
    model.start,
    model.overlap,
    longestRow * split.entry,
    nanoseconds / (1000 * device.multiprocessors),
    (stored * width * batch * bytesOf(dtype)) / (split.gathered[dtype] * device.multiprocessors),
  );
  return { variant: 'row-split', plan, us };
}

function rowGroup(features: SpmmFeatures, device: PlanDevice): Found {
  if (features.format !== 'csr') return ruledOut('row-group', 'needs a CSR matrix');
  if (features.width > maxInt32) return ruledOut('row-group', `needs at most ${maxInt32} columns of B`);
  let best: Found | undefined;
  for (const plan of groupPlans(features)) {
    const us = groupTime(features, device, plan);
    if (best === undefined || us < best.us) best = { variant: 'row-group', plan, us };
  }
  return best as Found;
}

/** @internal Every plan of row groups that has a kernel and wastes less than half of its lanes. */
export function* groupPlans({ dtype, width, vectors }: SpmmFeatures): Iterable<SpmmPlan> {
  const vector = vectors ? 16 / bytesOf(dtype) : 1;
  const widths = vector === 1 ? [1, 8, 32] : vector === 4 ? [2, 8, 16, 32] : [1, 4, 8, 16, 32];
  for (const lanes of widths) {
    // The narrowest shape takes everything; a wider one pays where most of its lanes have columns.
    if (lanes !== widths[0] && 2 * width <= lanes * vector) continue;
    if (lanes === widths[0] && width > 4 * lanes * vector) continue;
    const all = 32 / lanes;
    for (const splits of new Set([all, Math.max(1, all / 4), lanes <= 2 ? 1 : all])) {
      for (const warps of splits === all ? [1, 2, 4, 8] : [1]) {
        yield { variant: 'row-group', vector, lanes, splits, warps, columns: 0, cluster: 1 };
      }
    }
  }
}

/** @internal */
export function groupTime(features: SpmmFeatures, device: PlanDevice, plan: SpmmPlan): number {
  const { dtype, rows, stored, longestRow, segments, width, batch } = features;
  const { vector, lanes, splits, warps } = plan;
  const bytes = bytesOf(dtype);
  const tile = lanes * vector;
  const columnTiles = Math.ceil(width / tile) * batch;
  const items = rows + (segments?.count ?? 0);
  const totalWarps = Math.ceil((items * lanes * splits) / 32) * warps * columnTiles;
  // Rows begin anywhere in a chunk of four.
  const rounds = (entries: number): number => Math.ceil((entries + 1.5) / (4 * splits * warps));
  const groups = 32 / lanes;
  const lines = Math.max(vector === 1 ? 1 : 4, groups);
  const nanoseconds =
    rounds(stored / Math.max(1, rows)) * (model.chunk + (model.lines * lines) / 4 + model.groups * groups) +
    model.warp +
    model.shuffle * Math.log2(splits) * vector +
    (warps > 1 ? model.barrier : 0);
  const us = overlapped(
    model.start,
    model.overlap,
    rounds(segments === undefined ? longestRow : segments.limit) * model.round,
    (totalWarps * nanoseconds) / (1000 * device.multiprocessors),
    (stored * (tile * bytes + 4 + bytes) * columnTiles) / (model.gathered[dtype] * device.multiprocessors),
  );
  const sharing = warps > 1 ? model.sharing + model.sharingStep * Math.log2(warps) : 0;
  return us + sharing + (segments === undefined ? 0 : model.longRows);
}

function tiles(features: SpmmFeatures, device: PlanDevice): Found {
  const problem = tilesProblem(features);
  if (problem !== undefined) return ruledOut('tiles', problem);
  if (features.tiles === undefined) return ruledOut('tiles', 'needs an up-to-date copy: prepare({ n })');
  return { variant: 'tiles', ...bestTilePlan(features, features.tiles, device) };
}
