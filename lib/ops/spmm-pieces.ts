// How much longer lanes take that load their columns of B in pieces, for lib/ops/spmm-gather-plans.ts.

import type { SpmmPlan } from '../backends/calls/spmm.js';
import { dtypeInfo } from '../tensor/dtype.js';
import { lineBytes, sectorBytes } from './cache-lines.js';
import type { SpmmFeatures } from './spmm-plan.js';

// Of the time that the models of row groups and row bins say of whole vectors: single columns by lanes; pairs, and four single columns of a
// lane, by the bytes of an element and lanes.
const shares = {
  'row-group': {
    single: { 1: 1.068, 8: 0.8644, 32: 0.8662 },
    pairs: {
      4: { 1: 1.08, 4: 1.025, 8: 1.008, 16: 0.9813, 32: 0.9443 },
      2: { 1: 0.9973, 4: 1.151, 16: 1.152 },
    },
    four: {
      4: { 1: 1.043, 4: 1.097, 8: 1.109, 32: 1.017 },
      2: { 1: 0.9495, 4: 0.9607, 8: 1.126, 32: 1.053 },
    },
  },
  'row-bins': {
    single: { 1: 1.034, 8: 0.8284, 32: 0.7158 },
    pairs: { 4: { 1: 1.188, 4: 1.298, 8: 1.162, 16: 1.024, 32: 1.078 }, 2: { 1: 1.08, 4: 1.403, 16: 1.187 } },
    four: { 4: { 1: 1.472, 4: 1.21, 8: 1.263, 32: 1.169 }, 2: { 1: 1.224, 4: 1.089, 8: 1.448, 32: 1.139 } },
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
const lineRate = 3227;
const shortLoadRate = 3271;
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
