// Which kernel of sddmm runs, with which parameters: a pure function of the problem and the device. Times are expected
// microseconds on an H200, replayed from a graph; the constants below were fitted to a sweep over every plan there.

import type { SddmmPlan, SddmmVariant } from '../backends/calls/sddmm.js';
import { type TileRows, tileShapes } from '../formats/tile-shapes.js';
import { bestOf, type Choice, choose, type Found } from '../planning/choice.js';
import type { PlanDevice } from '../planning/plan-device.js';
import { dtypeInfo, type FloatDType } from '../tensor/dtype.js';

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

type SddmmFound = Found<SddmmPlan>;

const none: SddmmPlan = { variant: 'segments', vector: 1, lanes: 8, splits: 1, tile: 0 };

/**
 * The plan that is expected to be fastest, or the best of a `forced` variant.
 * @throws WarptileError ERR_UNSUPPORTED where the forced variant is impossible.
 */
export function selectSddmm(
  features: SddmmFeatures,
  card: PlanDevice,
  forced?: SddmmVariant,
): Choice<SddmmPlan> {
  const { multiprocessors } = card;
  const found = [
    segments(features),
    ...gathers(features, multiprocessors),
    bestOf('tiles', tilesProblem(features, 'tiles'), tilePlans(features, 'tiles', card), (plan) =>
      tilesTime(features, multiprocessors, plan),
    ),
    bestOf('staged', tilesProblem(features, 'staged'), tilePlans(features, 'staged', card), (plan) =>
      tilesTime(features, multiprocessors, plan),
    ),
  ];
  return choose(found, describeSddmmPlan, forced);
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

/** One of `rows` and of `gather`: the best of each. */
function gathers(features: SddmmFeatures, multiprocessors: number): SddmmFound[] {
  const problem = features.format === 'csr' ? undefined : 'needs a CSR mask';
  // Warps that sweep neighbouring rows together share rows of B: where there are enough of them, rows are not split.
  const warpsEach = (features.rows * features.batch) / multiprocessors;
  const plans = [...gatherPlans(features)].filter(
    (plan) =>
      (plan.splits === 1 || (warpsEach * plan.splits) / 2 < enoughWarps) && !losesHalfLines(plan, features),
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

/** Four lanes read half a line of each row of B at a step: over a long sweep L1 loses the other half before they come to it. */
const losesHalfLines = ({ variant, lanes, splits }: SddmmPlan, { dtype, depth }: SddmmFeatures): boolean =>
  variant === 'rows' && lanes === 4 && splits === 1 && dtype === 'float32' && depth >= 128;

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
/** Megabytes a microsecond that float32 rows of many columns were seen to reach at most; the fit has too few of them to tell. */
const wideRowRate = 9.2;
const wideRow = 256;
/** Operands up to here stay in L2. */
const residentBytes = 20e6;

/** @internal */
export function gatherTime(features: SddmmFeatures, multiprocessors: number, plan: SddmmPlan): number {
  const { dtype, rows, columns, stored, longestRow, depth, batch, tiles } = features;
  const { variant, vector, lanes, splits } = plan;
  const bytes = dtypeInfo[dtype].bytes;
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
  const us =
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
    ]) + scalarCost(plan, steps, parts);
  return dtype === 'float32' && depth >= wideRow ? Math.max(us, 1.5 + gathered / wideRowRate) : us;
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
export function* tilePlans(
  features: SddmmFeatures,
  variant: 'tiles' | 'staged',
  { clusters }: PlanDevice,
): Iterable<SddmmPlan> {
  const { dtype, tiles, stored } = features;
  for (const tile of tileRowsOf(variant, dtype)) {
    const index = tileShapes.findIndex(({ rows }) => rows === tile);
    if (!storesEnough(tileShapes[index], tiles[index], stored)) continue;
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
  const count = features.tiles[tileShapes.findIndex(({ rows }) => rows === tile)] as number;
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
      1: [0.161, 1.501, 0.031, 0.035, 0.159, 0, 0],
      4: [0, 1.221, 0.271, 0.404, 0.151, 0, 0.201],
      8: [0, 0.796, 0.687, 0.691, 0, 0.075, 0.238],
      16: [0, 1.206, 0.563, 0.516, 0, 0.081, 0.187],
      32: [0, 1.346, 0.311, 0.871, 0, 0.071, 0.157],
    },
    gatherScalar: {
      1: [0.494, 1.151, 0, 0.343, 0, 0, 0],
    },
    rows: {
      1: [0.934, 0.131, 0.106, 0.131, 0, 0.012, 0.123, 0.08, 0],
      4: [0.696, 0.249, 0.154, 0.119, 0.09, 0.033, 0.02, 0.001, 0],
      8: [0.411, 0.253, 0.196, 0.35, 0.04, 0.035, 0.039, 0.023, 0.184],
      16: [0.552, 0.253, 0.194, 0.356, 0, 0.02, 0.043, 0.029, 0.152],
      32: [0.603, 0.285, 0.168, 0.238, 0.092, 0, 0.037, 0.041, 0.16],
    },
    rowsScalar: {
      1: [0.672, 0.281, 0, 0.178, 0.051, 0, 0, 0.381, 0],
    },
    tiles: {
      32: [1.644, 0.592, 0.656, 0.498, 0.401],
      64: [1.521, 1.141, 0.196, 0.772, 0.392],
    },
    tilesScalar: {
      32: [3.219, 0, 2.791, 0, 0.71],
      64: [3.766, 0, 1.397, 0, 0.375],
    },
    staged: {
      32: [2.175, 0.452, 0.144, 0.162, 0.725, 0.496],
      64: [1.713, 0.367, 0.738, 0.093, 0.624, 0.493],
      128: [1.889, 0.41, 0.706, 0.194, 0.655, 0.489],
      256: [1.929, 0.531, 3.722, 0.919, 0.64, 0.567],
    },
  },
  half: {
    gather: {
      1: [0.299, 1.258, 0.09, 0.208, 0.12, 0, 0.141],
      4: [0, 1.031, 0.468, 0.512, 0.16, 0, 0.218],
      8: [0, 0.855, 0.433, 0.67, 0, 0.078, 0.139],
      16: [0, 0.962, 0.485, 0.745, 0, 0.072, 0.119],
      32: [0, 2.115, 0, 0, 0, 0.16, 0.114],
    },
    gatherScalar: {
      1: [0.32, 1.304, 0, 0.346, 0, 0, 0],
    },
    rows: {
      1: [0.796, 0.2, 0.113, 0.162, 0.012, 0.015, 0.12, 0.048, 0.124],
      4: [0.731, 0.229, 0.194, 0.084, 0.123, 0.052, 0.011, 0.004, 0.24],
      8: [0.491, 0.241, 0.263, 0.364, 0.028, 0.071, 0.054, 0.016, 0.152],
      16: [0.644, 0.246, 0.25, 0.285, 0.055, 0.038, 0.067, 0.013, 0.115],
      32: [0.862, 0, 0.362, 0.306, 0, 0, 0.076, 0.016, 0.119],
    },
    rowsScalar: {
      1: [0.661, 0.267, 0, 0.181, 0.062, 0, 0, 0.204, 0],
    },
    tiles: {
      32: [1.599, 0.262, 0.161, 0.233, 0.306],
      64: [1.55, 0.357, 0.552, 0.27, 0.295],
      128: [1.708, 0.757, 0.593, 0.642, 0.328],
    },
    tilesScalar: {
      32: [2.352, 0, 1.114, 0, 0.282],
      64: [2.475, 0, 1.197, 0, 0.277],
      128: [3.775, 0, 3.623, 0, 0.426],
    },
    staged: {},
  },
};
