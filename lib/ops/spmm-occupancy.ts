// How the blocks of spmm's kernels that gather rows of B fill the multiprocessors of a card, and what is done where the next kernel's would
// crowd them.

import { type SpmmPlan, spmmPlan } from '../backends/calls/spmm.js';
import { crowds, type Occupancy, roomOf } from '../planning/occupancy.js';
import type { PlanDevice } from '../planning/plan-device.js';
import type { SpmmFeatures } from './spmm-plan.js';

/** Warps of a block of row groups, at least, and of a stream: match kGroupWarpsLog2 and kStreamWarps of cuda/kernels/spmm/config.h. */
const leastWarps = 4;

// Blocks of so many warps that a multiprocessor holds at once. Registers decide, of kernels as compiled for compute capability 9.0: of row
// groups of one problem.
function residentGroups({ vector, piece, lanes }: SpmmPlan, half: boolean): number {
  if (vector === 1) return half || lanes === 32 ? 12 : 10;
  if (half) return vector === 4 ? 9 : 8;
  return piece === 1 ? 8 : 9;
}

const residentStreams = ({ vector, piece }: SpmmPlan, half: boolean): number =>
  vector === 8 && (piece === 1 || !half) ? 8 : 10;

/** Blocks of a tile of columns, and tiles. */
interface Grid {
  readonly across: number;
  readonly tiles: number;
}

function groupGrid({ rows, width, batch }: SpmmFeatures, plan: SpmmPlan): Grid {
  const { vector, lanes, splits, warps } = plan;
  const rowsOfWarp = 32 / (lanes * splits);
  const across = Math.ceil(rows / ((blockWarps(plan) / warps) * rowsOfWarp));
  return { across, tiles: Math.ceil(width / (lanes * vector)) * batch };
}

const blockWarps = ({ warps }: SpmmPlan): number => Math.max(leastWarps, warps);

/** @internal Of row groups. */
export function groupOccupancy(features: SpmmFeatures, multiprocessors: number, plan: SpmmPlan): Occupancy {
  const { across, tiles } = groupGrid(features, plan);
  const resident = residentGroups(plan, features.dtype !== 'float32');
  return {
    blocks: Math.ceil((across * tiles) / multiprocessors),
    resident: Math.floor((resident * leastWarps) / blockWarps(plan)),
  };
}

/** Warps that a block can have. */
const mostWarps = 32;

/**
 * How many blocks of row groups make one, such that a multiprocessor has one, or two, and no room for another until that has ended: then
 * the next kernel's are spread as evenly as the first. 1 where they are so anyway, or fill all there is.
 */
function bundleOf(
  features: SpmmFeatures,
  { multiprocessors, clusters }: PlanDevice,
  plan: SpmmPlan,
  occupancy: Occupancy,
): number {
  // Kernels of several problems take more registers than so large a block could have; before compute capability 9.0 none overlap.
  if (!clusters || features.batch > 1 || !crowds(occupancy) || roomOf(occupancy) === 0) return 1;
  const { across, tiles } = groupGrid(features, plan);
  for (const share of [1, 2]) {
    const bundles = Math.floor((share * multiprocessors) / tiles);
    if (bundles === 0) continue;
    const bundle = Math.ceil(across / bundles);
    if (bundle * blockWarps(plan) <= mostWarps && share * bundle <= occupancy.resident) return bundle;
  }
  return 1;
}

// Of row groups that crowd, from 921 plans of 1,232 random problems (2026-11-22). The share of the time beyond `startUs` that blocks take
// longer, for each that there is room for; and of bundles, the share that rows of very different lengths do, which wait for each other.
const crowding = { startUs: 2.4, longer: 0.83 };
const bundling = { share: 0.985, uneven: 0.05, worthIt: 0.98 };

/** @internal */
export interface Placed {
  readonly us: number;
  readonly bundle: number;
}

/** @internal Row groups that take `us` where no other kernel's blocks are beside them: with those of the next one, bundled where that is faster. */
export function placedGroup(features: SpmmFeatures, device: PlanDevice, plan: SpmmPlan, us: number): Placed {
  const occupancy = groupOccupancy(features, device.multiprocessors, plan);
  const bundle = bundleOf(features, device, plan, occupancy);
  if (bundle === 1) return { us, bundle };
  const { rows, stored, longestRow } = features;
  const even = Math.min(1, (2 * stored) / (rows * Math.max(1, longestRow)));
  const crowded = us + crowding.longer * roomOf(occupancy) * even * Math.max(0, us - crowding.startUs);
  const together = us * (bundling.share + bundling.uneven * (1 - even));
  return together < bundling.worthIt * crowded ? { us: together, bundle } : { us: crowded, bundle: 1 };
}

/** @internal The plan with such a bundle. Not by spreading alone: the engine would see an object of another kind. */
export const bundled = (plan: SpmmPlan, bundle: number): SpmmPlan =>
  bundle === plan.bundle ? plan : spmmPlan(plan.variant, { ...plan, bundle });

/**
 * @internal Whether the next kernel's blocks had better wait until all of a stream have ended: of 198 plans that they crowd, most took less time,
 * 0.94 of it on average. Their blocks end one by one, and so are not bundled.
 */
export function streamAlone(features: SpmmFeatures, multiprocessors: number, plan: SpmmPlan): boolean {
  const { bins, width, batch, dtype } = features;
  const { vector, lanes, blockItems, warpItems } = plan;
  if (lanes === 1 || bins === undefined) return false;
  const others = bins.stream.items - blockItems - warpItems;
  const groups = leastWarps * (32 / lanes);
  const across = blockItems + Math.ceil(warpItems / leastWarps) + Math.ceil(others / groups);
  const tiles = Math.ceil(width / (lanes * vector)) * batch;
  const occupancy = {
    blocks: Math.ceil((across * tiles) / multiprocessors),
    resident: residentStreams(plan, dtype !== 'float32'),
  };
  return crowds(occupancy) && roomOf(occupancy) > 0;
}
