// How the blocks of spmm's kernels that gather rows of B fill the multiprocessors of a card, and what is done where the next kernel's would
// crowd them.

import { type SpmmPlan, spmmPlan } from '../backends/calls/spmm.js';
import { bundleOf, evenness, type Grid, type Occupancy, roomOf, unevenly } from '../planning/occupancy.js';
import type { PlanDevice } from '../planning/plan-device.js';
import type { SpmmFeatures } from './spmm-plan.js';
import { exponentOf } from './times.js';

/** Warps of a block of row groups, at least, and of a stream: match kGroupWarpsLog2 and kStreamWarps of cuda/kernels/spmm/config.h. */
const leastWarps = 4;

// Blocks of so many warps that a multiprocessor holds at once. Registers decide, of kernels as compiled for compute capability 9.0: of row
// groups of one problem.
function residentGroups({ vector, piece, lanes }: SpmmPlan, half: boolean, padded: boolean): number {
  if (vector === 1) return half || lanes === 32 ? 12 : 10;
  if (half) return vector === 4 ? 9 : 8;
  return piece === 1 || (padded && lanes > 8) ? 8 : 9;
}

function residentStreams({ vector, piece, lanes }: SpmmPlan, half: boolean): number {
  if (lanes === 1) return 8;
  return vector === 8 && (piece === 1 || !half) ? 8 : 10;
}

/** @internal Of row groups, unbundled. */
export function groupGrid({ rows, width, batch }: SpmmFeatures, plan: SpmmPlan): Grid {
  const { vector, lanes, splits, warps } = plan;
  const rowsOfWarp = 32 / (lanes * splits);
  const across = Math.ceil(rows / ((blockWarps(plan) / warps) * rowsOfWarp));
  return { across, tiles: Math.ceil(width / (lanes * vector)) * batch };
}

const blockWarps = ({ warps }: SpmmPlan): number => Math.max(leastWarps, warps);

/** @internal Of row groups. */
export function groupOccupancy(
  features: SpmmFeatures,
  multiprocessors: number,
  plan: SpmmPlan,
  { across, tiles } = groupGrid(features, plan),
): Occupancy {
  const resident = residentGroups(plan, features.dtype !== 'float32', features.padded);
  return {
    blocks: Math.ceil((across * tiles) / multiprocessors),
    resident: Math.floor((resident * leastWarps) / blockWarps(plan)),
  };
}

/** Warps that a block can have. */
const mostWarps = 32;

/** @internal How many blocks of row groups had better be launched as one. */
export function groupBundle(
  features: SpmmFeatures,
  { multiprocessors, clusters }: PlanDevice,
  plan: SpmmPlan,
  grid = groupGrid(features, plan),
  occupancy = groupOccupancy(features, multiprocessors, plan, grid),
): number {
  // Kernels of several problems take more registers than so large a block could have; before compute capability 9.0 none overlap.
  if (!clusters || features.batch > 1) return 1;
  return bundleOf(occupancy, grid, multiprocessors, mostWarps / blockWarps(plan));
}

// How row groups fill multiprocessors, fitted with the rest of their times (2026-11-22). Shares of the time beyond `startUs`, some of them for
// each power of two of lanes below 32 (`narrow`): what few blocks save, below a load of `fewLoad`; what the empty part of a last wave costs; in
// float32 what dense rows of A save that share rows of B, by the density; what blocks that the next kernel crowds take longer, by the room;
// and what bundles save, and cost where rows differ in length: they wait.
const placing = {
  startUs: 1.575,
  crowded: 0.493,
  wave: 0.0874,
  few: 0.25,
  fewLoad: 1.768,
  bundled: 0.0054,
  narrowWave: 0.0278,
  narrow: 0.0117,
  dense: 0.111,
  denser: 0.0901,
  denseNarrow: 0.405,
  large: 0.0306,
  uneven: 0.0291,
  worthIt: 0.98,
};

/** @internal */
export interface Placed {
  readonly us: number;
  readonly bundle: number;
}

/** @internal Row groups that take `us` by what they read and compute: beside those of the next kernel, bundled where that is faster. */
export function placedGroup(
  features: SpmmFeatures,
  device: PlanDevice,
  plan: SpmmPlan,
  grid: Grid,
  us: number,
): Placed {
  const { dtype, rows, columns, stored } = features;
  const occupancy = groupOccupancy(features, device.multiprocessors, plan, grid);
  const load = (grid.across * grid.tiles) / (device.multiprocessors * occupancy.resident);
  const beyond = Math.max(0, us - placing.startUs);
  const empty = load > 1 && load < 3 ? Math.ceil(load) / load - 1 : 0;
  const few = Math.max(0, 1 - load / placing.fewLoad);
  const narrow = 5 - exponentOf(plan.lanes);
  const density = dtype === 'float32' ? Math.min(0.3, stored / Math.max(1, rows * columns)) : 0;
  const dense = Math.max(0, placing.dense - placing.denseNarrow * narrow) * density;
  const alone =
    us + beyond * ((placing.wave + placing.narrowWave * narrow) * empty - placing.few * few - dense);
  const bundle = groupBundle(features, device, plan, grid, occupancy);
  if (bundle === 1) return { us: alone, bundle };
  const even = evenness(features);
  const crowded = alone + placing.crowded * roomOf(occupancy) * even * beyond;
  const denser = Math.max(0, placing.denser - placing.denseNarrow * narrow) * density;
  const together =
    alone * (1 - placing.bundled + placing.uneven * (1 - even)) -
    (placing.large + denser - placing.narrow * narrow) * beyond;
  return together < placing.worthIt * crowded ? { us: together, bundle } : { us: crowded, bundle: 1 };
}

/** @internal The plan with such a bundle. Not by spreading alone: the engine would see an object of another kind. */
export const bundled = (plan: SpmmPlan, bundle: number): SpmmPlan =>
  bundle === plan.bundle ? plan : spmmPlan(plan.variant, { ...plan, bundle });

/** @internal Of streams. */
export function streamOccupancy(features: SpmmFeatures, multiprocessors: number, plan: SpmmPlan): Occupancy {
  const { bins, width, batch, dtype } = features;
  const { vector, lanes, blockItems, warpItems } = plan;
  const { stream, column } = bins as NonNullable<typeof bins>;
  const groups = leastWarps * (32 / lanes);
  const shared =
    Math.ceil(warpItems / leastWarps) + Math.ceil((stream.items - blockItems - warpItems) / groups);
  const across = lanes === 1 ? column.items : blockItems + shared;
  const tiles = Math.ceil(width / (lanes * vector)) * batch;
  return {
    blocks: Math.ceil((across * tiles) / multiprocessors),
    resident: residentStreams(plan, dtype !== 'float32'),
  };
}

/** Microseconds from which on streams of one column gain. */
const columnAloneUs = 6;

/**
 * @internal Whether the next kernel's blocks had better wait until all of a stream have ended, which takes `us`. Of 198 plans of several columns
 * that they crowd most took less time, 0.94 of it on average; of one column those that take long, 0.93. Blocks of streams end one by one, and so
 * are not bundled.
 */
export function streamAlone(
  features: SpmmFeatures,
  multiprocessors: number,
  plan: SpmmPlan,
  us: number,
): boolean {
  return unevenly(streamOccupancy(features, multiprocessors, plan)) && (plan.lanes > 1 || us > columnAloneUs);
}
