// What the kernels of spmm need of a card.

import type { SpmmPlan } from '../backends/calls/spmm.js';
import type { CardNeeds } from '../planning/plan-device.js';
import type { FloatDType } from '../tensor/dtype.js';
import { floatTileBytes } from './spmm-float-tiles.js';
import { exponentOf } from './times.js';

/**
 * By the rows of a tile, if the plan has tiles. Every card has the memory of the others: tiles of half types take 98,304 bytes at most without
 * warpgroups (which are of cards that have 227 KiB), strips 32,768, row groups 8,192; a panel takes what there is.
 */
export function spmmNeeds(
  { variant, warps, cluster }: SpmmPlan,
  dtype: FloatDType,
  tileRows: number,
): CardNeeds {
  if (variant !== 'tiles') return { clusters: cluster > 1 };
  const sharedMemory = dtype === 'float32' ? floatTileBytes[exponentOf(tileRows)] : 0;
  return { clusters: cluster > 1 || warps > 1, sharedMemory };
}
