// Which kernel of spmm runs, with which parameters: a pure function of the problem and the device. Times are expected
// microseconds on an H200, replayed from a graph; the constants below come from a sweep over every plan there (docs/performance.md).

import { type SpmmPlan, type SpmmVariant, tileDepth } from '../backends/calls/spmm.js';
import type { Device } from '../device/device.js';
import { WarptileError } from '../errors.js';
import type { FloatDType } from '../tensor/dtype.js';
import { maxInt32 } from '../validate.js';

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
  readonly tiles: { readonly rows: number; readonly count: number } | undefined;
}

export interface PlanDevice {
  readonly multiprocessors: number;
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

/** Rows of a tile, each with a kernel of as many columns. */
export const tileSizes = [32, 64, 128] as const;

/** Matches kSpmmMaxTiledColumns of cuda/api/spmm.h. */
const mostTiledColumns = 2 ** 21;
const mostPanels = 65_535;

/** The CPU plans as an H200 would, so that what is tested there is what runs. */
export function planDevice({ info }: Device): PlanDevice {
  const [major] = info.computeCapability ?? [9];
  return { multiprocessors: info.multiprocessors ?? 132, clusters: major >= 9 };
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

/** 'lanes 8, splits 4, warps 8' */
export function describePlan({ variant, vector, lanes, splits, warps, columns, cluster }: SpmmPlan): string {
  if (variant === 'row-group') return `vector ${vector}, lanes ${lanes}, splits ${splits}, warps ${warps}`;
  return variant === 'tiles' ? `${columns}x${columns}, cluster ${cluster}` : '';
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

// Microseconds of an empty problem, of one round of a warp's chunks, and bytes gathered a microsecond by a multiprocessor.
const start = 1.7;
const round = 0.42;
const gathered = { float32: 88_000, float16: 70_000, bfloat16: 70_000 };
// Resident warps of a multiprocessor, and what another wave of them costs beyond its bytes.
const residentWarps = 48;
const wave = 0.5;

const bytesOf = (dtype: FloatDType): number => (dtype === 'float32' ? 4 : 2);

function rowSplit(features: SpmmFeatures, device: PlanDevice): Found {
  const { dtype, rows, stored, longestRow, width, batch, vectors } = features;
  const plan: SpmmPlan = { variant: 'row-split', ...nothing };
  const vector = vectors ? 16 / bytesOf(dtype) : 1;
  const lanes = width <= 8 * vector ? 8 : 32;
  const columnTiles = Math.ceil(width / (lanes * vector)) * batch;
  const warps = (rows * lanes * columnTiles) / 32;
  const work = (stored * width * batch * bytesOf(dtype)) / (gathered[dtype] * device.multiprocessors);
  const waves = warps / (residentWarps * device.multiprocessors);
  // Four entries are in flight: a long row is a chain of its entries.
  return { variant: 'row-split', plan, us: start + Math.max(longestRow * 0.14, work) + wave * waves };
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
  const tile = lanes * vector;
  const columnTiles = Math.ceil(width / tile) * batch;
  const perWarp = 32 / (lanes * splits);
  const items = rows + (segments?.count ?? 0);
  const totalWarps = Math.ceil(items / perWarp) * warps * columnTiles;
  const longest = segments === undefined ? longestRow : segments.limit;
  const rounds = Math.ceil((longest + 1.5) / (4 * splits * warps));
  const waves = totalWarps / (residentWarps * device.multiprocessors);
  const bytes = bytesOf(dtype);
  const work =
    (stored * (tile * bytes + 4 + bytes) * columnTiles) / (gathered[dtype] * device.multiprocessors);
  // Lanes without an entry still take their turn: rounds of the mean row, for all rows.
  const filled = Math.ceil((stored / Math.max(1, rows) + 1.5) / (4 * splits * warps));
  const issued =
    (totalWarps * filled * 4 * 32 * vector * bytes) / (gathered[dtype] * 1.6 * device.multiprocessors);
  const sums = segments === undefined ? 0 : 1.5;
  return start + Math.max(rounds * round, work, issued) + wave * waves + sums;
}

/** Why there can be no copy in tiles; undefined where there can. */
export function tilesProblem({
  dtype,
  format,
  rows,
  columns,
  batchedValues,
}: SpmmFeatures): string | undefined {
  if (format !== 'csr') return 'needs a CSR matrix';
  if (dtype === 'float32') return 'needs float16 or bfloat16';
  if (batchedValues) return 'needs one set of values';
  if (columns > mostTiledColumns) return `needs at most ${mostTiledColumns} columns`;
  if (rows > mostPanels * tileSizes[0]) return `needs at most ${mostPanels * tileSizes[0]} rows`;
  return undefined;
}

function tiles(features: SpmmFeatures, device: PlanDevice): Found {
  const problem = tilesProblem(features);
  if (problem !== undefined) return ruledOut('tiles', problem);
  if (features.tiles === undefined) return ruledOut('tiles', 'needs an up-to-date copy: prepare({ n })');
  const { rows } = features.tiles;
  let best: Found | undefined;
  for (const cluster of device.clusters ? [1, 2, 4, 8] : [1]) {
    const plan: SpmmPlan = { variant: 'tiles', ...nothing, columns: rows, cluster };
    const us = tilesTime(features, device, plan);
    if (best === undefined || us < best.us) best = { variant: 'tiles', plan, us };
  }
  return best as Found;
}

/** Microseconds of one tile in a block, blocks resident at once, by the rows of a tile. */
const tileCosts: { readonly [rows: number]: { step: number; resident: number } } = {
  32: { step: 0.35, resident: 5 },
  64: { step: 0.45, resident: 3 },
  128: { step: 0.9, resident: 2 },
};

/** @internal */
export function tilesTime(features: SpmmFeatures, device: PlanDevice, plan: SpmmPlan): number {
  const { width, batch, vectors } = features;
  const { rows, count } = features.tiles as { rows: number; count: number };
  const panels = Math.ceil(features.rows / rows);
  const { step, resident } = tileCosts[rows];
  const blocks = panels * Math.ceil(width / plan.columns) * batch * plan.cluster;
  const steps = Math.ceil(Math.max(1, count / Math.max(1, panels)) / plan.cluster);
  const slots = device.multiprocessors * resident;
  const crowding = Math.max(1, Math.min(blocks, slots) / device.multiprocessors) ** 0.6;
  const waves = Math.max(1, Math.ceil(blocks / slots));
  const clusters = plan.cluster === 1 ? 0 : 0.5 + 0.08 * plan.cluster;
  const us = start + 0.6 + clusters + waves * (steps * step * crowding + 0.5);
  return vectors ? us : 2 * us;
}

/** @internal Tiles of the densest copy: for judging before they are counted. */
export function mostTiles({ rows, columns, stored }: SpmmFeatures, tileRows: number): number {
  return Math.min(Math.ceil(rows / tileRows) * Math.ceil(columns / tileDepth), stored);
}
