// Plans of spmm's tile kernels and their expected microseconds on an H200, for lib/ops/spmm-plan.ts.

import { type SpmmPlan, spmmPlan, type TileHeight, tileDepth, tileHeights } from '../backends/calls/spmm.js';
import { bestOf, type Found } from '../planning/choice.js';
import { lackOf, mostInGrid, type PlanDevice } from '../planning/plan-device.js';
import type { FloatDType } from '../tensor/dtype.js';
import { floatTileBytes, floatTileColumns, floatTileSizes, floatTilesTime } from './spmm-float-tiles.js';
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
  if (shape.warps === 1) return warpTime(features, tiles, device, shape);
  const us = groupTime(features, tiles, device, shape);
  if (!features.padded) return us;
  const { share, more } = shape.cluster > 1 ? ragged.clusters : ragged.single;
  return share * us + more;
}

// Of Hopper's kernels where rows of C begin anywhere, so that sums leave by shared memory, from 585 plans of 1,097 random problems (2026-11-22).
// Those of clusters do in any case.
const ragged = { single: { share: 1.2, more: 1.8 }, clusters: { share: 0.82, more: 0.9 } };

// Of Hopper's kernels, fitted by random search to a sweep over every plan of 26 matrices times 5 widths: the choice takes 1.2 % longer
// than the best plan on average, 1.27 times at most.
const groupModel = {
  start: 0.5102,
  overlap: 0.495,
  cluster: 0.8483,
  clusterStep: 0.0716,
  /** Clusters are placed one after another: by their blocks, microseconds of a block. */
  placing: { 1: 0, 2: 0.0109, 4: 0.0126, 8: 0.0106 } as Record<number, number>,
  /** How far multiprocessors with one block more than others hold up a grid of few blocks. */
  waves: 0.5421,
  parts: 2.1816,
  bytes: 21.0588e6,
  cached: 40e6,
  narrow: 7.5e-5,
  memory: 4.2e6,
  starved: 0.36e6,
};

/** Microseconds of the first tile and of each tile of the longest item; of a tile and of a block for every block of a multiprocessor. */
interface BlockCosts {
  readonly first: number;
  readonly step: number;
  readonly tile: number;
  readonly block: number;
}

/** By rows and columns of a block. */
const blockCosts = byExponent<readonly BlockCosts[]>({
  64: byExponent({
    32: { first: 0.4336, step: 0.021, tile: 0.0968, block: 0.3668 },
    64: { first: 0.563, step: 0.0331, tile: 0.0914, block: 0.8396 },
    128: { first: 1.119, step: 0.0712, tile: 0.1099, block: 2.0151 },
    256: { first: 0, step: 0.0062, tile: 0.199, block: 5.724 },
  }),
  128: byExponent({
    64: { first: 0.3148, step: 0.0401, tile: 0.1685, block: 1.6124 },
    128: { first: 2.3172, step: 0.1592, tile: 0.1635, block: 2.6979 },
    256: { first: 0.0152, step: 0.2463, tile: 0.3455, block: 6.2867 },
  }),
});

const narrowWidth = 8;

function groupTime(
  features: SpmmFeatures,
  tiles: TileFeatures,
  device: PlanDevice,
  { columns, cluster }: TileShape,
): number {
  const { width, batch } = features;
  const { rows, count, items, longest, parts } = tiles;
  const costs = blockCosts[exponentOf(rows)][exponentOf(columns)];
  const across = Math.ceil(width / columns) * batch;
  const blocks = items * across * cluster;
  const steps = Math.max(1, Math.ceil(count / Math.max(1, items) / cluster));
  const share = Math.max(1, blocks / device.multiprocessors);
  const rounds = share + (share > 4 ? 0 : groupModel.waves * (Math.ceil(share) - share));
  const copied = count * across * (rows + columns) * tileDepth * 2 + features.rows * width * batch * 2;
  // What the L2 cache does not keep from one product to the next. Beside sums of 128 x 128 a cluster's blocks have room for two stages.
  const stored = count * rows * tileDepth * 2;
  const fromMemory = stored > groupModel.cached ? stored : 0;
  const memoryRate = cluster > 1 && rows === 128 && columns === 128 ? groupModel.starved : groupModel.memory;
  const us = overlapped(
    groupModel.start,
    groupModel.overlap,
    costs.first + Math.ceil(longest / cluster) * costs.step,
    rounds * (costs.block + steps * costs.tile),
    copied / groupModel.bytes,
    fromMemory / memoryRate,
  );
  const sharing = cluster > 1 ? groupModel.cluster + groupModel.clusterStep * exponentOf(cluster) : 0;
  // Rows of B of 16 bytes are one request each, all of them of few lines where A has few columns.
  const narrow =
    width <= narrowWidth
      ? count * tileDepth * groupModel.narrow * Math.sqrt(512 / Math.max(1, features.columns))
      : 0;
  return us + narrow + sharing + blocks * groupModel.placing[cluster] + (parts > 0 ? groupModel.parts : 0);
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
