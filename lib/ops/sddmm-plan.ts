// Which kernel of sddmm runs, with which parameters: a pure function of the problem and the device. Times are expected
// microseconds on an H200, replayed from a graph; the constants below were fitted to a sweep over every plan there.

import type { SddmmPlan, SddmmVariant } from '../backends/calls/sddmm.js';
import { WarptileError } from '../errors.js';
import type { FloatDType } from '../tensor/dtype.js';

/** What the choice depends on. */
export interface SddmmFeatures {
  readonly dtype: FloatDType;
  readonly format: 'csr' | 'block-sparse';
  readonly rows: number;
  readonly columns: number;
  /** Stored entries. */
  readonly stored: number;
  readonly longestRow: number;
  /** Most columns from the first to the last stored one in 32, 64 and 128 consecutive rows: see `Topology`. */
  readonly spans: readonly [number, number, number];
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
  readonly problem?: string;
}

const none: SddmmPlan = {
  variant: 'segments',
  vector: 1,
  lanes: 8,
  splits: 1,
  tileRows: 0,
  tileColumns: 0,
  walk: 8,
  banded: false,
  columnTiles: 0,
};

/**
 * The plan that is expected to be fastest, or the best of a `forced` variant, on a device of so many multiprocessors.
 * @throws WarptileError ERR_UNSUPPORTED where the forced variant is impossible.
 */
export function selectSddmm(
  features: SddmmFeatures,
  multiprocessors: number,
  forced?: SddmmVariant,
): SddmmChoice {
  const found = [segments(features), ...gathers(features, multiprocessors), tiles(features, multiprocessors)];
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
  let best = found[0];
  for (const item of found) if (item.plan !== undefined && item.us < best.us) best = item;
  return { plan: best.plan as SddmmPlan, candidates };
}

/** 'lanes 8, splits 4' or '64x64, walk 8, banded' */
export function describeSddmmPlan(plan: SddmmPlan): string {
  const { variant, vector, lanes, splits, tileRows, tileColumns, walk, banded } = plan;
  if (variant === 'rows') return `vector ${vector}, lanes ${lanes}, splits ${splits}`;
  if (variant === 'gather') return `vector ${vector}, lanes ${lanes}`;
  if (variant === 'tiles') return `${tileRows}x${tileColumns}, walk ${walk}${banded ? ', banded' : ''}`;
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

/** Warps of a multiprocessor that hide each other's waits. */
const enoughWarps = 16;

/** One of `rows` and of `gather`: the best of each. */
function gathers(features: SddmmFeatures, multiprocessors: number): Found[] {
  if (features.format !== 'csr') {
    const problem = 'needs a CSR mask';
    return [
      { variant: 'rows', us: Number.POSITIVE_INFINITY, problem },
      { variant: 'gather', us: Number.POSITIVE_INFINITY, problem },
    ];
  }
  const best: { rows?: Found; gather?: Found } = {};
  // Warps that sweep neighbouring rows together share rows of B: where there are enough of them, rows are not split.
  const warpsEach = (features.rows * features.batch) / multiprocessors;
  for (const plan of gatherPlans(features)) {
    if (plan.splits > 1 && (warpsEach * plan.splits) / 2 >= enoughWarps) continue;
    const us = gatherTime(features, multiprocessors, plan);
    const variant = plan.variant as 'rows' | 'gather';
    const held = best[variant];
    if (held === undefined || us < held.us) best[variant] = { variant, plan, us };
  }
  return [best.rows as Found, best.gather as Found];
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

/** Microseconds of each term of `gatherTime` for lanes 1, 4, 8, 16 and 32. */
interface GatherCosts {
  /** Gather: start, by the search for rows, by steps over the depth, by 1,000 warps, by their steps, by MB from L2 and beyond. */
  readonly gather: readonly (readonly number[])[];
  /** Rows: start, by segments of the longest row, by their steps, by 1,000 warps, by 1,000 segments, by their steps, by MB. */
  readonly rows: readonly (readonly number[])[];
}

const gatherCosts: { readonly [type in 'float32' | 'half']: GatherCosts } = {
  float32: {
    gather: [
      [0, 2.347, 0.091, 0.255, 0.128, 0, 0.153],
      [0, 2.403, 0.274, 0.414, 0, 0.074, 0.124],
      [0, 2.182, 0.691, 0.759, 0, 0.074, 0.128],
      [1.446, 0.659, 0.527, 0.642, 0, 0.076, 0.131],
      [0, 2.269, 0.48, 0.893, 0, 0.066, 0.136],
    ],
    rows: [
      [1.511, 0, 0.118, 0.169, 0, 0.013, 0.213],
      [1.136, 0.32, 0.278, 0.157, 0.052, 0.076, 0.017],
      [0.7, 0.445, 0.551, 0.249, 0.104, 0.078, 0.034],
      [0, 0.411, 0.535, 0.423, 0.027, 0.162, 0.015],
      [0, 0.31, 0.561, 0.511, 0.056, 0.224, 0],
    ],
  },
  half: {
    gather: [
      [1.008, 1.328, 0.098, 0.08, 0.132, 0, 0.132],
      [0.506, 1.736, 0.457, 0.51, 0, 0.079, 0.281],
      [0.219, 2.049, 0.4, 0.714, 0.314, 0, 0.128],
      [1.358, 0.759, 0.442, 0.731, 0, 0.074, 0.197],
      [0, 2.193, 0.62, 0.905, 0, 0.047, 0.177],
    ],
    rows: [
      [1.628, 0, 0.155, 0, 0, 0.079, 0.007],
      [1.269, 0.303, 0.313, 0.14, 0.116, 0.08, 0.012],
      [0.886, 0.431, 0.474, 0.143, 0.204, 0.145, 0.014],
      [0.528, 0.426, 0.453, 0.249, 0.165, 0.216, 0],
      [0, 0.418, 0.404, 0.467, 0.111, 0.233, 0],
    ],
  },
};

const laneIndex = (lanes: number): number => [1, 4, 8, 16, 32].indexOf(lanes);
const dot = (weights: readonly number[], terms: readonly number[]): number =>
  weights.reduce((sum, weight, i) => sum + weight * terms[i], 0);
/** Operands up to here stay in L2. */
const residentBytes = 20e6;

/** @internal */
export function gatherTime(features: SddmmFeatures, multiprocessors: number, plan: SddmmPlan): number {
  const { dtype, rows, columns, stored, longestRow, depth, batch } = features;
  const { variant, vector, lanes, splits } = plan;
  const bytes = bytesOf(dtype);
  const costs = gatherCosts[dtype === 'float32' ? 'float32' : 'half'];
  const steps = Math.ceil(depth / (lanes * vector));
  const scale = (batch * fittedMultiprocessors) / multiprocessors;
  const gathered = ((stored * depth * bytes) / 1e6) * scale;
  const segment = segmentOf(lanes);
  if (variant === 'gather') {
    const warps = (stored / segment / 1000) * scale;
    const resident = columns * depth * bytes < residentBytes;
    return dot(costs.gather[laneIndex(lanes)], [
      1,
      Math.log2(Math.max(1, rows)) / 10,
      steps,
      warps,
      warps * steps,
      resident ? gathered : 0,
      resident ? 0 : gathered,
    ]);
  }
  const longest = Math.ceil(longestRow / (segment * splits));
  const warps = ((rows * splits) / 1000) * scale;
  const parts = warps * Math.max(1, stored / Math.max(1, rows) / (segment * splits) + 0.5);
  return dot(costs.rows[laneIndex(lanes)], [
    1,
    longest,
    longest * steps,
    warps,
    parts,
    parts * steps,
    gathered,
  ]);
}

/** @internal Tiles with a kernel, most blocks of them on a multiprocessor at once, and the cost of each term of `tilesTime` for
 * 8 and for 32 lanes a row. */
interface TileShape {
  readonly rows: number;
  readonly columns: number;
  readonly resident: number;
  /** Start, by steps over the depth, by further waves, by their steps, by a million elements, by tiles times steps. */
  readonly narrow: readonly number[];
  readonly wide: readonly number[];
}

const tileShapes: { readonly [type in 'float32' | 'half']: readonly TileShape[] } = {
  float32: [
    {
      rows: 32,
      columns: 32,
      resident: 4,
      narrow: [3.708, 0.357, 3.609, 0, 12.131, 0.447],
      wide: [6.65, 1.105, 8.21, 1.91, 8.612, 0.062],
    },
    {
      rows: 64,
      columns: 64,
      resident: 3,
      narrow: [3.696, 1.427, 2.139, 0.807, 12.545, 0.836],
      wide: [5.703, 1.358, 9.385, 0.028, 1.175, 0.971],
    },
  ],
  half: [
    {
      rows: 32,
      columns: 32,
      resident: 6,
      narrow: [3.417, 0.382, 5.018, 0, 12.01, 0.203],
      wide: [4.724, 0.468, 9.62, 0, 8.942, 0.183],
    },
    {
      rows: 64,
      columns: 64,
      resident: 3,
      narrow: [3.711, 0.765, 2.161, 0.532, 11.025, 0.325],
      wide: [5.449, 0.757, 8.264, 0.08, 3.115, 0.415],
    },
    {
      rows: 64,
      columns: 128,
      resident: 2,
      narrow: [3.776, 1.296, 1.099, 1.181, 9.171, 0.15],
      wide: [5.719, 1.22, 5.36, 0.502, 2.802, 0.395],
    },
    {
      rows: 128,
      columns: 128,
      resident: 2,
      narrow: [4.815, 1.623, 2.209, 2.103, 7.374, 0.185],
      wide: [8.089, 1.559, 4.963, 1.769, 4.598, 0.383],
    },
  ],
};

const mostPanels = 65_535;

function tiles(features: SddmmFeatures, multiprocessors: number): Found {
  const problem = tilesProblem(features);
  if (problem !== undefined) return { variant: 'tiles', us: Number.POSITIVE_INFINITY, problem };
  let best: Found | undefined;
  for (const plan of tilePlans(features)) {
    const us = tilesTime(features, multiprocessors, plan);
    if (best === undefined || us < best.us) best = { variant: 'tiles', plan, us };
  }
  return best as Found;
}

function tilesProblem({ format, vectors, rows, batch }: SddmmFeatures): string | undefined {
  if (format !== 'csr') return 'needs a CSR mask';
  if (!vectors) return 'needs rows of A and B at multiples of 16 bytes';
  if (rows > mostPanels * 32) return `needs at most ${mostPanels * 32} rows`;
  if (batch > mostPanels) return `needs a batch of at most ${mostPanels}`;
  return undefined;
}

/** @internal Every plan of tiles. */
export function* tilePlans({ dtype, columns, spans }: SddmmFeatures): Iterable<SddmmPlan> {
  for (const shape of tileShapes[dtype === 'float32' ? 'float32' : 'half']) {
    const all = Math.max(1, Math.ceil(columns / shape.columns));
    const span = spans[Math.log2(shape.rows) - 5];
    const needed = Math.ceil(Math.max(0, span - 1) / shape.columns) + 1;
    // The search for a panel's first column costs as much as a few tiles.
    const banded = 2 * needed <= all;
    for (const walk of [8, 32]) {
      yield {
        ...none,
        variant: 'tiles',
        tileRows: shape.rows,
        tileColumns: shape.columns,
        walk,
        banded,
        columnTiles: banded ? needed : all,
      };
    }
  }
}

/** @internal */
export function tilesTime(features: SddmmFeatures, multiprocessors: number, plan: SddmmPlan): number {
  const { dtype, rows, stored, depth, batch } = features;
  const { tileRows, tileColumns, walk, columnTiles } = plan;
  const shape = tileShapes[dtype === 'float32' ? 'float32' : 'half'].find(
    (item) => item.rows === tileRows && item.columns === tileColumns,
  ) as TileShape;
  const steps = Math.max(1, depth / (dtype === 'float32' ? 32 : 64));
  const blocks = (Math.ceil(rows / tileRows) * columnTiles * batch) / multiprocessors;
  const waves = Math.max(1, blocks / shape.resident) - 1;
  const elements = ((stored * batch) / 1e6) * (fittedMultiprocessors / multiprocessors);
  return dot(walk === 8 ? shape.narrow : shape.wide, [
    1,
    steps,
    waves,
    waves * steps,
    elements,
    blocks * steps,
  ]);
}
