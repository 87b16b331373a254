// Which kernel of sddmm runs, with which parameters: a pure function of the problem and the device.

import type { SddmmPlan, SddmmVariant } from '../backends/calls/sddmm.js';
import { shapeIndexOf, type TileRows, tileShapes } from '../formats/tile-shapes.js';
import { bestOf, type Choice, choose, type Found, placedAs } from '../planning/choice.js';
import { lackOf, type PlanDevice } from '../planning/plan-device.js';
import { dtypeInfo, type FloatDType } from '../tensor/dtype.js';
import { describePadding, type Padded, paddedColumns, paddingTime, withPadding } from './padding.js';
import { sddmmNeeds } from './sddmm-needs.js';
import { segmentOf } from './sddmm-occupancy.js';
import { expectedSddmm, sddmmTime } from './sddmm-time.js';
import { wholeVector } from './vectors.js';

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
  /** Rows of A and B begin at multiples of 16 bytes; of two elements; of 128 bytes, or of a power of two that is as long as a row. */
  readonly vectors: boolean;
  readonly pairs: boolean;
  readonly lines: boolean;
}

type SddmmFound = Found<SddmmPlan>;

const none: SddmmPlan = {
  variant: 'segments',
  vector: 1,
  lanes: 8,
  splits: 1,
  tile: 0,
  bundle: 1,
  alone: false,
  padded: false,
};

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

/** @internal The problem on copies of A and B, and the microseconds of making them; none where rows begin at multiples of 16 bytes. */
export function paddedSddmm(features: SddmmFeatures): Padded<SddmmFeatures> | undefined {
  const { dtype, rows, columns, depth, batch, vectors } = features;
  // A single column would become four or eight.
  if (vectors || depth <= 1) return undefined;
  const copied = paddedColumns(depth, dtype);
  const us = paddingTime((rows + columns) * copied * batch, features);
  return us === Number.POSITIVE_INFINITY
    ? undefined
    : { features: { ...features, depth: copied, vectors: true, pairs: true, lines: true }, us };
}

/** @internal The best plan of each variant for operands as they are. */
export function sddmmVariantsFor(features: SddmmFeatures, card: PlanDevice): SddmmFound[] {
  return [
    segments(features),
    ...gathers(features, card),
    ...tileVariants.map((variant) => bestTiles(features, variant, card)),
  ];
}

/** 'vector 8, lanes 8, splits 4' or 'vector 8, 64x64, padded' */
export function describeSddmmPlan(plan: SddmmPlan): string {
  return describePadding(describeParameters(plan), plan);
}

function describeParameters({ variant, vector, lanes, splits, tile }: SddmmPlan): string {
  if (variant === 'rows') return `vector ${vector}, lanes ${lanes}, splits ${splits}`;
  if (variant === 'gather') return `vector ${vector}, lanes ${lanes}`;
  if (tile > 0) return `vector ${vector}, ${tile}x${tileShapes[shapeIndexOf(tile)].columns}`;
  return '';
}

/** How lanes load rows: elements at once, and how many lanes share an element. */
interface Loads {
  readonly vector: number;
  readonly lanes: readonly number[];
  /** Lanes that are worth it however short the depth is. */
  readonly least: number;
  /** Vectors of a row that one or two lanes may read, line by line. */
  readonly most: number;
}

const singles: Loads = { vector: 1, lanes: [1, 8, 32], least: 8, most: 9 };
const pairs: Loads = { vector: 2, lanes: [1, 4, 8, 16, 32], least: 4, most: 9 };
const wholes = (vector: number): Loads => ({ vector, lanes: [1, 2, 4, 8, 16, 32], least: 2, most: 4 });
const allPairs = [pairs, singles];
const allWholes = { 4: [wholes(4)], 2: [wholes(8)] };

function loadsOf({ dtype, vectors, pairs }: SddmmFeatures): readonly Loads[] {
  if (vectors) return allWholes[dtypeInfo[dtype].bytes as 2 | 4];
  return pairs ? allPairs : [singles];
}

// Microseconds, rather too many: of a launch; of a step along the depth of eight lanes, one after another; of a million elements, and of megabytes
// that they gather. From 494 problems of two dtypes, and the benchmark's graphs, whose rows are far (2026-11-22).
const segmentTimes = { start: 9, step: 1.2, elements: 50, gathered: 0.25 };

function segments({ format, stored, depth, batch, dtype, vectors }: SddmmFeatures): SddmmFound {
  const { start, step, elements, gathered } = segmentTimes;
  const steps = Math.ceil(depth / (8 * (vectors ? wholeVector(dtype) : 1)));
  const millions = (stored * batch) / 1e6;
  const work = millions * (elements + gathered * depth * dtypeInfo[dtype].bytes);
  // Blocks have this variant alone.
  const us = format === 'csr' ? start + step * steps + work : 0;
  return { variant: 'segments', plan: none, us, problem: undefined };
}

/** Gathered rows are walked with 32 bits. */
const longestGathered = 2 ** 31 - 1;

function gatherProblem({ format, depth, dtype }: SddmmFeatures): string | undefined {
  if (format !== 'csr') return 'needs a CSR mask';
  if (depth * dtypeInfo[dtype].bytes > longestGathered) return 'needs rows of A and B below 2 GiB';
  return undefined;
}

/** One of `rows` and of `gather`: the best of each. */
function gathers(features: SddmmFeatures, card: PlanDevice): SddmmFound[] {
  const problem = gatherProblem(features);
  const plans = [...gatherPlans(features)];
  return (['rows', 'gather'] as const).map((variant) =>
    fastest(
      features,
      card,
      variant,
      problem,
      plans.filter((plan) => plan.variant === variant),
    ),
  );
}

function fastest(
  features: SddmmFeatures,
  card: PlanDevice,
  variant: SddmmVariant,
  problem: string | undefined,
  plans: readonly SddmmPlan[],
): SddmmFound {
  const found = bestOf(variant, problem, plans, (plan) => sddmmTime(features, card, plan));
  return placedAs(found, (plan) => placed(features, card, plan));
}

/** @internal The plan, alone or in bundles where it is expected to take less time so. */
export function placed(features: SddmmFeatures, card: PlanDevice, plan: SddmmPlan): SddmmPlan {
  if (plan.variant === 'segments') return plan;
  const { alone, bundle } = expectedSddmm(features, card, plan);
  return alone || bundle > 1 ? { ...plan, alone, bundle } : plan;
}

/** @internal Every plan by rows or elements that has a kernel and lanes for the depth. */
export function* gatherPlans(features: SddmmFeatures): Iterable<SddmmPlan> {
  for (const { vector, lanes: widths, least, most } of loadsOf(features)) {
    const chunks = Math.ceil(features.depth / vector);
    for (const lanes of widths) {
      // Lanes without a chunk of the depth are idle.
      if (lanes <= 2 ? chunks > most * lanes : lanes >= 2 * chunks && lanes > least) continue;
      yield { ...none, variant: 'gather', vector, lanes };
      for (const splits of [1, 2, 4, 8]) {
        if (splits > 1 && features.longestRow <= (splits / 2) * segmentOf(lanes)) continue;
        yield { ...none, variant: 'rows', vector, lanes, splits };
      }
    }
  }
}

const tileVariants = ['tiles', 'staged', 'warpgroups'] as const;
type TileVariant = (typeof tileVariants)[number];

/** @internal */
export const isTileVariant = (variant: SddmmVariant): variant is TileVariant =>
  (tileVariants as readonly SddmmVariant[]).includes(variant);

/** A map of tiles is worth its memory from one element in so many on. */
const sparsestTile = 1024;

function tilesProblem(features: SddmmFeatures, variant: TileVariant): string | undefined {
  const { format, vectors, dtype, depth, stored, mapped } = features;
  if (format !== 'csr') return 'needs a CSR mask';
  if (variant === 'staged' && dtype !== 'float32') return 'needs float32';
  if (variant === 'warpgroups') {
    if (dtype === 'float32') return 'needs float16 or bfloat16';
    if (depth === 0) return 'needs a column of A and B';
    if (!vectors) return 'needs rows of A and B at multiples of 16 bytes';
  }
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

function bestTiles(features: SddmmFeatures, variant: TileVariant, card: PlanDevice): SddmmFound {
  const problem = tilesProblem(features, variant);
  const plans = problem === undefined ? tilePlans(features, variant, card) : [];
  const lack = problem === undefined && plans.length === 0 ? lackOfTiles(features, variant, card) : undefined;
  return fastest(features, card, variant, problem ?? lack, plans);
}

/** What the card lacks for the smallest tiles that have a map. */
function lackOfTiles(features: SddmmFeatures, variant: TileVariant, card: PlanDevice): string | undefined {
  const [plan] = everyTilePlan(features, variant);
  return plan && `needs ${lackOf(card, sddmmNeeds(plan, features.dtype, features.depth))}`;
}

/** Whether the tiles of a shape hold as much as that. */
function storesEnough({ tiles, stored }: SddmmFeatures, shape: number): boolean {
  const { rows, columns } = tileShapes[shape];
  return tiles[shape] * rows * columns <= stored * sparsestTile;
}

const tileRowsOf = (variant: TileVariant, dtype: FloatDType): readonly TileRows[] => {
  if (variant === 'staged') return [32, 64, 128, 256];
  if (variant === 'warpgroups') return [128];
  return dtype === 'float32' ? [32, 64] : [32, 64, 128];
};

/** @internal Every plan of tiles that has a kernel, of a variant, on the card. */
export function tilePlans(
  features: SddmmFeatures,
  variant: TileVariant,
  card: PlanDevice,
): readonly SddmmPlan[] {
  const { dtype, depth } = features;
  return everyTilePlan(features, variant).filter(
    (plan) => lackOf(card, sddmmNeeds(plan, dtype, depth)) === undefined,
  );
}

function everyTilePlan(features: SddmmFeatures, variant: TileVariant): readonly SddmmPlan[] {
  const vector = features.vectors ? wholeVector(features.dtype) : 1;
  const plans: SddmmPlan[] = [];
  for (const tile of tileRowsOf(variant, features.dtype)) {
    const index = shapeIndexOf(tile);
    if (storesEnough(features, index) && features.mapped[index])
      plans.push({ ...none, variant, vector, tile });
  }
  return plans;
}
