// How much longer lanes take that load their columns of B in pieces, for lib/ops/spmm-gather-plans.ts.

import type { SpmmPlan } from '../backends/calls/spmm.js';
import { dtypeInfo } from '../tensor/dtype.js';
import { lineBytes, sectorBytes } from './cache-lines.js';
import type { SpmmFeatures } from './spmm-plan.js';

// Of the time that the models of row groups and row bins say, which were fitted to whole vectors: single columns by lanes; pairs, and four
// single columns of a lane, by the bytes of an element and lanes. Means of 480 random problems.
const shares = {
  'row-group': {
    single: { 1: 0.85, 8: 0.8, 32: 0.75 },
    pairs: { 4: { 1: 0.92, 4: 0.92, 8: 0.93, 16: 0.89, 32: 0.82 }, 2: { 1: 0.97, 4: 1.18, 16: 1.18 } },
    four: { 4: { 1: 0.91, 4: 0.87, 8: 0.97, 32: 0.89 }, 2: { 1: 1, 4: 1.02, 8: 1.18, 32: 1.03 } },
  },
  'row-bins': {
    single: { 1: 1.1, 8: 0.89, 32: 0.73 },
    pairs: { 4: { 1: 1, 4: 1.19, 8: 1.2, 16: 1.17, 32: 1.14 }, 2: { 1: 1.12, 4: 1.51, 16: 1.49 } },
    four: { 4: { 1: 1.27, 4: 1.1, 8: 1.23, 32: 1.13 }, 2: { 1: 1.36, 4: 1.3, 8: 1.45, 32: 1.34 } },
  },
} as const;

/** @internal By how much longer row groups and row bins take. */
export function piecesShare(
  { variant, vector, piece, lanes }: SpmmPlan,
  { width, dtype }: SpmmFeatures,
): number {
  if (piece === vector && (vector > 1 || width === 1)) return 1;
  const { single, pairs, four } = shares[variant as 'row-group' | 'row-bins'];
  if (vector === 1) return single[lanes as 1 | 8 | 32];
  if (piece === 1) return four[dtypeInfo[dtype].bytes as 2 | 4][lanes as 1 | 4 | 8 | 32];
  return dtype === 'float32' ? pairs[4][lanes as 1 | 4 | 8 | 16 | 32] : pairs[2][lanes as 1 | 4 | 16];
}

/** @internal By how much more the L2 cache sends of rows that begin anywhere in a sector: one more for each tile of columns. */
export function sectorsShare({ vector, piece, lanes }: SpmmPlan, { width, dtype }: SpmmFeatures): number {
  if (piece === vector) return 1;
  return 1 + sectorBytes / (Math.min(width, lanes * vector) * dtypeInfo[dtype].bytes);
}

// Lines of the first cache that a multiprocessor reads in a microsecond, and where little of each is asked for.
const lineRate = 2000;
const shortLoadRate = 3500;
const shortLoadBytes = 16;

/** @internal Microseconds to read rows of B: a line, or where it begins anywhere in a line some more, for each load of several lanes. */
export function piecesTime(
  { vector, piece, lanes }: SpmmPlan,
  { dtype, stored }: SpmmFeatures,
  columnTiles: number,
  multiprocessors: number,
): number {
  if (piece === vector || lanes === 1) return 0;
  const { bytes } = dtypeInfo[dtype];
  const lines = 1 + ((lanes * piece - 1) * bytes) / lineBytes;
  const rate = lanes * piece * bytes <= shortLoadBytes ? shortLoadRate : lineRate;
  return (stored * columnTiles * (vector / piece) * lines) / (rate * multiprocessors);
}
