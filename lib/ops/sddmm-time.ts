// How long the kernels of sddmm take: microseconds on an H200, replayed from a graph, for lib/ops/sddmm-plan.ts.

import type { SddmmPlan } from '../backends/calls/sddmm.js';
import { tileShapes } from '../formats/tile-shapes.js';
import { dtypeInfo } from '../tensor/dtype.js';
import { lineBytes, sectorBytes } from './cache-lines.js';
import type { SddmmFeatures } from './sddmm-plan.js';

/** The H200's, which the times below were fitted on. */
const fittedMultiprocessors = 132;

/** @internal Elements that a warp takes at once: matches GatherShape of cuda/kernels/sddmm/gather.cuh. */
export const segmentOf = (lanes: number): number => (lanes <= 8 ? 32 : 256 / lanes);

type ByLanes = { readonly [lanes: number]: number };

// Warps that a multiprocessor holds at once, with which the times were fitted; the registers of the kernels of
// cuda/kernels/sddmm/gather.cuh decide.
const residentWarps = {
  rows: { 1: 48, 2: 32, 4: 36, 8: 16, 16: 24, 32: 16 },
  rowsPairs: { 4: 40, 8: 20, 16: 32, 32: 20 },
  rowsScalar: { 1: 64, 8: 28, 32: 32 },
  gather: { 1: 48, 2: 40, 4: 32, 8: 20, 16: 20, 32: 20 },
} as const;

/** @internal By lanes. */
export function residentWarpsOf(variant: SddmmPlan['variant'], vector: number): ByLanes {
  if (variant === 'gather') return residentWarps.gather;
  if (vector === 1) return residentWarps.rowsScalar;
  return vector === 2 ? residentWarps.rowsPairs : residentWarps.rows;
}

const dot = (weights: readonly number[], terms: readonly number[]): number =>
  weights.reduce((sum, weight, i) => sum + weight * terms[i], 0);

// Warps that sweep long rows lose step with each other, and where few of their columns are the same gather from L2: from so many segments of a
// row on, below such a share of tiles that is stored, megabytes a microsecond. And those that take elements whatever their rows.
const longSweep = 8;
const sharedDensity = 0.5;
const apartRate = 9.5;
const elementsDensity = 0.25;
const elementsRate = 8.6;

/** Operands up to here stay in L2. */
const residentBytes = 20e6;

/** @internal Rows of so many bytes begin at all multiples of this, as lines see it: the largest power of two that divides them. */
export function rowStep(rowBytes: number): number {
  const rest = rowBytes % lineBytes;
  return rest === 0 ? lineBytes : rest & -rest;
}

/** Of the time of a plan: what reading twice as many lines adds to it. */
const lineShare = 0.55;
/** Microseconds of a launch, which are no matter of lines. */
const launchTime = 1;

/**
 * By how much `rows` takes longer where rows of B begin anywhere in a line: what up to eight lanes read at once, a line at most, lies in more of
 * them. Fitted to 50 random problems; more lanes and `gather` took no longer.
 */
function acrossLines({ dtype, depth, lines }: SddmmFeatures, { variant, vector, lanes }: SddmmPlan): number {
  // Single elements were fitted as they lie.
  if (lines || depth === 0 || variant !== 'rows' || vector === 1 || lanes > 8) return 1;
  const rowBytes = depth * dtypeInfo[dtype].bytes;
  const atOnce = Math.min(16 * lanes, rowBytes);
  const step = rowStep(rowBytes);
  let touched = 0;
  for (let start = 0; start < lineBytes; start += step) touched += Math.ceil((start + atOnce) / lineBytes);
  return 1 + lineShare * ((touched * step) / lineBytes - 1);
}

// Of `gather` where most rows are empty: a warp's elements lie in more than 32 rows, and each lane searches for its own. Microseconds a step,
// and the rows an element from which on some warps do, and all.
const ownSearch = { step: 0.1, some: 0.8, all: 1.2 };

function ownSearchTime({ rows, stored }: SddmmFeatures): number {
  if (rows <= ownSearch.some * stored) return 0;
  const share = (rows / stored - ownSearch.some) / (ownSearch.all - ownSearch.some);
  return Math.min(1, share) * ownSearch.step * Math.log2(rows);
}

/**
 * Of the times of vectors and tiles where the depth is no power of two, as all were that they had been fitted to: by lanes, and by rows of a
 * tile. From the likely plans of 491 random problems and the chosen ones of 1,742 others (2026-11-22): chosen over fastest 1.045 to 1.034.
 */
const corrections: { readonly [type in 'float32' | 'half']: { readonly [variant: string]: ByLanes } } = {
  float32: {
    gather: { 1: 0.88, 2: 1.13, 4: 1.04, 8: 0.9, 16: 1.06, 32: 1.14 },
    rows: { 1: 1.14, 2: 0.82, 4: 1.26, 8: 1.25, 16: 1.03, 32: 0.9 },
    tiles: { 32: 0.97, 64: 1.05 },
    staged: { 32: 1.12, 64: 1.22, 128: 1.08, 256: 1.4 },
  },
  half: {
    gather: { 1: 1.16, 2: 0.92, 4: 1.16, 8: 1.21, 16: 1.03, 32: 0.99 },
    rows: { 1: 1.04, 2: 1.05, 4: 0.97, 8: 1.11, 16: 1.1, 32: 1.08 },
    tiles: { 32: 1, 64: 1.17, 128: 1.19 },
    warpgroups: { 128: 1.1 },
  },
};

function correction({ dtype, depth }: SddmmFeatures, { variant, vector, lanes, tile }: SddmmPlan): number {
  // Single elements and pairs were fitted to random depths.
  if (vector <= 2 || (depth & (depth - 1)) === 0) return 1;
  const byLanes = corrections[dtype === 'float32' ? 'float32' : 'half'][variant];
  return byLanes[tile > 0 ? tile : lanes];
}

/** @internal Of a plan by rows, elements or tiles. */
export function sddmmTime(features: SddmmFeatures, multiprocessors: number, plan: SddmmPlan): number {
  const time = plan.tile > 0 ? tilesTime : gatherTime;
  return time(features, multiprocessors, plan) * correction(features, plan);
}

function gatherTime(features: SddmmFeatures, multiprocessors: number, plan: SddmmPlan): number {
  const terms = gatherTerms(features, multiprocessors, plan);
  const time = plan.vector <= 2 && features.depth > 1 ? narrowTime : timeOnLines;
  const search = plan.variant === 'gather' ? ownSearchTime(features) : 0;
  const us = time(features, multiprocessors, plan, terms) + search;
  return Math.max(0, us - launchTime) * acrossLines(features, plan) + Math.min(us, launchTime);
}

/** What kernels by rows or elements are timed by. */
interface GatherTerms {
  /** Steps of the lanes along the depth. */
  readonly steps: number;
  /** Problems, of as many multiprocessors as the times were fitted on. */
  readonly scale: number;
  /** Of them, megabytes of B: in all, and what neighbouring rows do not share, at most. */
  readonly gathered: number;
  readonly unshared: number;
  readonly warps: number;
  /** Of all problems, thousands of them, and of segments that they take, of which one begins anywhere. */
  readonly launched: number;
  readonly parts: number;
  /** Segments of a warp, and of that of the longest row. */
  readonly mean: number;
  readonly longest: number;
}

function gatherTerms(
  { dtype, rows, stored, longestRow, depth, batch, tiles }: SddmmFeatures,
  multiprocessors: number,
  { variant, vector, lanes, splits }: SddmmPlan,
): GatherTerms {
  const steps = Math.ceil(depth / (lanes * vector));
  // Lanes past the depth take as long as the others.
  const rowBytes = steps * lanes * vector * dtypeInfo[dtype].bytes;
  const scale = (batch * fittedMultiprocessors) / multiprocessors;
  const segment = segmentOf(lanes);
  const warps = variant === 'gather' ? stored / segment : rows * splits;
  const launched = (warps / 1000) * scale;
  const mean = stored / Math.max(1, warps * segment);
  return {
    steps,
    scale,
    gathered: ((stored * rowBytes) / 1e6) * scale,
    // At most one row of B a tile's column.
    unshared: ((Math.min(stored, tiles[0] * 64) * rowBytes) / 1e6) * scale,
    warps,
    launched,
    parts: launched * Math.max(1, mean + 0.5),
    mean,
    longest: Math.ceil(longestRow / (segment * splits)),
  };
}

/** Of a warp that looks for its row. */
const searchTerm = (rows: number): number => Math.log2(Math.max(1, rows)) / 10;

// Of sectors of 32 bytes: operands whose rows are near; beyond `residentBytes` most are far.
const nearBytes = 2e6;

/** Kernels that load single elements or pairs, of a depth of two and more. */
function narrowTime(
  { dtype, rows, columns, stored, depth, batch }: SddmmFeatures,
  multiprocessors: number,
  { variant, vector, lanes }: SddmmPlan,
  { steps, scale, gathered, unshared, warps, launched, parts, longest }: GatherTerms,
): number {
  const { bytes } = dtypeInfo[dtype];
  const fitted = costs[dtype === 'float32' ? 'float32' : 'half'];
  const rowBytes = depth * bytes;
  // What lanes read at a step lies across one sector more where rows are no multiples of them.
  const atOnce =
    Math.max(1, Math.min(lanes * vector * bytes, rowBytes) / sectorBytes) +
    (rowBytes % sectorBytes === 0 ? 0 : 1);
  const sectors = ((stored * steps * atOnce * sectorBytes) / 1e6) * scale;
  const far = Math.log((columns * rowBytes) / nearBytes) / Math.log(residentBytes / nearBytes);
  const share = Math.max(0, Math.min(1, far));
  const memory = [gathered, unshared * share, unshared, sectors * share, sectors];
  const resident = residentWarpsOf(variant, vector)[lanes];
  const waves = Math.max(0, (warps * batch) / (multiprocessors * resident) - 1);
  if (variant === 'gather') {
    const weights = vector === 1 ? fitted.gatherScalar : fitted.gatherPairs;
    return dot(weights[lanes], [1, searchTerm(rows), steps, launched, ...memory, waves]);
  }
  const chain = [1, longest, longest * steps, launched, parts, parts * steps];
  const weights = vector === 1 ? fitted.rowsScalar : fitted.rowsPairs;
  return dot(weights[lanes], [...chain, ...memory, waves]);
}

/** Kernels that load vectors, for rows that begin where lines do; and those of a depth of one. */
function timeOnLines(
  { dtype, rows, columns, stored, depth, batch, tiles }: SddmmFeatures,
  multiprocessors: number,
  { variant, vector, lanes }: SddmmPlan,
  { steps, gathered, unshared, warps, launched, parts, mean, longest }: GatherTerms,
): number {
  const fitted = costs[dtype === 'float32' ? 'float32' : 'half'];
  const density = stored / (tiles[0] * tileShapes[0].rows * tileShapes[0].columns);
  const near = columns * depth * dtypeInfo[dtype].bytes < residentBytes;
  const resident = residentWarpsOf(variant, vector)[lanes];
  const waves = Math.max(1, Math.ceil((warps * batch) / (multiprocessors * resident)));
  if (variant === 'gather') {
    const weights = depth <= 1 ? fitted.gatherColumn : fitted.gather[lanes];
    const distant = near ? 0 : unshared;
    const us = dot(weights, [1, searchTerm(rows), steps, launched, gathered, distant, waves - 1]);
    return density < elementsDensity ? Math.max(us, gathered / elementsRate) : us;
  }
  const weights = depth <= 1 ? fitted.rowsColumn : fitted.rows[lanes];
  const us = dot(weights, [
    1,
    longest,
    longest * steps,
    launched,
    parts,
    parts * steps,
    gathered,
    near ? unshared : 0,
    near ? 0 : unshared,
    waves - 1,
    waves * Math.ceil(mean),
  ]);
  return mean >= longSweep && density < sharedDensity ? Math.max(us, gathered / apartRate) : us;
}

/** Units of staged that a block sums at once: matches StagedShape of cuda/kernels/sddmm/staged_float32.cu. */
const unitsAtOnce: { readonly [rows: number]: number } = { 32: 256, 64: 512, 128: 1024, 256: 1024 };

// The copy engine takes longer for rows of a single vector: 22 us for 33288x512 with 8 columns, 12 with 32.
const shortRowBytes = 16;
const shortRowShare = 1.3;

function tilesTime(features: SddmmFeatures, multiprocessors: number, plan: SddmmPlan): number {
  const { dtype, stored, depth, batch } = features;
  const { variant, vector, tile } = plan;
  const fitted = costs[dtype === 'float32' ? 'float32' : 'half'];
  const count = features.tiles[tileShapes.findIndex(({ rows }) => rows === tile)];
  const steps = Math.max(1, Math.ceil((depth * dtypeInfo[dtype].bytes) / 128));
  // Of the multiprocessor that has most.
  const blocks = Math.ceil((count * batch) / multiprocessors);
  const elements = ((stored / count) * blocks) / 1000;
  if (variant === 'warpgroups') {
    // Two blocks take tiles in turn.
    const us = dot(fitted.warpgroups[tile], [1, steps, blocks - 1, (blocks - 1) * steps, elements]);
    return depth * dtypeInfo[dtype].bytes <= shortRowBytes ? us * shortRowShare : us;
  }
  if (variant === 'tiles') {
    const weights = vector === 1 ? fitted.tilesScalar[tile] : fitted.tiles[tile];
    return dot(weights, [1, steps, blocks - 1, (blocks - 1) * steps, elements]);
  }
  const mean = stored / (count * tile);
  const units = tile * (mean / 4 + 0.375 * (1 - Math.exp(-mean)));
  const passes = Math.max(1, Math.ceil((units * 1.1) / unitsAtOnce[tile]));
  return dot(fitted.staged[tile], [
    1,
    steps * passes,
    blocks - 1,
    (blocks - 1) * steps * passes,
    ((units * blocks) / 256) * steps,
    elements,
  ]);
}

type Weights = { readonly [key: number]: readonly number[] };

/**
 * Microseconds of each term of `gatherTime`, by lanes, and of `tilesTime`, by rows of a tile; fitted to a sweep on an H200, in which the choice
 * takes 2 % longer than the best plan. Numbers are loaded one by one for a depth of 1 (`Column`) and for rows that are not aligned
 * (`Scalar`: 380 random problems; off by 10 to 18 %, root mean square, tiles by 4 to 9), or two by two (`Pairs`: 110 in
 * float32, off by 9 to 21 %; 94 in half types, by 10 to 20 %).
 */
interface Costs {
  readonly gather: Weights;
  readonly gatherColumn: readonly number[];
  readonly gatherPairs: Weights;
  readonly gatherScalar: Weights;
  readonly rows: Weights;
  readonly rowsColumn: readonly number[];
  readonly rowsPairs: Weights;
  readonly rowsScalar: Weights;
  readonly tiles: Weights;
  readonly tilesScalar: Weights;
  readonly staged: Weights;
  readonly warpgroups: Weights;
}

const costs: { readonly [type in 'float32' | 'half']: Costs } = {
  float32: {
    gather: {
      1: [0, 1.154, 0.332, 0, 0.27, 0, 0.48],
      2: [1.036, 0.757, 0, 0.134, 0.121, 0, 1.134],
      4: [0.65, 0.86, 0.107, 0.134, 0.083, 0.128, 1.409],
      8: [0.445, 1.22, 0.179, 0.017, 0.067, 0.099, 1.887],
      16: [0, 1.261, 0.232, 0.297, 0.068, 0.104, 0.519],
      32: [0, 1.861, 0.061, 0.511, 0.078, 0.106, 0],
    },
    gatherColumn: [0.711, 1.09, 0, 0.229, 0, 0, 1.065],
    gatherPairs: {
      4: [0.592, 0.751, 0.175, 0.273, 0.076, 0.082, 0.059, 0.02, 0.0, 0.647],
      8: [0.496, 0.933, 0.222, 0.398, 0.057, 0.032, 0.049, 0.022, 0.0, 0.735],
      16: [0.445, 1.049, 0.178, 0.33, 0.045, 0.027, 0.027, 0.027, 0.0, 0.992],
      32: [0.941, 0.427, 0.144, 0.359, 0.018, 0.004, 0.046, 0.034, 0.017, 0.805],
    },
    gatherScalar: {
      1: [1.259, 0.52, 0, 0.215, 0, 0, 0.604, 0, 0.008, 0.585],
      8: [0.551, 0.915, 0.185, 0.368, 0.069, 0.031, 0.046, 0.035, 0.008, 0.435],
      32: [0.577, 0.88, 0.196, 0.219, 0.054, 0.044, 0.019, 0.022, 0, 0.786],
    },
    rows: {
      1: [1.012, 0, 0.127, 0.122, 0, 0, 0.11, 0.14, 0, 0.103, 0.042],
      2: [0.967, 0.197, 0.07, 0.115, 0, 0, 0.121, 0.051, 0, 0.362, 0.055],
      4: [1.042, 0.191, 0.1, 0.073, 0, 0.001, 0.071, 0.013, 0, 0.601, 0],
      8: [1.055, 0.257, 0.071, 0.009, 0.018, 0.027, 0.04, 0.022, 0.13, 0.974, 0.055],
      16: [0.937, 0.22, 0.152, 0.132, 0.05, 0.015, 0.049, 0.025, 0.135, 0.056, 0],
      32: [1.282, 0.217, 0.069, 0, 0, 0, 0.045, 0.044, 0.176, 0.96, 0.298],
    },
    rowsColumn: [0.914, 0.126, 0, 0.121, 0.061, 0, 0, 0.428, 0, 0.245, 0.132],
    rowsPairs: {
      4: [0.932, 0.137, 0.131, 0.007, 0.124, 0, 0.06, 0, 0.043, 0.024, 0, 0.382],
      8: [1.093, 0.207, 0.109, 0.063, 0.221, 0.0, 0.008, 0.0, 0.08, 0.014, 0.035, 0.0],
      16: [1.034, 0.227, 0.167, 0.066, 0.178, 0.0, 0.045, 0.036, 0.024, 0.01, 0.0, 0.0],
      32: [1.156, 0.242, 0.109, 0.016, 0.195, 0.0, 0.046, 0.032, 0.029, 0.001, 0.0, 0.476],
    },
    rowsScalar: {
      1: [1.183, 0.127, 0.028, 0.081, 0.015, 0, 0, 0.05, 0.398, 0, 0.008, 0.825],
      8: [1.114, 0.258, 0.095, 0.064, 0.156, 0, 0, 0, 0.074, 0.025, 0.041, 0],
      32: [1.066, 0.266, 0.089, 0, 0.22, 0, 0.023, 0, 0.023, 0.009, 0.018, 0.012],
    },
    tiles: {
      32: [1.697, 0.59, 0.593, 0.498, 0.395],
      64: [1.541, 1.147, 0.119, 0.785, 0.366],
    },
    tilesScalar: {
      32: [1.606, 0.82, 1.168, 0.794, 0.431],
      64: [1.833, 1.659, 0.366, 1.026, 0.353],
    },
    staged: {
      32: [1.994, 0.626, 0.145, 0.148, 0.565, 0.649],
      64: [1.843, 0.265, 0.578, 0.145, 0.598, 0.538],
      128: [1.912, 0.444, 0.654, 0.158, 0.633, 0.488],
      256: [1.673, 0.521, 3.756, 0.603, 0.635, 0.671],
    },
    warpgroups: {},
  },
  half: {
    gather: {
      1: [0.929, 0.843, 0.005, 0.179, 0.163, 0, 0.599],
      2: [1.035, 0.779, 0, 0.223, 0.081, 0, 1.49],
      4: [0.414, 1.052, 0.189, 0.318, 0.076, 0.086, 0.793],
      8: [0.648, 0.442, 0.331, 0.187, 0.086, 0.094, 0.971],
      16: [0, 1.066, 0.406, 0.453, 0.072, 0.095, 0.549],
      32: [0, 2.117, 0, 0, 0.142, 0.094, 0],
    },
    gatherColumn: [0.453, 1.318, 0, 0.24, 0, 0, 0.887],
    gatherPairs: {
      4: [0.87, 0.515, 0.149, 0.315, 0.098, 0, 0.106, 0.023, 0.001, 0.677],
      8: [0.935, 0.392, 0.199, 0.43, 0.076, 0.064, 0.059, 0.037, 0.007, 0.861],
      16: [0.758, 0.569, 0.215, 0.373, 0.069, 0.1, 0.02, 0.027, 0.005, 1.071],
      32: [0.891, 0.354, 0.241, 0.294, 0.082, 0.131, 0.022, 0, 0.011, 1.097],
    },
    gatherScalar: {
      1: [1.15, 0.592, 0, 0.217, 0.001, 0, 0.592, 0, 0.01, 0.66],
      8: [0.905, 0.528, 0.205, 0.355, 0.145, 0, 0.162, 0.023, 0, 0.463],
      32: [0.247, 1.229, 0.216, 0.249, 0.012, 0.037, 0.076, 0.015, 0.067, 0.715],
    },
    rows: {
      1: [0.921, 0.2, 0.052, 0.13, 0, 0, 0.149, 0.114, 0, 0.279, 0.09],
      2: [0.867, 0.271, 0.029, 0.148, 0.105, 0, 0.087, 0.107, 0, 0.015, 0.073],
      4: [1.008, 0.223, 0.124, 0.015, 0.082, 0.028, 0.055, 0.016, 0.094, 0.649, 0.007],
      8: [0.96, 0.39, 0.093, 0.109, 0.037, 0.025, 0.059, 0.019, 0.141, 0.915, 0],
      16: [0.936, 0.233, 0.176, 0.057, 0.168, 0.049, 0.049, 0.012, 0.128, 0.32, 0],
      32: [1.648, 0, 0.188, 0, 0, 0, 0.078, 0.016, 0.139, 0.904, 0.031],
    },
    rowsColumn: [0.886, 0.117, 0, 0.138, 0.065, 0, 0, 0.366, 0, 0.211, 0.134],
    rowsPairs: {
      4: [1.132, 0.156, 0.122, 0.084, 0.067, 0, 0, 0, 0.067, 0, 0.026, 0.45],
      8: [1.186, 0.26, 0.103, 0.008, 0.257, 0, 0, 0, 0.097, 0.004, 0.024, 0],
      16: [1.037, 0.253, 0.157, 0.035, 0.175, 0.002, 0, 0.105, 0.052, 0, 0.053, 0],
      32: [1.088, 0.258, 0.122, 0, 0.212, 0, 0.078, 0.103, 0, 0, 0.004, 0],
    },
    rowsScalar: {
      1: [1.056, 0.171, 0.028, 0.122, 0.029, 0, 0, 0, 0.909, 0, 0.011, 0.568],
      8: [1.191, 0.239, 0.095, 0.047, 0.187, 0, 0, 0, 0.102, 0.015, 0.051, 0],
      32: [1.224, 0.279, 0.084, 0, 0.223, 0, 0, 0.076, 0.047, 0, 0.061, 0],
    },
    tiles: {
      32: [1.605, 0.261, 0.12, 0.234, 0.322],
      64: [1.571, 0.346, 0.323, 0.288, 0.347],
      128: [1.708, 0.759, 0.542, 0.651, 0.318],
    },
    tilesScalar: {
      32: [1.397, 1.09, 0.264, 0.633, 0.287],
      64: [1.347, 1.296, 0.313, 0.922, 0.31],
      128: [1.646, 2.231, 1.25, 2.126, 0.631],
    },
    staged: {},
    warpgroups: { 128: [2.104, 0.662, 0.493, 0.401, 0.242] },
  },
};
