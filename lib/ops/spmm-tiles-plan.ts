// Plans of spmm's tile kernels and their expected microseconds on an H200, for lib/ops/spmm-plan.ts.

import { type SpmmPlan, spmmPlan, type TileHeight, tileDepth, tileHeights } from '../backends/calls/spmm.js';
import { bestOf, type Found } from '../planning/choice.js';
import { lackOf, mostInGrid, type PlanDevice } from '../planning/plan-device.js';
import type { FloatDType } from '../tensor/dtype.js';
import { floatTileBytes, floatTileColumns, floatTileSizes, floatTilesTime } from './spmm-float-tiles.js';
import { hopperTilesTime } from './spmm-hopper-tiles.js';
import type { SpmmFeatures } from './spmm-plan.js';
import { byExponent, exponentOf, overlapped, unaligned } from './times.js';

/** A copy in tiles, built or thought of. */
export interface TileFeatures {
  readonly rows: TileHeight;
  readonly count: number;
  /** What the blocks of a grid take: panels, or parts of long ones. */
  readonly items: number;
  readonly longest: number;
  readonly parts: number;
  /** Most tiles of a panel, for kernels that do not take it in parts. */
  readonly most: number;
}

/** Matches kSpmmMaxTiledColumns of cuda/api/spmm.h. */
const mostTiledColumns = 2 ** 21;

/** Why there can be no copy in tiles; undefined where there can. */
export function tilesProblem({ rows, columns, batchedValues }: SpmmFeatures): string | undefined {
  if (batchedValues) return 'needs one set of values';
  if (columns > mostTiledColumns) return `needs at most ${mostTiledColumns} columns`;
  const mostRows = mostInGrid * tileHeights[0];
  return rows > mostRows ? `needs at most ${mostRows} rows` : undefined;
}

/** Rows of a tile that the kernels of a dtype take. */
export function tileSizes(dtype: FloatDType): readonly TileHeight[] {
  return dtype === 'float32' ? floatTileSizes : tileHeights;
}

/** What tells a tile kernel's plans apart. */
export type TileShape = Pick<SpmmPlan, 'warps' | 'columns' | 'cluster'>;

const plansOf = (
  warps: number,
  columns: readonly number[],
  clusters: readonly number[],
): readonly SpmmPlan[] =>
  columns.flatMap((each) => clusters.map((cluster) => spmmPlan('tiles', { warps, columns: each, cluster })));
const alone = [1];
const clustered = [1, 2, 4, 8];
// Made once: to make them takes longer than to estimate them. By rows of a tile, without clusters and with them.
const hopperPlans = byExponent({
  64: [...plansOf(4, [32, 64, 128], clustered), ...plansOf(4, [256], alone)],
  128: [...plansOf(4, [64, 128], clustered), ...plansOf(4, [256], alone)],
});
const warpPlans = [alone, clustered].map((clusters) =>
  byExponent({
    32: plansOf(1, [32], clusters),
    64: plansOf(1, [64], clusters),
    128: plansOf(1, [128], clusters),
  }),
);
const floatPlans = [alone, clustered].map((clusters) =>
  byExponent({
    32: plansOf(1, floatTileColumns(32), clusters),
    64: plansOf(1, floatTileColumns(64), clusters),
  }),
);

/** Every plan that has a kernel for the copy: for half types Hopper's, or where there can be none those of single warps. */
export function tilePlans(
  { dtype, vectors, batch }: SpmmFeatures,
  { rows, items }: TileFeatures,
  { clusters, sharedMemory }: PlanDevice,
): readonly SpmmPlan[] {
  const height = exponentOf(rows);
  if (dtype === 'float32') {
    return floatTileBytes[height] > sharedMemory ? [] : floatPlans[Number(clusters)][height];
  }
  const fits = clusters && vectors && batch <= mostInGrid && items <= mostInGrid;
  return fits && rows !== 32 ? hopperPlans[height] : warpPlans[Number(clusters)][height];
}

/** The plan that is expected to be fastest; none where the device has no room for such tiles. */
export function bestTilePlan(
  features: SpmmFeatures,
  tiles: TileFeatures,
  device: PlanDevice,
): Found<SpmmPlan> {
  const plans = tilePlans(features, tiles, device);
  const problem =
    plans.length > 0
      ? undefined
      : `needs ${lackOf(device, { sharedMemory: floatTileBytes[exponentOf(tiles.rows)] })}`;
  return bestOf('tiles', problem, plans, (plan) => tilesTime(features, tiles, device, plan));
}

/** @internal */
export function tilesTime(
  features: SpmmFeatures,
  tiles: TileFeatures,
  device: PlanDevice,
  shape: TileShape,
): number {
  if (features.dtype === 'float32') return floatTilesTime(features, tiles, device, shape);
  const time = shape.warps === 1 ? warpTime : hopperTilesTime;
  return time(features, tiles, device, shape);
}

// Of the kernels of single warps, from a sweep over them alone: 4 % longer than the best plan on average, 1.2 times at most.
const warpModel = {
  start: 2.349,
  overlap: 0.3155,
  cluster: 0.2166,
  clusterStep: 0.4112,
  bytes: 1.697e6,
  byRows: byExponent({
    32: { latency: 0.1727, first: 0, tile: 0.1549, block: 0.9763 },
    64: { latency: 0.2028, first: 1.2177, tile: 0.2891, block: 1.1845 },
    128: { latency: 0.0249, first: 0, tile: 1.4893, block: 1.2985 },
  }),
};

function warpTime(features: SpmmFeatures, tiles: TileFeatures, device: PlanDevice, plan: TileShape): number {
  const { width, batch, vectors } = features;
  const { rows, count, most } = tiles;
  const { latency, first, tile, block } = warpModel.byRows[exponentOf(rows)];
  const panels = Math.max(1, Math.ceil(features.rows / rows));
  const blocks = panels * Math.ceil(width / plan.columns) * batch * plan.cluster;
  const steps = Math.ceil(Math.max(1, count / panels) / plan.cluster);
  const longest = Math.max(steps, Math.ceil(most / plan.cluster));
  const us =
    overlapped(
      warpModel.start,
      warpModel.overlap,
      first + longest * latency,
      Math.max(Math.max(1, blocks / device.multiprocessors) * (block + steps * tile), block + longest * tile),
      (count * rows * tileDepth * 2) / warpModel.bytes,
    ) + (plan.cluster > 1 ? warpModel.cluster + warpModel.clusterStep * exponentOf(plan.cluster) : 0);
  return vectors ? us : us * unaligned(width, (plan.cluster > 1 ? 1.3 : 1.6) * (rows === 128 ? 1.4 : 1));
}
