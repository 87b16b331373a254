// Plans of spmm's kernels that gather rows of B, and their expected microseconds on an H200, for lib/ops/spmm-plan.ts.

import { type SpmmPlan, spmmPlan } from '../backends/calls/spmm.js';
import type { RowBins } from '../formats/row-bins.js';
import type { Grid } from '../planning/occupancy.js';
import { mostInGrid, type PlanDevice } from '../planning/plan-device.js';
import { dtypeInfo, type FloatDType } from '../tensor/dtype.js';
import { type MemoryTimes, memoryTimes } from './spmm-memory.js';
import { groupGrid, type Placed, placedGroup } from './spmm-occupancy.js';
import { piecesShare, piecesTime, sectorsShare } from './spmm-pieces.js';
import type { SpmmFeatures } from './spmm-plan.js';
import { exponentOf, overlapped } from './times.js';
import { wholeVector } from './vectors.js';

// The model: a launch, and then the longest of five, with a share of the others, since they overlap only in part.
//   rounds       the chain of loads of the longest row
//   issue        instructions of all warps of a multiprocessor
//   gather       bytes of B that the first cache sends; of float32 those that it has not, too
//   compulsory   operands from and to memory
//   distant      rows of B from far parts of the L2 cache
// From likely plans of 1,223 problems, most of them of few rows and many columns, and the benchmark's choices (2026-11-22): the choice among
// row groups takes 3.1 % longer than the fastest, 5 % of them more than 15 %. Fitted to every other problem, 3.6 % and 6 % of the rest.
const model = {
  start: 0.8741,
  overlap: 0.2394,
  round: 0.2964,
  // Nanoseconds of a multiprocessor: a chunk, the lines of 128 bytes that a warp touches for it in B (a quarter of them), a warp, a
  // step of its shuffles.
  chunk: { float32: 13.37, float16: 18.59, bfloat16: 18.59 },
  /** Of lanes that load single ones of several columns. */
  singleChunk: 11.14,
  lines: 0.6655,
  warp: 20.06,
  shuffle: 0.4362,
  sharing: 0.2262,
  /** Of float32: warps of a row that end apart, where columns are few. */
  sharedRow: 1.211,
  /** A chunk of each further row of a warp, of float32 over eight lanes and more. */
  otherRow: 1.206,
  firstCache: { rates: { float32: 172_700, float16: 104_300, bfloat16: 104_300 }, least: 15.84 },
  /** Of what rows of B in float32 take from the L2 cache. */
  gather: 1.051,
  distant: 0.9405,
  shortRows: 1.111,
  /** How far multiprocessors with a block more than others hold up the rest, and by how much more work they can have. */
  uneven: 0.4359,
  mostUneven: 3,
  split: {
    entry: 0.2241,
    perEntry: 7.322,
    warp: 69.81,
    gathered: { float32: 15_019, float16: 98_629, bfloat16: 98_629 },
  },
};

/** @internal */
export function splitTime(
  features: SpmmFeatures,
  device: PlanDevice,
  memory = memoryTimes(features),
): number {
  const { dtype, rows, stored, longestRow, width, batch, vectors } = features;
  const vector = vectors ? wholeVector(dtype) : 1;
  const lanes = width <= 8 * vector ? 8 : 32;
  const warpsAcross = (Math.ceil(width / (lanes * vector)) * batch * lanes) / 32;
  const { split } = model;
  const nanoseconds = warpsAcross * (stored * split.perEntry + rows * split.warp);
  return overlapped(
    model.start,
    model.overlap,
    longestRow * split.entry,
    nanoseconds / (1000 * device.multiprocessors),
    (stored * width * batch * dtypeInfo[dtype].bytes) / (split.gathered[dtype] * device.multiprocessors),
    memory.compulsory,
    model.distant * memory.distant,
  );
}

/** Of the time that far rows of B take: where neighbouring rows of A share columns, most of theirs are near again. */
const sharedColumns = 0.642;

function distantShare({ stripSpan }: SpmmFeatures): number {
  return stripSpan === undefined ? 1 : sharedColumns;
}

/** What several tiles of a few lanes take of the time that the models say of wider ones; but of rows of a few entries. */
const severalNarrow = 1.228;

function narrowShare({ vector, piece, lanes }: SpmmPlan, { width, stored, rows }: SpmmFeatures): number {
  if (vector === 1 || stored <= 8 * rows) return 1;
  const tiles = width / (lanes * vector);
  const several = piece === vector ? lanes < 8 && tiles > 1 : lanes <= 8 && tiles > 2;
  return several ? severalNarrow : 1;
}

/** @internal How lanes share out columns: matches has_columns of cuda/kernels/spmm/spmm.cu. */
export interface LaneColumns {
  readonly vector: number;
  readonly piece: number;
  readonly lanes: number;
}

/** @internal */
export type DenseOperands = Pick<SpmmFeatures, 'dtype' | 'width' | 'vectors' | 'pairs'>;

interface LaneShape extends LaneColumns {
  /** The plans of row groups. Made once, as those of tiles: to make them takes longer than to estimate them. */
  readonly groups: readonly SpmmPlan[];
}

function groupsOf(columns: LaneColumns): SpmmPlan[] {
  const all = 32 / columns.lanes;
  const few = Math.max(1, all / 4);
  const splits = all === 1 ? [1] : columns.lanes <= 2 && few > 1 ? [all, few, 1] : [all, few];
  return splits.flatMap((each) =>
    (each === all ? [1, 2, 4, 8] : [1]).map((warps) =>
      spmmPlan('row-group', { ...columns, splits: each, warps }),
    ),
  );
}

const shapes = (vector: number, piece: number, lanes: readonly number[]): readonly LaneShape[] =>
  lanes.map((each) => ({ vector, piece, lanes: each, groups: groupsOf({ vector, piece, lanes: each }) }));
const elements = shapes(1, 1, [1, 4, 8, 32]);
const singles = [...elements, ...shapes(4, 1, [1, 4, 8, 32])];
const pairShapes = {
  4: [...elements, ...shapes(4, 2, [1, 4, 8, 16, 32]), ...shapes(4, 1, [32])],
  2: [...elements, ...shapes(4, 2, [1]), ...shapes(8, 2, [4, 16]), ...shapes(4, 1, [4, 32])],
};
const wholes = { 4: shapes(4, 4, [1, 2, 4, 8, 16, 32]), 2: shapes(8, 8, [1, 2, 4, 8, 16, 32]) };

/**
 * Those for operands, narrow ones first, that waste less than half of their lanes. Every tile of columns loads the entries anew: several of
 * eight columns took 1.0 to 2.3 times as long as wider ones, and more than four of two or four lanes 1.1 times. Of single columns the
 * narrowest takes everything.
 */
function laneColumns({ dtype, width, vectors, pairs }: DenseOperands): readonly LaneShape[] {
  const bytes = dtypeInfo[dtype].bytes as 2 | 4;
  const all = vectors ? wholes[bytes] : pairs ? pairShapes[bytes] : singles;
  return all.filter(({ lanes, vector, piece }, i) => {
    const tile = lanes * vector;
    // Of a few lanes that load small pieces one tile.
    if (!vectors && vector > 1 && lanes * piece <= 4) return 2 * width >= tile && width <= tile;
    if (vectors && lanes < 8 && width > (tile <= 8 ? 1 : 4) * tile) return false;
    if (vector === 1 && lanes === 4 && width > tile) return false;
    // Two lanes of whole vectors are as often faster than one, though one of them has nothing to do.
    return i === 0 || (vectors && i === 1) || 2 * width > tile;
  });
}

/** What the first cache of a multiprocessor sends: bytes a microsecond, and the bytes for which fewer count. */
interface FirstCache {
  readonly rates: Readonly<Record<FloatDType, number>>;
  readonly least: number;
}

/** Microseconds in which the first caches send rows of B, and so many bytes beside each. */
function firstCacheTime(
  plan: SpmmPlan,
  features: SpmmFeatures,
  columnTiles: number,
  { multiprocessors }: PlanDevice,
  { rates, least }: FirstCache,
  beside: number,
): number {
  const { dtype, stored } = features;
  const bytes = Math.max(least, plan.lanes * plan.vector * dtypeInfo[dtype].bytes) + beside;
  return Math.max(
    piecesTime(plan, features, columnTiles, multiprocessors),
    (stored * columnTiles * bytes) / (rates[dtype] * multiprocessors),
  );
}

/** @internal Every plan of row groups that has a kernel and wastes less than half of its lanes. */
export function groupPlans(operands: DenseOperands): readonly SpmmPlan[] {
  const { width } = operands;
  const plans: SpmmPlan[] = [];
  for (const { lanes, vector, groups } of laneColumns(operands)) {
    if (lanes * vector > 1 || width <= 4) plans.push(...groups);
  }
  return plans;
}

/** @internal The time of row groups, and how many of their blocks make one. */
export function groupPlaced(
  features: SpmmFeatures,
  device: PlanDevice,
  plan: SpmmPlan,
  memory = memoryTimes(features),
): Placed {
  const grid = groupGrid(features, plan);
  const us = groupTimeAlone(features, device, plan, grid, memory);
  return placedGroup(features, device, plan, grid, us);
}

/** @internal */
export const groupTime = (
  features: SpmmFeatures,
  device: PlanDevice,
  plan: SpmmPlan,
  memory = memoryTimes(features),
): number => groupPlaced(features, device, plan, memory).us;

/** By how much longer multiprocessors take that have so many blocks each on average. */
function unevenTime(blocks: number): number {
  const most = blocks > 0 ? Math.ceil(blocks) / blocks : 1;
  return 1 + model.uneven * (Math.min(model.mostUneven, most) - 1);
}

/** Where the blocks of no other kernel are beside theirs. */
function groupTimeAlone(
  features: SpmmFeatures,
  device: PlanDevice,
  plan: SpmmPlan,
  { across, tiles: columnTiles }: Grid,
  memory: MemoryTimes,
): number {
  const { dtype, rows, stored, longestRow, width } = features;
  const { vector, lanes, splits, warps } = plan;
  const bytes = dtypeInfo[dtype].bytes;
  const totalWarps = Math.ceil((rows * lanes * splits) / 32) * warps * columnTiles;
  const lines = linesOf(plan);
  // Rows that share a warp wait for each other, and load entries from lines of their own.
  const otherRow = lanes >= 8 && dtype === 'float32' ? model.otherRow : 0;
  const others = otherRow * (32 / (lanes * splits) - 1);
  const chunk = vector === 1 && width > 1 ? model.singleChunk : model.chunk[dtype];
  const nanoseconds =
    roundsOf(stored / Math.max(1, rows), splits * warps) * (chunk + (model.lines * lines) / 4 + others) +
    model.warp +
    model.shuffle * exponentOf(splits) * vector;
  const uneven = unevenTime((across * columnTiles) / device.multiprocessors);
  const us = overlapped(
    model.start,
    model.overlap,
    roundsOf(longestRow, splits * warps) * model.round,
    (uneven * totalWarps * nanoseconds) / (1000 * device.multiprocessors),
    uneven *
      Math.max(
        firstCacheTime(plan, features, columnTiles, device, model.firstCache, 4 + bytes),
        model.gather * memory.gather,
      ),
    memory.compulsory,
    model.distant * memory.distant * distantShare(features) * sectorsShare(plan, features),
  );
  // Warps of one row of a few entries do little but wait for operands from afar.
  const waiting = memory.distant > 0 && stored <= 8 * rows && width * bytes >= 256 ? model.shortRows : 1;
  const corrected = us * waiting * piecesShare(plan, features) * narrowShare(plan, features);
  if (warps === 1) return corrected;
  const shared = dtype === 'float32' && width <= 8 ? model.sharedRow : 1;
  return corrected * shared + model.sharing;
}

/** As `spmmPlan`, without the options: these depend on the pattern, and are made by the dozen for every new problem. */
const binPlan = (
  { vector, piece, lanes }: LaneColumns,
  splits: number,
  blockItems: number,
  warpItems: number,
): SpmmPlan => ({
  variant: 'row-bins',
  vector,
  piece,
  lanes,
  splits,
  warps: 1,
  columns: 0,
  cluster: 1,
  blockItems,
  warpItems,
  warpRows: 0,
  bundle: 1,
  alone: false,
  padded: false,
});

/** @internal Every plan of row bins that has a kernel and wastes less than half of its lanes. */
export function binPlans(
  problem: DenseOperands & { readonly bins: Pick<RowBins, 'atLeast'> | undefined },
): readonly SpmmPlan[] {
  const { width, bins } = problem;
  const plans: SpmmPlan[] = [];
  if (bins === undefined) return plans;
  const most = bins.atLeast.length - 1;
  for (const columns of laneColumns(problem)) {
    const { lanes, vector } = columns;
    if (width > mostInGrid * lanes * vector) continue;
    for (const splits of lanes <= 8 ? [1, 4] : [1]) {
      let before = -1;
      let warpsBefore = -1;
      for (const rounds of [2, 4, 8, 16, 32]) {
        // An item takes more lanes where it would take a group, and then a warp, more than `rounds` rounds of four entries.
        const blockItems = bins.atLeast[Math.min(most, exponentOf((128 * rounds) / lanes))];
        const byWarps = bins.atLeast[Math.min(most, exponentOf(4 * splits * rounds))];
        const warpItems = lanes * splits === 32 ? 0 : byWarps - blockItems;
        // Fewer items the more rounds: a plan that was there comes right before.
        if (blockItems === before && warpItems === warpsBefore) continue;
        before = blockItems;
        warpsBefore = warpItems;
        plans.push(binPlan(columns, splits, blockItems, warpItems));
      }
    }
  }
  return plans;
}

// As `model`.
const binModel = {
  start: 1.153,
  overlap: 0.2933,
  round: 0.4085,
  /** Of lanes that each walk through a row of their own. */
  laneRound: 0.6,
  // Nanoseconds of a multiprocessor; `rows`: a chunk of each row that shares a warp, whose entries lie in lines of their own.
  chunk: { float32: 11.86, float16: 13.02, bfloat16: 13.02 },
  lines: 0.3025,
  groups: 0.06947,
  rows: 1.742,
  longWarp: 28.49,
  shortWarp: 20.93,
  shuffle: 0.6869,
  firstCache: { rates: { float32: 174_200, float16: 204_200, bfloat16: 204_200 }, least: 66.62 },
  // Uneven patterns have popular columns, whose rows of B stay close; equally long rows of some chunks are left to row groups.
  distant: 0.6823,
  distantEven: 0.7365,
  segments: 0.8903,
  /** By so much the shares of pieces overestimate small problems. */
  piecesLess: 0.6963,
};

/** Of the items of a power of two, which a power takes longer to compute than everything else of a plan. */
const typicalEntries = Array.from({ length: 32 }, (_, exponent) => 1.45 * 2 ** exponent);

/** Lines of 128 bytes of B that a warp touches for an entry of each of its groups of lanes, one load after another. */
function linesOf({ vector, lanes }: SpmmPlan): number {
  return Math.max(vector === 1 ? 1 : 4, 32 / lanes);
}

/** Rounds of four entries that `parts` groups of lanes take for a row that begins anywhere in a chunk. */
function roundsOf(entries: number, parts: number): number {
  return entries === 0 ? 0 : Math.ceil((entries + 1.5) / (4 * parts));
}

/** @internal */
export function binTime(
  features: SpmmFeatures,
  device: PlanDevice,
  plan: SpmmPlan,
  memory = memoryTimes(features),
): number {
  const { dtype, rows, stored, longestRow, width, batch } = features;
  const { items, segments, limit, atLeast } = features.bins as NonNullable<SpmmFeatures['bins']>;
  const { vector, lanes, splits, blockItems, warpItems } = plan;
  const tile = lanes * vector;
  const columnTiles = Math.ceil(width / tile) * batch;
  const groups = 32 / lanes;
  const share = (lanes * splits) / 32;
  let longest = 0;
  let longRounds = 0;
  let shortRounds = 0;
  // Items of one power of two, the long ones first: some of them by blocks, some by warps, the rest by parts of warps.
  for (let exponent = atLeast.length - 1, before = 0; exponent >= -1; --exponent) {
    const past = exponent < 0 ? items : atLeast[exponent];
    if (past === before) continue;
    const entries = exponent < 0 ? 0 : Math.min(typicalEntries[exponent], longestRow, limit);
    const byBlock = Math.max(0, Math.min(past, blockItems) - before);
    const byWarp = Math.max(0, Math.min(past, blockItems + warpItems) - Math.max(before, blockItems));
    const shared = past - before - byBlock - byWarp;
    if (byBlock > 0) longest = Math.max(longest, roundsOf(entries, 8 * groups));
    if (byWarp > 0) longest = Math.max(longest, roundsOf(entries, groups));
    if (shared > 0) longest = Math.max(longest, roundsOf(entries, splits));
    longRounds += 8 * byBlock * roundsOf(entries, 8 * groups) + byWarp * roundsOf(entries, groups);
    shortRounds += shared * share * roundsOf(entries, splits);
    before = past;
  }
  const lines = linesOf(plan);
  const mean = stored / Math.max(1, rows);
  const even = mean > 8 && longestRow < 8 * mean;
  const steps = (parts: number): number => binModel.shuffle * exponentOf(parts) * vector;
  const nanoseconds =
    (longRounds + shortRounds) *
      (binModel.chunk[dtype] + (binModel.lines * lines) / 4 + binModel.groups * groups) +
    (shortRounds * binModel.rows) / share +
    (8 * blockItems + warpItems) * (binModel.longWarp + steps(groups)) +
    (items - blockItems - warpItems) * share * (binModel.shortWarp + steps(splits));
  const us = overlapped(
    binModel.start,
    binModel.overlap,
    longest * (lanes === 1 && width > 1 ? binModel.laneRound : binModel.round),
    (columnTiles * nanoseconds) / (1000 * device.multiprocessors),
    firstCacheTime(plan, features, columnTiles, device, binModel.firstCache, 0),
    memory.compulsory,
    (even ? binModel.distantEven : binModel.distant) *
      memory.distant *
      distantShare(features) *
      sectorsShare(plan, features),
  );
  const corrected = us * piecesShare(plan, features) * narrowShare(plan, features);
  // Not of fewer columns at once than eight.
  const less = plan.piece < vector && lanes * plan.piece >= 8 ? binModel.piecesLess : 0;
  return corrected - less + (segments > 0 ? binModel.segments : 0);
}
