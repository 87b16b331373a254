// Which kernel of sddmm runs, with which parameters: a pure function of the problem and the device. Times are expected
// microseconds on an H200, replayed from a graph; the constants below were fitted to a sweep over every plan there.

import type { SddmmPlan, SddmmVariant } from '../backends/calls/sddmm.js';
import { WarptileError } from '../errors.js';
import { type TileRows, tileShapes } from '../formats/tile-shapes.js';
import type { FloatDType } from '../tensor/dtype.js';
import type { PlanDevice } from './spmm-plan.js';

/** What the choice depends on. */
export interface SddmmFeatures {
  readonly dtype: FloatDType;
  readonly format: 'csr' | 'block-sparse';
  readonly rows: number;
  readonly columns: number;
  /** Stored entries. */
  readonly stored: number;
  readonly longestRow: number;
  /** Tiles that store anything, of each of `tileShapes`; undefined where they cannot be found now. */
  readonly tiles: readonly (number | undefined)[];
  /** Columns of A and B, which the products sum over. */
  readonly depth: number;
  readonly batch: number;
  /** Rows of A and B begin at multiples of 16 bytes. */
  readonly vectors: boolean;
}

/** A variant with its best parameters and their expected time, or the problem that rules it out. */
export interface SddmmCandidate {
  readonly variant: SddmmVariant;
  readonly us?: number;
  readonly parameters?: string;
  readonly problem?: string;
}

export interface SddmmChoice {
  readonly plan: SddmmPlan;
  readonly candidates: readonly SddmmCandidate[];
}

interface Found {
  readonly variant: SddmmVariant;
  readonly plan?: SddmmPlan;
  readonly us: number;
  readonly problem?: string | undefined;
}

const none: SddmmPlan = { variant: 'segments', vector: 1, lanes: 8, splits: 1, tile: 0 };

/**
 * The plan that is expected to be fastest, or the best of a `forced` variant.
 * @throws WarptileError ERR_UNSUPPORTED where the forced variant is impossible.
 */
export function selectSddmm(
  features: SddmmFeatures,
  { multiprocessors }: PlanDevice,
  forced?: SddmmVariant,
): SddmmChoice {
  const found = [
    segments(features),
    ...gathers(features, multiprocessors),
    best('tiles', tilesProblem(features, 'tiles'), tilePlans(features, 'tiles'), (plan) =>
      tilesTime(features, multiprocessors, plan),
    ),
    best('staged', tilesProblem(features, 'staged'), tilePlans(features, 'staged'), (plan) =>
      tilesTime(features, multiprocessors, plan),
    ),
  ];
  const candidates = found.map(({ variant, plan, us, problem }) =>
    plan === undefined
      ? { variant, problem: problem ?? 'no kernel' }
      : { variant, us, parameters: describeSddmmPlan(plan) },
  );
  if (forced !== undefined) {
    const { plan, problem } = found.find(({ variant }) => variant === forced) as Found;
    if (plan === undefined) throw new WarptileError('ERR_UNSUPPORTED', `variant: ${forced}: ${problem}`);
    return { plan, candidates };
  }
  let chosen = found[0];
  for (const item of found) if (item.plan !== undefined && item.us < chosen.us) chosen = item;
  return { plan: chosen.plan as SddmmPlan, candidates };
}

/** 'vector 8, lanes 8, splits 4' or 'vector 8, 64x64' */
export function describeSddmmPlan({ variant, vector, lanes, splits, tile }: SddmmPlan): string {
  if (variant === 'rows') return `vector ${vector}, lanes ${lanes}, splits ${splits}`;
  if (variant === 'gather') return `vector ${vector}, lanes ${lanes}`;
  if (tile > 0) return `vector ${vector}, ${tile}x${tileShapes.find(({ rows }) => rows === tile)?.columns}`;
  return '';
}

/** The H200's, which the times below were fitted on. */
const fittedMultiprocessors = 132;

const bytesOf = (dtype: FloatDType): number => (dtype === 'float32' ? 4 : 2);
const vectorOf = ({ dtype, vectors }: SddmmFeatures): number => (vectors ? 16 / bytesOf(dtype) : 1);

/** Elements that a warp takes at once: matches GatherShape of cuda/kernels/sddmm/gather.cuh. */
const segmentOf = (lanes: number): number => (lanes <= 8 ? 32 : 256 / lanes);

function segments({ format, stored, depth, batch, dtype }: SddmmFeatures): Found {
  const work = stored * batch * (0.05 + 0.25e-3 * depth * bytesOf(dtype));
  // Blocks have this variant alone.
  const us = format === 'csr' ? 9 + work / 1000 : 0;
  return { variant: 'segments', plan: none, us };
}

function best(
  variant: SddmmVariant,
  problem: string | undefined,
  plans: Iterable<SddmmPlan>,
  time: (plan: SddmmPlan) => number,
): Found {
  let found: Found = { variant, us: Number.POSITIVE_INFINITY, problem };
  if (problem !== undefined) return found;
  for (const plan of plans) {
    const us = time(plan);
    if (us < found.us) found = { variant, plan, us };
  }
  return found;
}

/** Warps of a multiprocessor that hide each other's waits. */
const enoughWarps = 16;

/** One of `rows` and of `gather`: the best of each. */
function gathers(features: SddmmFeatures, multiprocessors: number): Found[] {
  const problem = features.format === 'csr' ? undefined : 'needs a CSR mask';
  // Warps that sweep neighbouring rows together share rows of B: where there are enough of them, rows are not split.
  const warpsEach = (features.rows * features.batch) / multiprocessors;
  const plans = [...gatherPlans(features)].filter(
    ({ splits }) => splits === 1 || (warpsEach * splits) / 2 < enoughWarps,
  );
  const time = (plan: SddmmPlan): number => gatherTime(features, multiprocessors, plan);
  return (['rows', 'gather'] as const).map((variant) =>
    best(
      variant,
      problem,
      plans.filter((plan) => plan.variant === variant),
      time,
    ),
  );
}

/** @internal Every plan by rows or elements that has a kernel and lanes for the depth. */
export function* gatherPlans(features: SddmmFeatures): Iterable<SddmmPlan> {
  const vector = vectorOf(features);
  const chunks = Math.ceil(features.depth / vector);
  const widths = vector === 1 ? [1, 8, 32] : [1, 4, 8, 16, 32];
  for (const lanes of widths) {
    // A lane alone reads rows of B line by line; lanes without a chunk of the depth are idle.
    if (lanes === 1 ? chunks > 16 : lanes >= 2 * chunks && lanes > widths[1]) continue;
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

/** @internal */
export function gatherTime(features: SddmmFeatures, multiprocessors: number, plan: SddmmPlan): number {
  const { dtype, rows, columns, stored, longestRow, depth, batch, tiles } = features;
  const { variant, vector, lanes, splits } = plan;
  const bytes = bytesOf(dtype);
  const fitted = costs[dtype === 'float32' ? 'float32' : 'half'];
  const steps = Math.ceil(depth / (lanes * vector));
  const scale = (batch * fittedMultiprocessors) / multiprocessors;
  const gathered = ((stored * depth * bytes) / 1e6) * scale;
  // At most one row of B a tile's column, and so a bound of what neighbouring rows do not share.
  const unshared = ((Math.min(stored, (tiles[0] ?? stored) * 64) * depth * bytes) / 1e6) * scale;
  const resident = columns * depth * bytes < residentBytes;
  const segment = segmentOf(lanes);
  if (variant === 'gather') {
    const warps = (stored / segment / 1000) * scale;
    const weights = vector === 1 ? fitted.gatherScalar[1] : fitted.gather[lanes];
    return (
      dot(weights, [
        1,
        Math.log2(Math.max(1, rows)) / 10,
        steps,
        warps,
        warps * steps,
        gathered,
        resident ? 0 : unshared,
      ]) + scalarCost(plan, steps, warps)
    );
  }
  const longest = Math.ceil(longestRow / (segment * splits));
  const warps = ((rows * splits) / 1000) * scale;
  const parts = warps * Math.max(1, stored / Math.max(1, rows) / (segment * splits) + 0.5);
  const weights = vector === 1 ? fitted.rowsScalar[1] : fitted.rows[lanes];
  return (
    dot(weights, [
      1,
      longest,
      longest * steps,
      warps,
      parts,
      parts * steps,
      gathered,
      resident ? unshared : 0,
      resident ? 0 : unshared,
    ]) + scalarCost(plan, steps, parts)
  );
}

/** Numbers loaded one by one were measured for a depth of 1: what further steps add. */
const scalarCost = ({ vector }: SddmmPlan, steps: number, warps: number): number =>
  vector === 1 ? (steps - 1) * (0.3 + 0.15 * warps) : 0;

/** A map of tiles is worth its memory from one element in so many on. */
const sparsestTile = 1024;

function tilesProblem(
  { format, vectors, dtype, tiles, stored }: SddmmFeatures,
  variant: 'tiles' | 'staged',
): string | undefined {
  if (format !== 'csr') return 'needs a CSR mask';
  if (variant === 'staged' && dtype !== 'float32') return 'needs float32';
  if (variant === 'staged' && !vectors) return 'needs rows of A and B at multiples of 16 bytes';
  if (stored === 0) return 'needs a stored element';
  if (tiles.every((count) => count === undefined)) {
    return 'needs the tiles of the mask, which cannot be found while recording: call sddmm once before';
  }
  if (!tileShapes.some((shape, i) => storesEnough(shape, tiles[i], stored))) {
    return `needs one stored element in ${sparsestTile}, in tiles that store any`;
  }
  return undefined;
}

const storesEnough = (
  { rows, columns }: { rows: number; columns: number },
  count: number | undefined,
  stored: number,
): boolean => count !== undefined && count * rows * columns <= stored * sparsestTile;

const tileRowsOf = (variant: 'tiles' | 'staged', dtype: FloatDType): readonly TileRows[] => {
  if (variant === 'staged') return [32, 64, 128, 256];
  return dtype === 'float32' ? [32, 64] : [32, 64, 128];
};

/** @internal Every plan of tiles that has a kernel, of a variant. */
export function* tilePlans(features: SddmmFeatures, variant: 'tiles' | 'staged'): Iterable<SddmmPlan> {
  const { dtype, tiles, stored } = features;
  for (const tile of tileRowsOf(variant, dtype)) {
    const index = tileShapes.findIndex(({ rows }) => rows === tile);
    if (!storesEnough(tileShapes[index], tiles[index], stored)) continue;
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
  const count = features.tiles[tileShapes.findIndex(({ rows }) => rows === tile)] as number;
  const steps = Math.max(1, Math.ceil((depth * bytesOf(dtype)) / 128));
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

/** Microseconds of each term of `gatherTime`, by lanes, and of `tilesTime`, by rows of a tile; fitted to a sweep on an H200. */
interface Costs {
  readonly gather: Weights;
  readonly gatherScalar: Weights;
  readonly rows: Weights;
  readonly rowsScalar: Weights;
  readonly tiles: Weights;
  readonly tilesScalar: Weights;
  readonly staged: Weights;
}

const costs: { readonly [type in 'float32' | 'half']: Costs } = {
  float32: {
    gather: {
      1: [0.066, 1.596, 0.034, 0.036, 0.159, 0, 0],
      4: [0, 1.227, 0.269, 0.403, 0.152, 0, 0.2],
      8: [0, 0.8, 0.686, 0.694, 0, 0.074, 0.236],
      16: [0, 1.22, 0.556, 0.518, 0, 0.081, 0.187],
      32: [0, 1.315, 0.32, 0.87, 0, 0.071, 0.157],
    },
    gatherScalar: {
      1: [0.463, 1.185, 0, 0.342, 0, 0, 0],
    },
    rows: {
      1: [0.929, 0.13, 0.107, 0.134, 0, 0.012, 0.124, 0.077, 0],
      4: [0.66, 0.249, 0.155, 0.126, 0.085, 0.033, 0.025, 0.002, 0.289],
      8: [0.426, 0.25, 0.196, 0.336, 0.048, 0.034, 0.039, 0.023, 0.185],
      16: [0.534, 0.251, 0.195, 0.352, 0.008, 0.021, 0.042, 0.029, 0.151],
      32: [0.594, 0.286, 0.168, 0.234, 0.095, 0, 0.037, 0.041, 0.158],
    },
    rowsScalar: {
      1: [0.675, 0.28, 0, 0.176, 0.052, 0, 0, 0.39, 0],
    },
    tiles: {
      32: [1.709, 0.633, 1.265, 0.632, 0.505],
      64: [1.632, 1.049, 0.539, 0.89, 0.55],
    },
    tilesScalar: {
      32: [2.344, 0, 1.979, 0, 0.511],
      64: [2.763, 0, 1.446, 0, 0.54],
    },
    staged: {
      32: [2.173, 0.454, 0.139, 0.161, 0.722, 0.51],
      64: [1.713, 0.367, 0.728, 0.095, 0.622, 0.515],
      128: [1.901, 0.407, 0.721, 0.189, 0.662, 0.485],
      256: [1.911, 0.536, 3.733, 0.938, 0.64, 0.573],
    },
  },
  half: {
    gather: {
      1: [0.328, 1.216, 0.091, 0.206, 0.12, 0, 0.137],
      4: [0, 1.041, 0.467, 0.513, 0.16, 0, 0.214],
      8: [0, 0.878, 0.433, 0.662, 0, 0.078, 0.137],
      16: [0, 0.989, 0.484, 0.744, 0, 0.072, 0.12],
      32: [0, 2.135, 0, 0, 0, 0.16, 0.115],
    },
    gatherScalar: {
      1: [0.288, 1.339, 0, 0.345, 0, 0, 0],
    },
    rows: {
      1: [0.788, 0.201, 0.112, 0.161, 0.012, 0.016, 0.121, 0.045, 0.122],
      4: [0.713, 0.229, 0.194, 0.088, 0.127, 0.05, 0.013, 0.004, 0.238],
      8: [0.481, 0.248, 0.262, 0.368, 0.026, 0.073, 0.053, 0.016, 0.155],
      16: [0.628, 0.247, 0.251, 0.283, 0.058, 0.042, 0.064, 0.015, 0.118],
      32: [0.82, 0, 0.365, 0.317, 0, 0, 0.075, 0.017, 0.119],
    },
    rowsScalar: {
      1: [0.673, 0.264, 0, 0.178, 0.063, 0, 0, 0.211, 0],
    },
    tiles: {
      32: [1.6, 0.262, 0.173, 0.231, 0.295],
      64: [1.55, 0.354, 0.553, 0.269, 0.295],
      128: [1.719, 0.757, 0.591, 0.645, 0.326],
    },
    tilesScalar: {
      32: [2.355, 0, 1.119, 0, 0.27],
      64: [2.467, 0, 1.193, 0, 0.276],
      128: [3.776, 0, 3.631, 0, 0.43],
    },
    staged: {},
  },
};
