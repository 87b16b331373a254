// How the blocks of sddmm's kernels fill the multiprocessors of a card.

import type { SddmmPlan } from '../backends/calls/sddmm.js';
import { shapeIndexOf } from '../formats/tile-shapes.js';
import { bundleOf, type Occupancy, unevenly } from '../planning/occupancy.js';
import { multiprocessorMemory, reservedBytes } from '../planning/plan-device.js';
import type { FloatDType } from '../tensor/dtype.js';
import { sddmmNeeds } from './sddmm-needs.js';
import type { SddmmFeatures } from './sddmm-plan.js';

/** @internal The last one takes as long as the others. */
export const wholeWavesOf = ({ blocks, resident }: Occupancy): number => Math.ceil(blocks / resident);

/** @internal Blocks that some multiprocessors get then, beyond their share: as many as there is room for. */
export const unevenBlocks = (occupancy: Occupancy): number =>
  unevenly(occupancy) ? occupancy.resident - occupancy.blocks : 0;

/** @internal Of a block of kernels by rows or elements: matches kCsrThreads of cuda/kernels/sddmm/config.h. */
export const warpsOfBlock = 4;

/** @internal Elements that a warp takes at once: matches GatherShape of cuda/kernels/sddmm/gather.cuh. */
export const segmentOf = (lanes: number): number => (lanes <= 8 ? 32 : 256 / lanes);

/** @internal Of a problem, by rows or elements. */
export const warpsOf = ({ rows, stored }: SddmmFeatures, { variant, lanes, splits }: SddmmPlan): number =>
  variant === 'gather' ? stored / segmentOf(lanes) : rows * splits;

type ByLanes = { readonly [lanes: number]: number };
type ByVector = { readonly [vector: number]: ByLanes };
type ByRows = { readonly [rows: number]: number };

// Blocks that a multiprocessor holds at once. Registers decide, of kernels as compiled for compute capability 9.0: of those by rows and
// elements by the elements that a lane loads at once and by lanes, of those by tiles, where shared memory has room for as many, by rows of a tile.
const gathering = {
  float32: {
    rows: {
      1: { 1: 12, 8: 7, 32: 7 },
      2: { 1: 10, 4: 10, 8: 5, 16: 8, 32: 5 },
      4: { 1: 10, 2: 8, 4: 9, 8: 4, 16: 6, 32: 4 },
    },
    gather: {
      1: { 1: 16, 8: 7, 32: 8 },
      2: { 1: 16, 4: 8, 8: 5, 16: 5, 32: 5 },
      4: { 1: 16, 2: 10, 4: 6, 8: 4, 16: 4, 32: 4 },
    },
  },
  half: {
    rows: {
      1: { 1: 12, 8: 7, 32: 7 },
      2: { 1: 12, 4: 12, 8: 6, 16: 9, 32: 6 },
      8: { 1: 10, 2: 7, 4: 9, 8: 4, 16: 6, 32: 4 },
    },
    gather: {
      1: { 1: 16, 8: 8, 32: 8 },
      2: { 1: 16, 4: 8, 8: 5, 16: 5, 32: 5 },
      8: { 1: 16, 2: 9, 4: 6, 8: 4, 16: 4, 32: 4 },
    },
  },
} as const;
const tiling: { readonly [kernel: string]: ByRows } = {
  float32: { 32: 2, 64: 4 },
  half: { 32: 4, 64: 2, 128: 2 },
  halfScalar: { 32: 3, 64: 2, 128: 1 },
  staged: { 32: 8, 64: 4, 128: 2, 256: 2 },
  warpgroups: { 128: 2 },
};

/** @internal Of a plan by rows, elements or tiles. */
export function sddmmOccupancy(features: SddmmFeatures, multiprocessors: number, plan: SddmmPlan): Occupancy {
  const { dtype, batch, depth, tiles } = features;
  const { tile } = plan;
  if (tile > 0) {
    const count = tiles[shapeIndexOf(tile)];
    return {
      blocks: Math.ceil((count * batch) / multiprocessors),
      resident: residentTiles(plan, dtype, depth),
    };
  }
  const blocks = Math.ceil(warpsOf(features, plan) / warpsOfBlock) * batch;
  return { blocks: Math.ceil(blocks / multiprocessors), resident: residentGathers(plan, dtype, depth) };
}

/** Of rows by single lanes that load one step of few columns. */
const residentShort = 16;

function residentGathers({ variant, vector, lanes }: SddmmPlan, dtype: FloatDType, depth: number): number {
  if (variant === 'rows' && lanes === 1 && vector <= 2 && depth <= vector) return residentShort;
  const kernels = gathering[dtype === 'float32' ? dtype : 'half'];
  const byVector: ByVector = variant === 'gather' ? kernels.gather : kernels.rows;
  return byVector[vector][lanes];
}

function residentTiles(plan: SddmmPlan, dtype: FloatDType, depth: number): number {
  const { variant, vector, tile } = plan;
  const ofTiles = dtype === 'float32' ? dtype : vector > 1 ? 'half' : 'halfScalar';
  const most = tiling[variant === 'tiles' ? ofTiles : variant][tile];
  const { sharedMemory = 0 } = sddmmNeeds(plan, dtype, depth);
  return Math.min(most, Math.floor(multiprocessorMemory / (sharedMemory + reservedBytes)));
}

/** Blocks of a bundle at most, by lanes: matches kMostBundled of cuda/kernels/sddmm/gather.cuh. By single lanes they take longer. */
const mostBundled: ByLanes = { 1: 1, 2: 8, 4: 8, 8: 4, 16: 6, 32: 4 };

/** @internal How many blocks of a plan by rows had better be launched as one. */
export function rowBundle(
  features: SddmmFeatures,
  multiprocessors: number,
  plan: SddmmPlan,
  occupancy = sddmmOccupancy(features, multiprocessors, plan),
): number {
  const across = Math.ceil(warpsOf(features, plan) / warpsOfBlock);
  return bundleOf(occupancy, { across, tiles: features.batch }, multiprocessors, mostBundled[plan.lanes]);
}
