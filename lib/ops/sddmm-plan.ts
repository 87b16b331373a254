// Which kernel of sddmm runs, with which parameters: a pure function of the problem and the device. Times are expected
// microseconds on an H200, replayed from a graph; the constants below were fitted to a sweep over every plan there.

import type { SddmmPlan, SddmmVariant } from '../backends/calls/sddmm.js';
import { type TileRows, tileShapes } from '../formats/tile-shapes.js';
import { bestOf, type Choice, choose, type Found } from '../planning/choice.js';
import type { PlanDevice } from '../planning/plan-device.js';
import { dtypeInfo, type FloatDType } from '../tensor/dtype.js';
import { describePadding, type Padded, paddedColumns, paddingTime, withPadding } from './padding.js';

/** What the choice depends on. */
export interface SddmmFeatures {
  readonly dtype: FloatDType;
  readonly format: 'csr' | 'block-sparse';
  readonly rows: number;
  readonly columns: number;
  /** Stored entries. */
  readonly stored: number;
  readonly longestRow: number;
  /** Tiles that store anything, of each of `tileShapes`; and whether their map is there or can be made now. */
  readonly tiles: readonly number[];
  readonly mapped: readonly boolean[];
  /** Columns of A and B, which the products sum over. */
  readonly depth: number;
  readonly batch: number;
  /** Rows of A and B begin at multiples of 16 bytes; of 128, or of a power of two that is as long as a row. */
  readonly vectors: boolean;
  readonly lines: boolean;
}

type SddmmFound = Found<SddmmPlan>;

const none: SddmmPlan = { variant: 'segments', vector: 1, lanes: 8, splits: 1, tile: 0, padded: false };

/**
 * The plan that is expected to be fastest, or the best of a `forced` variant.
 * @throws WarptileError ERR_UNSUPPORTED where the forced variant is impossible.
 */
export function selectSddmm(
  features: SddmmFeatures,
  card: PlanDevice,
  forced?: SddmmVariant,
): Choice<SddmmPlan> {
  const found = withPadding(features, paddedSddmm(features), (problem) => sddmmVariantsFor(problem, card));
  return choose(found, describeSddmmPlan, forced);
}

/** Microseconds besides: the first rows of A and B are waited for twice. */
const copyWait = 0.5;

/** @internal The problem on copies of A and B, and the microseconds of making them; none where rows begin where lines do. */
export function paddedSddmm(features: SddmmFeatures): Padded<SddmmFeatures> | undefined {
  const { dtype, rows, columns, depth, batch, vectors, lines } = features;
  // A single column would become four or eight.
  if ((vectors && lines) || depth <= 1) return undefined;
  const copied = paddedColumns(depth, dtype);
  const us = copyWait + paddingTime((rows + columns) * copied * batch, dtype, 1);
  return us === Number.POSITIVE_INFINITY
    ? undefined
    : { features: { ...features, depth: copied, vectors: true, lines: true }, us };
}

/** @internal The best plan of each variant for operands as they are. */
export function sddmmVariantsFor(features: SddmmFeatures, card: PlanDevice): SddmmFound[] {
  const { multiprocessors } = card;
  return [
    segments(features),
    ...gathers(features, multiprocessors),
    bestOf('tiles', tilesProblem(features, 'tiles'), tilePlans(features, 'tiles', card), (plan) =>
      tilesTime(features, multiprocessors, plan),
    ),
    bestOf('staged', tilesProblem(features, 'staged'), tilePlans(features, 'staged', card), (plan) =>
      tilesTime(features, multiprocessors, plan),
    ),
  ];
}

/** 'vector 8, lanes 8, splits 4' or 'vector 8, 64x64, padded' */
export function describeSddmmPlan(plan: SddmmPlan): string {
  return describePadding(describeParameters(plan), plan);
}

function describeParameters({ variant, vector, lanes, splits, tile }: SddmmPlan): string {
  if (variant === 'rows') return `vector ${vector}, lanes ${lanes}, splits ${splits}`;
  if (variant === 'gather') return `vector ${vector}, lanes ${lanes}`;
  if (tile > 0) return `vector ${vector}, ${tile}x${tileShapes.find(({ rows }) => rows === tile)?.columns}`;
  return '';
}

/** The H200's, which the times below were fitted on. */
const fittedMultiprocessors = 132;

const vectorOf = ({ dtype, vectors }: SddmmFeatures): number => (vectors ? 16 / dtypeInfo[dtype].bytes : 1);

/** Elements that a warp takes at once: matches GatherShape of cuda/kernels/sddmm/gather.cuh. */
const segmentOf = (lanes: number): number => (lanes <= 8 ? 32 : 256 / lanes);

function segments({ format, stored, depth, batch, dtype }: SddmmFeatures): SddmmFound {
  const work = stored * batch * (0.05 + 0.25e-3 * depth * dtypeInfo[dtype].bytes);
  // Blocks have this variant alone.
  const us = format === 'csr' ? 9 + work / 1000 : 0;
  return { variant: 'segments', plan: none, us };
}

/** Warps of a multiprocessor that hide each other's waits. */
const enoughWarps = 16;

type ByLanes = { readonly [lanes: number]: number };

/** Warps that a multiprocessor holds at once, with which the times were fitted; the registers of the kernels of cuda/kernels/sddmm/gather.cuh decide. */
const residentWarps: { readonly [variant in 'rows' | 'rowsScalar' | 'gather']: ByLanes } = {
  rows: { 1: 48, 2: 32, 4: 36, 8: 16, 16: 24, 32: 16 },
  rowsScalar: { 1: 64, 8: 28, 32: 32 },
  gather: { 1: 48, 2: 40, 4: 32, 8: 20, 16: 20, 32: 20 },
};

/** Gathered rows are walked with 32 bits. */
const longestGathered = 2 ** 31 - 1;

function gatherProblem({ format, depth, dtype }: SddmmFeatures): string | undefined {
  if (format !== 'csr') return 'needs a CSR mask';
  if (depth * dtypeInfo[dtype].bytes > longestGathered) return 'needs rows of A and B below 2 GiB';
  return undefined;
}

/** One of `rows` and of `gather`: the best of each. */
function gathers(features: SddmmFeatures, multiprocessors: number): SddmmFound[] {
  const problem = gatherProblem(features);
  const plans = [...gatherPlans(features)].filter(
    (plan) => splitsPay(plan, features, multiprocessors) && !losesLines(plan, features),
  );
  const time = (plan: SddmmPlan): number => gatherTime(features, multiprocessors, plan);
  return (['rows', 'gather'] as const).map((variant) =>
    bestOf(
      variant,
      problem,
      plans.filter((plan) => plan.variant === variant),
      time,
    ),
  );
}

/**
 * Whether half as many warps would leave multiprocessors idle. Warps that sweep neighbouring rows together share rows of B, and those of one
 * wave start together; where rows are of about the same length, nothing is gained by a second one.
 */
function splitsPay(
  { splits, lanes, vector }: SddmmPlan,
  features: SddmmFeatures,
  multiprocessors: number,
): boolean {
  const { rows, batch, stored, longestRow } = features;
  if (splits === 1) return true;
  const resident = (vector === 1 ? residentWarps.rowsScalar : residentWarps.rows)[lanes];
  const skewed = longestRow * rows > 3 * stored;
  const enough = skewed ? enoughWarps : Math.min(enoughWarps, 0.8 * resident);
  return (rows * batch * splits) / 2 < enough * multiprocessors;
}

/**
 * Whether lanes read less than a line of each row of B at a step: over a long sweep L1 loses the rest before they come to it. Four lanes
 * read half a line, eight lanes of single elements a quarter or less, and a lane alone an element.
 */
function losesLines({ variant, vector, lanes, splits }: SddmmPlan, { dtype, depth }: SddmmFeatures): boolean {
  if (vector === 1) return lanes === 8 ? depth > 160 : lanes === 1 && variant === 'gather' && depth > 8;
  if (lanes !== 4) return false;
  return variant === 'rows'
    ? splits === 1 && dtype === 'float32' && depth >= 128
    : depth * dtypeInfo[dtype].bytes >= 1024;
}

/** @internal Every plan by rows or elements that has a kernel and lanes for the depth. */
export function* gatherPlans(features: SddmmFeatures): Iterable<SddmmPlan> {
  const vector = vectorOf(features);
  const chunks = Math.ceil(features.depth / vector);
  const most = vector === 1 ? 16 : 4;
  const widths = vector === 1 ? [1, 8, 32] : [1, 2, 4, 8, 16, 32];
  for (const lanes of widths) {
    // One or two lanes read rows of B line by line; lanes without a chunk of the depth are idle.
    if (lanes <= 2 ? chunks > most * lanes : lanes >= 2 * chunks && lanes > widths[1]) continue;
    yield { ...none, variant: 'gather', vector, lanes };
    for (const splits of [1, 2, 4, 8]) {
      if (splits > 1 && features.longestRow <= (splits / 2) * segmentOf(lanes)) continue;
      yield { ...none, variant: 'rows', vector, lanes, splits };
    }
  }
}

const dot = (weights: readonly number[], terms: readonly number[]): number =>
  weights.reduce((sum, weight, i) => sum + weight * terms[i], 0);
/** Operands up to here stay in L2. */
const residentBytes = 20e6;

/** @internal Of a line of the caches. */
export const lineBytes = 128;

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

/** @internal */
export function gatherTime(features: SddmmFeatures, multiprocessors: number, plan: SddmmPlan): number {
  const us = timeOnLines(features, multiprocessors, plan);
  return Math.max(0, us - launchTime) * acrossLines(features, plan) + Math.min(us, launchTime);
}

/** As `gatherTime`, for rows that begin where lines do. */
function timeOnLines(features: SddmmFeatures, multiprocessors: number, plan: SddmmPlan): number {
  const { dtype, rows, columns, stored, longestRow, depth, batch, tiles } = features;
  const { variant, vector, lanes, splits } = plan;
  const bytes = dtypeInfo[dtype].bytes;
  const fitted = costs[dtype === 'float32' ? 'float32' : 'half'];
  const steps = Math.ceil(depth / (lanes * vector));
  const scale = (batch * fittedMultiprocessors) / multiprocessors;
  const gathered = ((stored * depth * bytes) / 1e6) * scale;
  // At most one row of B a tile's column, and so a bound of what neighbouring rows do not share.
  const unshared = ((Math.min(stored, tiles[0] * 64) * depth * bytes) / 1e6) * scale;
  const resident = columns * depth * bytes < residentBytes;
  const segment = segmentOf(lanes);
  const wavesOf = (warps: number, resident: ByLanes): number =>
    Math.max(1, Math.ceil((warps * batch) / (multiprocessors * resident[lanes])));
  if (variant === 'gather') {
    const warps = stored / segment;
    const weights =
      depth <= 1 ? fitted.gatherColumn : (vector === 1 ? fitted.gatherScalar : fitted.gather)[lanes];
    return dot(weights, [
      1,
      Math.log2(Math.max(1, rows)) / 10,
      steps,
      (warps / 1000) * scale,
      gathered,
      resident ? 0 : unshared,
      wavesOf(warps, residentWarps.gather) - 1,
    ]);
  }
  const longest = Math.ceil(longestRow / (segment * splits));
  const warps = rows * splits;
  const mean = stored / Math.max(1, warps * segment);
  const parts = (warps / 1000) * scale * Math.max(1, mean + 0.5);
  const waves = wavesOf(warps, vector === 1 ? residentWarps.rowsScalar : residentWarps.rows);
  const weights = depth <= 1 ? fitted.rowsColumn : (vector === 1 ? fitted.rowsScalar : fitted.rows)[lanes];
  return dot(weights, [
    1,
    longest,
    longest * steps,
    (warps / 1000) * scale,
    parts,
    parts * steps,
    gathered,
    resident ? unshared : 0,
    resident ? 0 : unshared,
    waves - 1,
    waves * Math.ceil(mean),
  ]);
}

/** A map of tiles is worth its memory from one element in so many on. */
const sparsestTile = 1024;

function tilesProblem(features: SddmmFeatures, variant: 'tiles' | 'staged'): string | undefined {
  const { format, vectors, dtype, stored, mapped } = features;
  if (format !== 'csr') return 'needs a CSR mask';
  if (variant === 'staged' && dtype !== 'float32') return 'needs float32';
  if (variant === 'staged' && !vectors) return 'needs rows of A and B at multiples of 16 bytes';
  if (stored === 0) return 'needs a stored element';
  const worthwhile = tileShapes.map((_, i) => storesEnough(features, i));
  if (!worthwhile.includes(true)) {
    return `needs one stored element in ${sparsestTile}, in tiles that store any`;
  }
  if (!worthwhile.some((enough, i) => enough && mapped[i])) {
    return 'needs a map of the tiles, which cannot be made while recording: call sddmm once before';
  }
  return undefined;
}

/** Whether the tiles of a shape hold as much as that. */
function storesEnough({ tiles, stored }: SddmmFeatures, shape: number): boolean {
  const { rows, columns } = tileShapes[shape];
  return tiles[shape] * rows * columns <= stored * sparsestTile;
}

const tileRowsOf = (variant: 'tiles' | 'staged', dtype: FloatDType): readonly TileRows[] => {
  if (variant === 'staged') return [32, 64, 128, 256];
  return dtype === 'float32' ? [32, 64] : [32, 64, 128];
};

/** @internal Every plan of tiles that has a kernel, of a variant. */
export function* tilePlans(
  features: SddmmFeatures,
  variant: 'tiles' | 'staged',
  { clusters }: PlanDevice,
): Iterable<SddmmPlan> {
  for (const tile of tileRowsOf(variant, features.dtype)) {
    const index = tileShapes.findIndex(({ rows }) => rows === tile);
    if (!storesEnough(features, index) || !features.mapped[index]) continue;
    // 192 KiB of shared memory, which compute capability 9.0 has for sure.
    if (tile === 256 && !clusters) continue;
    yield { ...none, variant, vector: vectorOf(features), tile };
  }
}

/** Units of staged that a block sums at once: matches StagedShape of cuda/kernels/sddmm/staged_float32.cu. */
const unitsAtOnce: { readonly [rows: number]: number } = { 32: 256, 64: 512, 128: 1024, 256: 1024 };

/** @internal */
export function tilesTime(features: SddmmFeatures, multiprocessors: number, plan: SddmmPlan): number {
  const { dtype, stored, depth, batch } = features;
  const { variant, vector, tile } = plan;
  const fitted = costs[dtype === 'float32' ? 'float32' : 'half'];
  const count = features.tiles[tileShapes.findIndex(({ rows }) => rows === tile)];
  const steps = Math.max(1, Math.ceil((depth * dtypeInfo[dtype].bytes) / 128));
  // Of the multiprocessor that has most.
  const blocks = Math.ceil((count * batch) / multiprocessors);
  const elements = ((stored / count) * blocks) / 1000;
  if (variant === 'tiles') {
    const weights = vector === 1 ? fitted.tilesScalar[tile] : fitted.tiles[tile];
    const scalar = vector === 1 ? (steps - 1) * 1.5 * blocks : 0;
    return dot(weights, [1, steps, blocks - 1, (blocks - 1) * steps, elements]) + scalar;
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
 * Microseconds of each term of `gatherTime`, by lanes, and of `tilesTime`, by rows of a tile; fitted to a sweep on an H200. Numbers are loaded
 * one by one for a depth of 1 (`Column`) and for rows that are not aligned (`Scalar`: 130 random problems).
 */
interface Costs {
  readonly gather: Weights;
  readonly gatherColumn: readonly number[];
  readonly gatherScalar: Weights;
  readonly rows: Weights;
  readonly rowsColumn: readonly number[];
  readonly rowsScalar: Weights;
  readonly tiles: Weights;
  readonly tilesScalar: Weights;
  readonly staged: Weights;
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
    gatherScalar: {
      1: [0.202, 1.535, 0.016, 0.147, 0.404, 0, 0.375],
      8: [0.017, 1.463, 0.217, 0.282, 0.113, 0.143, 0.618],
      32: [0, 1.378, 0.317, 0, 0.057, 0.088, 1.502],
    },
    rows: {
      1: [1.012, 0, 0.127, 0.122, 0, 0, 0.11, 0.14, 0, 0.103, 0.042],
      2: [0.967, 0.197, 0.07, 0.115, 0, 0, 0.121, 0.051, 0, 0.362, 0.055],
      4: [1.042, 0.191, 0.1, 0.073, 0, 0.001, 0.071, 0.013, 0, 0.601, 0],
      8: [1.055, 0.257, 0.071, 0.009, 0.018, 0.027, 0.04, 0.022, 0.13, 0.974, 0.055],
      16: [0.937, 0.22, 0.152, 0.132, 0.05, 0.015, 0.049, 0.025, 0.135, 0.056, 0],
      32: [1.115, 0.189, 0.06, 0, 0, 0, 0.039, 0.038, 0.153, 0.835, 0.259],
    },
    rowsColumn: [0.914, 0.126, 0, 0.121, 0.061, 0, 0, 0.428, 0, 0.245, 0.132],
    rowsScalar: {
      1: [1.272, 0.154, 0.027, 0.066, 0.051, 0, 0, 0.488, 0, 0.943, 0],
      8: [1.15, 0.247, 0.098, 0.015, 0.2, 0, 0.102, 0.018, 0, 0.031, 0],
      32: [1.061, 0.24, 0.096, 0, 0.164, 0, 0.055, 0, 0.109, 0.082, 0.121],
    },
    tiles: {
      32: [1.697, 0.59, 0.593, 0.498, 0.395],
      64: [1.541, 1.147, 0.119, 0.785, 0.366],
    },
    tilesScalar: {
      32: [2.182, 0, 1.951, 0, 0.296],
      64: [3.406, 0.153, 1.35, 0.036, 0.321],
    },
    staged: {
      32: [1.994, 0.626, 0.145, 0.148, 0.565, 0.649],
      64: [1.843, 0.265, 0.578, 0.145, 0.598, 0.538],
      128: [1.912, 0.444, 0.654, 0.158, 0.633, 0.488],
      256: [1.673, 0.521, 3.756, 0.603, 0.635, 0.671],
    },
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
    gatherScalar: {
      1: [0.349, 1.364, 0.047, 0.131, 0.396, 0, 1.169],
      8: [0.322, 1.153, 0.233, 0.227, 0.226, 0.106, 0.828],
      32: [0.5, 0.769, 0.206, 0.508, 0.176, 0.076, 0],
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
    rowsScalar: {
      1: [1.089, 0.144, 0.028, 0.086, 0.056, 0, 0.09, 0.917, 0, 0.719, 0],
      8: [1.104, 0.255, 0.092, 0.007, 0.196, 0.012, 0.157, 0.111, 0.603, 0.027, 0.046],
      32: [1.194, 0.28, 0.085, 0.035, 0.18, 0, 0.12, 0.035, 0.08, 0.056, 0.045],
    },
    tiles: {
      32: [1.605, 0.261, 0.12, 0.234, 0.322],
      64: [1.571, 0.346, 0.323, 0.288, 0.347],
      128: [1.708, 0.759, 0.542, 0.651, 0.318],
    },
    tilesScalar: {
      32: [2.39, 0, 0.888, 0, 0.275],
      64: [2.585, 0, 1.202, 0, 0.317],
      128: [3.315, 0.594, 2.75, 0.684, 0.593],
    },
    staged: {},
  },
};
