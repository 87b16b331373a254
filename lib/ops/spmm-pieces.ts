// How much longer lanes take that load their columns of B in pieces, or are one or two, for lib/ops/spmm-gather-plans.ts.

import type { SpmmPlan } from '../backends/calls/spmm.js';
import { dtypeInfo } from '../tensor/dtype.js';
import { lineBytes, sectorBytes } from './cache-lines.js';
import type { SpmmFeatures } from './spmm-plan.js';

// Of the time that the models of row groups and row bins say of several columns: single columns by lanes; then, by the bytes of an element
// and lanes, whole vectors of one or two lanes that hold all columns, pairs, and four single columns of a lane. Those of one or two lanes and
// of single columns were fitted to 1,577 problems, 905 of them with 2 to 8 columns (2026-11-22).
const shares = {
  'row-group': {
    single: { 1: 1.149, 4: 0.916, 8: 0.9281, 32: 0.977 },
    wholes: { 4: { 1: 1.071, 2: 1.087 }, 2: { 1: 1, 2: 1.1 } },
    pairs: {
      4: { 1: 0.9377, 4: 1.025, 8: 1.008, 16: 0.9813, 32: 0.9443 },
      2: { 1: 1.045, 4: 1.151, 16: 1.152 },
    },
    four: {
      4: { 1: 1.146, 4: 1.097, 8: 1.109, 32: 1.017 },
      2: { 1: 1.099, 4: 0.9607, 8: 1.126, 32: 1.053 },
    },
  },
  'row-bins': {
    single: { 1: 1.03, 4: 0.8488, 8: 0.8158, 32: 0.7352 },
    wholes: { 4: { 1: 1.224, 2: 1.086 }, 2: { 1: 0.966, 2: 0.9 } },
    pairs: {
      4: { 1: 1.168, 4: 1.298, 8: 1.162, 16: 1.024, 32: 1.078 },
      2: { 1: 1.128, 4: 1.403, 16: 1.187 },
    },
    four: {
      4: { 1: 1.247, 4: 1.185, 8: 1.175, 32: 1.039 },
      2: { 1: 1.259, 4: 1.067, 8: 1.344, 32: 1.115 },
    },
  },
} as const;

/** @internal By how much longer row groups and row bins take. */
export function piecesShare(
  { variant, vector, piece, lanes }: SpmmPlan,
  { width, dtype }: SpmmFeatures,
): number {
  if (vector === 1 && width === 1) return 1;
  const bytes = dtypeInfo[dtype].bytes as 2 | 4;
  const { single, wholes, pairs, four } = shares[variant as 'row-group' | 'row-bins'];
  if (vector === 1) return single[lanes as 1 | 4 | 8 | 32];
  if (piece === vector) return lanes <= 2 && width <= lanes * vector ? wholes[bytes][lanes as 1 | 2] : 1;
  if (piece === 1) return four[bytes][lanes as 1 | 4 | 8 | 32];
  return bytes === 4 ? pairs[4][lanes as 1 | 4 | 8 | 16 | 32] : pairs[2][lanes as 1 | 4 | 16];
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

/**
 * @internal Microseconds to read rows of B that lanes load in pieces: a line for each load of a group of lanes, or
 * where it begins anywhere in a line some more.
 */
export function piecesTime(
  plan: SpmmPlan,
  features: SpmmFeatures,
  columnTiles: number,
  multiprocessors: number,
): number {
  const { vector, piece, lanes } = plan;
  const { dtype, stored, width } = features;
  if (piece === vector) return 0;
  const { bytes } = dtypeInfo[dtype];
  const loads = Math.ceil((lanes === 1 ? Math.min(width, vector) : vector) / piece);
  const lines = lanes === 1 ? linesOfLane(plan, features) : 1 + ((lanes * piece - 1) * bytes) / lineBytes;
  const rate = lanes > 1 && lanes * piece * bytes <= shortLoadBytes ? shortLoadRate : lineRate;
  return (stored * columnTiles * loads * lines) / (rate * multiprocessors);
}

/** Lines for each load of a lane: of its own, but where lanes beside it load rows of B that are near. */
function linesOfLane(
  { splits }: SpmmPlan,
  { dtype, rows, columns, stored, stripSpan, width }: SpmmFeatures,
): number {
  // Lanes take four entries each; neighbouring rows share their lines or not.
  const apart =
    (4 * (stripSpan ?? columns) * rows * width * dtypeInfo[dtype].bytes) / (Math.max(1, stored) * lineBytes);
  const shared = stripSpan === undefined ? 1 / splits + apart : (1 + splits * apart) / 32;
  return Math.min(1, shared);
}
