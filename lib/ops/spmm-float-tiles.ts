// The float32 tile kernel of spmm: its shapes, and how long it takes.

import type { PlanDevice } from '../planning/plan-device.js';
import type { SpmmFeatures } from './spmm-plan.js';
import type { TileFeatures, TileShape } from './spmm-tiles-plan.js';
import { byExponent, exponentOf, overlapped, unaligned, wavesOf } from './times.js';

/** @internal Rows of a tile. */
export const floatTileSizes = [32, 64] as const;

/** @internal Columns of C that a block computes, by the rows of a tile. */
export function floatTileColumns(rows: number): readonly number[] {
  return rows === 32 ? [32, 128] : [128];
}

/** @internal Bytes of shared memory of a block, by the exponent of the rows of a tile, at most: matches the shapes of cuda/kernels/spmm/float_tiles.cu. */
export const floatTileBytes = byExponent({ 32: 83_968, 64: 102_400 });

// Fitted to a sweep over every plan of 35 matrices and 32, 128 and 512 columns, and scaled together with the other models: over its
// problems the choice takes 0.5 % longer than the best plan on average, 1.1 times at most. Microseconds:
//   latency       a tile of the longest share, and what comes before
//   tile, block   of the multiprocessor, in whole waves while blocks are few
// Clusters of four and of eight do not fill all groups of multiprocessors.
const model = {
  overlap: 0.4656,
  clusterStep: 1.375,
  parts: 1.192,
  reached: { 1: 1, 2: 1, 4: 0.862, 8: 0.786 } as Readonly<Record<number, number>>,
};

interface BlockCosts {
  readonly latency: number;
  readonly first: number;
  readonly tile: number;
  readonly block: number;
}

/** By rows of a tile and columns of a block. */
const blockCosts = byExponent<readonly BlockCosts[]>({
  32: byExponent({
    32: { latency: 0.3177, first: 0.3212, tile: 0.3777, block: 1.798 },
    128: { latency: 0.8968, first: 0.1928, tile: 1.649, block: 2.49 },
  }),
  64: byExponent({ 128: { latency: 0.8601, first: 0, tile: 2.965, block: 2.361 } }),
});

/** @internal */
export function floatTilesTime(
  features: SpmmFeatures,
  tiles: TileFeatures,
  device: PlanDevice,
  plan: TileShape,
): number {
  const { width, batch, vectors } = features;
  const { rows, count, items, longest, parts } = tiles;
  const { columns, cluster } = plan;
  const shape = blockCosts[exponentOf(rows)][exponentOf(columns)];
  const blocks = Math.max(1, items) * Math.ceil(width / columns) * batch * cluster;
  const steps = Math.ceil(Math.max(1, count / Math.max(1, items)) / cluster);
  const load = blocks / (device.multiprocessors * model.reached[cluster]);
  // Of three blocks the last one shares a multiprocessor with what is left of the other two.
  const waves = load > 2 && load <= 3 ? Math.max(2.5, load) : wavesOf(load);
  const most = Math.max(steps, Math.ceil(longest / cluster));
  const us =
    overlapped(
      0,
      model.overlap,
      shape.first + most * shape.latency,
      // Of the multiprocessor with the most blocks, or with the longest, which begins early.
      Math.max(waves * (shape.block + steps * shape.tile), shape.block + most * shape.tile),
    ) +
    model.clusterStep * exponentOf(cluster) +
    (parts > 0 ? model.parts : 0);
  return vectors ? us : us * unaligned(width, cluster > 1 ? 1.13 : 1.33);
}
