// Microseconds that rows of B and the other operands of spmm take from the caches and from memory of an H200, whatever kernel gathers them.

import { dtypeInfo } from '../tensor/dtype.js';
import type { SpmmFeatures } from './spmm-plan.js';
import { shareOfMagnitudes } from './times.js';

/**
 * Microseconds to gather rows of B in float32: what the rows that a multiprocessor works on at a time share comes from its own cache,
 * the more the denser and the more they are, and the rest from the L2 cache.
 */
function floatGatherTime(features: SpmmFeatures): number {
  const { rows, columns, stored, width, batch } = features;
  if (slabBytes(features) < ownCacheBytes) return 0;
  const density = stored / (Math.max(1, rows) * columns);
  // Several column tiles share a cache.
  const tiles = width * 4 > widestTileBytes ? 1 : 1.429;
  const rate =
    tiles * (16.32e6 + 7.922e6 * Math.min(density, 0.2)) * Math.min(1.915, Math.max(1, rows / 1024));
  return (stored * width * batch * 4) / rate;
}

// Bytes a microsecond: operands that no cache holds, in the share of the bandwidth that gathering reaches; rows of B out of the L2
// cache, by the bytes of the part of B that blocks gather from at a time.
const memoryRate = 4.2e6;
const nearRate = 31.92e6;
const farRate = 6.588e6;
const nearSlab = 4e6;
const farSlab = 16e6;
const widestTileBytes = 512;
/** From here on a column tile of B passes the cache of a multiprocessor. */
const ownCacheBytes = 600_000;

/** Of the part of B that blocks gather from at a time. */
function slabBytes({ dtype, columns, width }: SpmmFeatures): number {
  return columns * Math.min(width * dtypeInfo[dtype].bytes, widestTileBytes);
}

/** @internal Whether most of that is far from a multiprocessor. */
export function gathersFar(features: SpmmFeatures): boolean {
  return slabBytes(features) > farSlab;
}

/** What does not depend on the plan, in microseconds: computed once for all plans of a problem. */
export interface MemoryTimes {
  readonly compulsory: number;
  readonly distant: number;
  /** float32 */
  readonly gather: number;
  /** One column: elements of B that are not in the cache of a multiprocessor. */
  readonly elements: number;
}

/** @internal */
export function memoryTimes(features: SpmmFeatures): MemoryTimes {
  const elements = elementTime(features);
  return {
    compulsory: compulsoryTime(features),
    distant: distantTime(features) + walking * elements,
    gather: features.dtype === 'float32' ? floatGatherTime(features) : 0,
    elements,
  };
}

// Microseconds a million, and the columns from which on elements have to be fetched, the more of them the more columns.
const elementTimes = { float32: 4.6, float16: 3.8, bfloat16: 3.8 };
/** Lanes that walk through rows of their own read entries from as many lines besides. */
const walking = 1.5;
const nearColumns = 32_768;
const farColumns = 131_072;

/** Microseconds to gather elements of one column from the L2 cache, 32 bytes each. */
function elementTime({ dtype, columns, stored, width, batch }: SpmmFeatures): number {
  if (width > 1 || columns <= nearColumns) return 0;
  const share = shareOfMagnitudes(columns, nearColumns, farColumns);
  return (share * stored * batch * elementTimes[dtype]) / 1e6;
}

/** Microseconds to read A and B and to write C once, all from and to memory. */
function compulsoryTime({ dtype, rows, columns, stored, width, batch }: SpmmFeatures): number {
  const bytes = dtypeInfo[dtype].bytes;
  const dense = bytes * batch * width * (Math.min(columns, stored) + rows);
  return (dense + stored * (4 + bytes)) / memoryRate;
}

/** Microseconds to gather rows of B from the L2 cache, where B is too large to stay close. Narrow tiles were measured to gain nothing. */
function distantTime(features: SpmmFeatures): number {
  const { dtype, stored, width, batch } = features;
  const slab = slabBytes(features);
  if (slab <= nearSlab) return 0;
  const share = shareOfMagnitudes(slab, nearSlab, farSlab);
  const gathered = stored * width * dtypeInfo[dtype].bytes * batch;
  return gathered / (nearRate * (farRate / nearRate) ** share);
}
