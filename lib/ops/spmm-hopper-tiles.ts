// The tile kernels of spmm on Hopper's tensor cores: how their blocks fill a multiprocessor, and how long they take.

import { tileDepth } from '../backends/calls/spmm.js';
import { multiprocessorMemory, type PlanDevice, reservedBytes } from '../planning/plan-device.js';
import type { SpmmFeatures } from './spmm-plan.js';
import type { TileFeatures, TileShape } from './spmm-tiles-plan.js';
import { byExponent, exponentOf, overlapped, shareBetween, wavesOf } from './times.js';

/** Of a block. */
interface Shape {
  /** What a multiprocessor holds of them, by registers. */
  readonly resident: number;
  /** Microseconds of the first tile and of each tile of the longest item; of a tile and of a block for every block of a multiprocessor. */
  readonly first: number;
  readonly step: number;
  readonly tile: number;
  readonly block: number;
}

// By rows and columns of a block. What they hold matches HopperTile of cuda/kernels/spmm/tiles_hopper_stages.cuh.
const shapes = byExponent<readonly Shape[]>({
  64: byExponent({
    32: { resident: 4, first: 0.336, step: 0.0325, tile: 0.0956, block: 0.305 },
    64: { resident: 3, first: 0.492, step: 0.0609, tile: 0.0849, block: 0.818 },
    128: { resident: 2, first: 0.644, step: 0.128, tile: 0.123, block: 1.57 },
    256: { resident: 1, first: 2.93, step: 0, tile: 0.258, block: 3.19 },
  }),
  128: byExponent({
    64: { resident: 2, first: 0.98, step: 0.0906, tile: 0.129, block: 1.16 },
    128: { resident: 2, first: 2.21, step: 0.213, tile: 0.201, block: 1.56 },
    256: { resident: 1, first: 1.97, step: 0.268, tile: 0.468, block: 3.72 },
  }),
});

// Fitted by random search to every plan of 356 random problems, half of them of rows that are not aligned, and of the benchmark's 325 in
// float16, by heights of tiles, and to likely plans of another 200, wide ones most of them (2026-11-22): the choice takes 1.5 % longer than
// the best plan, 1.25 times at most. Before the benchmark's came in, fitted to every other problem it took 2.7 % longer for the rest.
const model = {
  start: 0.625,
  overlap: 0.32,
  /** By the blocks of a cluster: of one, and of each, since they are placed one after another. */
  cluster: byExponent({ 1: 0, 2: 1.05, 4: 0.744, 8: 0.862 }),
  placing: byExponent({ 1: 0, 2: 0.00535, 4: 0.00922, 8: 0.00703 }),
  /** How far multiprocessors with one block more than others hold up a grid of few blocks. */
  waves: 0.563,
  /** Of the time of the longest item, what each further wave of blocks takes. */
  nextWave: 1.13,
  /** Of a block of 128 x 128 in a cluster, until its sums have gone where they belong, and the share of that for every block. */
  sums: 1.67,
  sumsShare: 0.195,
  parts: 2.18,
  bytes: 18.8e6,
  narrow: 7.5e-5,
  /** Bytes of A in tiles from which on the L2 cache does not keep them from one product to the next, and that memory sends in a microsecond. */
  cached: 40e6,
  memory: 5.84e6,
  // Microseconds from where a stage is asked for to where it is there, by the bytes of both operands.
  stage: { near: 0.0638, far: 1.04, nearBytes: 1.19e6, farBytes: 19.5e6 },
  // Where rows of C begin anywhere, so that sums leave by shared memory. Those of clusters do in any case.
  ragged: { single: { share: 1.09, more: 2.19 }, clusters: { share: 1.02, more: 0.51 } },
};

// As launch_hopper_shape of cuda/kernels/spmm/tiles_hopper.cuh has them: the share of multiprocessors that clusters reach, by their blocks;
// bytes for stages and sums of a block that is alone, or not; most stages.
const reached = byExponent({ 1: 1, 2: 1, 4: 0.86, 8: 0.79 });
const mostMemory = 200 * 1024;
const halfMemory = 110 * 1024;
const mostStages = 8;

interface Filling {
  readonly stages: number;
  /** Of all blocks that the card holds at once. */
  readonly load: number;
}

function fillingOf(
  rows: number,
  { columns, cluster }: TileShape,
  blocks: number,
  longest: number,
  multiprocessors: number,
): Filling {
  const most = shapes[exponentOf(rows)][exponentOf(columns)].resident;
  const within = multiprocessors * reached[exponentOf(cluster)];
  const stageBytes = 2 * tileDepth * (rows + columns);
  const sums = cluster > 1 ? 4 * rows * (columns + 8) : 0;
  const few = blocks <= within && longest > mostStages;
  const alone = few || most === 1 || halfMemory - sums < 2 * stageBytes;
  const fitting = Math.floor(((alone ? mostMemory : halfMemory) - sums) / stageBytes);
  const stages = Math.max(1, Math.min(longest, fitting, mostStages));
  const blockBytes = Math.max(stages * stageBytes, sums) + sums + reservedBytes;
  const resident = Math.max(1, Math.min(most, Math.floor(multiprocessorMemory / blockBytes)));
  return { stages, load: blocks / (within * resident) };
}

const narrowWidth = 8;

/** @internal */
export function hopperTilesTime(
  features: SpmmFeatures,
  tiles: TileFeatures,
  { multiprocessors }: PlanDevice,
  shape: TileShape,
): number {
  const { width, batch } = features;
  const { rows, count, items, parts } = tiles;
  const { columns, cluster } = shape;
  const costs = shapes[exponentOf(rows)][exponentOf(columns)];
  const across = Math.ceil(width / columns) * batch;
  const blocks = items * across * cluster;
  const steps = Math.max(1, Math.ceil(count / Math.max(1, items) / cluster));
  const longest = Math.ceil(tiles.longest / cluster);
  const share = Math.max(1, blocks / multiprocessors);
  const rounds = share + (share > 4 ? 0 : model.waves * (Math.ceil(share) - share));
  const copied = count * across * (rows + columns) * tileDepth * 2 + features.rows * width * batch * 2;
  const stored = count * rows * tileDepth * 2;
  const { near, far, nearBytes, farBytes } = model.stage;
  const distance = shareBetween(stored + features.columns * width * 2, nearBytes, farBytes);
  const { stages, load } = fillingOf(rows, shape, blocks, longest, multiprocessors);
  const laterWaves = Math.max(1, wavesOf(load)) - 1;
  const step = Math.max(costs.step, (near + (far - near) * distance) / stages);
  const sums = cluster > 1 ? (model.sums * rows * columns) / (128 * 128) : 0;
  const us =
    overlapped(
      model.start,
      model.overlap,
      (costs.first + sums + longest * step) * (1 + model.nextWave * laterWaves),
      rounds * (costs.block + model.sumsShare * sums + steps * costs.tile),
      copied / model.bytes,
      stored > model.cached ? stored / model.memory : 0,
    ) +
    model.cluster[exponentOf(cluster)] +
    blocks * model.placing[exponentOf(cluster)] +
    (parts > 0 ? model.parts : 0) +
    narrowTime(features, count);
  if (!features.padded) return us;
  const ragged = cluster > 1 ? model.ragged.clusters : model.ragged.single;
  return ragged.share * us + ragged.more;
}

/** Rows of B of 16 bytes are one request each, all of them of few lines where A has few columns. */
function narrowTime({ width, columns }: SpmmFeatures, count: number): number {
  if (width > narrowWidth) return 0;
  return count * tileDepth * model.narrow * Math.sqrt(512 / Math.max(1, columns));
}
