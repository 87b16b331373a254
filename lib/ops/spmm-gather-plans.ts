// Plans of spmm's kernels that gather rows of B, and their expected microseconds on an H200, for lib/ops/spmm-plan.ts.

import type { SpmmPlan } from '../backends/calls/spmm.js';
import type { RowBins } from '../formats/row-bins.js';
import { mostInGrid, type PlanDevice } from '../planning/plan-device.js';
import { dtypeInfo } from '../tensor/dtype.js';
import type { SpmmFeatures } from './spmm-plan.js';
import { overlapped } from './spmm-time.js';

// The model: a launch, and then the longest of five, with a share of the others, since they overlap only in part.
//   rounds       the chain of loads of the longest row
//   issue        instructions of all warps of a multiprocessor
//   gather       bytes of B that are gathered; for float32 the instructions take longer, but where B passes the first cache
//   compulsory   operands from and to memory
//   distant      rows of B from far parts of the L2 cache
// Fitted by random search to a sweep over the likely plans of 73 matrices, 730 problems: the choice among row groups and row bins
// takes 3.5 % longer than the best plan on average, 1.5 times at most; the estimates are off by 19 % (root mean square).
const model = {
  start: 1.05,
  overlap: 0.1915,
  round: 0.442,
  // Nanoseconds of a multiprocessor: a chunk, the lines of 128 bytes that a warp touches for it in B (a quarter of them), a warp, a
  // step of its shuffles.
  chunk: 14.7,
  lines: 0.7272,
  warp: 29.45,
  shuffle: 0.4125,
  sharing: 0.0093,
  /** Of float32: warps of a row that end apart, where columns are few, or warps many without them. */
  sharedRow: 1.04,
  enoughWarps: 29,
  // A chunk of each further row of a warp: of float32 over eight lanes and more, and of any over fewer.
  otherRow: 0.869,
  otherNarrowRow: 0.245,
  // Bytes a microsecond of a multiprocessor.
  gathered: 76_460,
  distant: 0.903,
  shortRows: 1.15,
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
  const vector = vectors ? 16 / dtypeInfo[dtype].bytes : 1;
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

// Written out: plans by the dozen are made for every new problem, and copies of an object cost more than estimating them.
const gatherPlan = (
  variant: 'row-group' | 'row-bins',
  { vector, piece, lanes }: LaneColumns,
  splits: number,
  warps: number,
  blockItems: number,
  warpItems: number,
): SpmmPlan => ({
  variant,
  vector,
  piece,
  lanes,
  splits,
  warps,
  columns: 0,
  cluster: 1,
  warpRows: 0,
  blockItems,
  warpItems,
  padded: false,
});

/**
 * What plans take that do not load their columns at once, of the time that the models say, which were fitted to few of them: single
 * columns by lanes, pairs by the bytes of an element and lanes, four single columns of a lane by the bytes of an element. Medians of 550
 * random problems.
 */
const piecesShare = {
  'row-group': {
    single: { 1: 0.85, 8: 0.83, 32: 0.75 },
    pairs: { 4: { 4: 1.35, 8: 1.3, 16: 1.28, 32: 1.12 }, 2: { 4: 1.35, 16: 1.25 } },
    four: { 4: 1.27, 2: 1.4 },
  },
  'row-bins': {
    single: { 1: 1.1, 8: 0.89, 32: 0.73 },
    pairs: { 4: { 4: 1.6, 8: 1.7, 16: 1.7, 32: 1.55 }, 2: { 4: 1.8, 16: 1.6 } },
    four: { 4: 1.7, 2: 1.75 },
  },
} as const;

function piecesCorrection(
  { variant, vector, piece, lanes }: SpmmPlan,
  { width, dtype }: SpmmFeatures,
): number {
  if (piece === vector && (vector > 1 || width === 1)) return 1;
  const { single, pairs, four } = piecesShare[variant as 'row-group' | 'row-bins'];
  if (vector === 1) return single[lanes as 1 | 8 | 32];
  if (piece === 1) return four[dtypeInfo[dtype].bytes as 2 | 4];
  return dtype === 'float32' ? pairs[4][lanes as 4 | 8 | 16 | 32] : pairs[2][lanes as 4 | 16];
}

/** What several tiles of a few lanes take of the time that the models say, which were fitted to wider ones; but of rows of a few entries. */
const severalNarrow = 1.08;

function narrowShare({ vector, piece, lanes }: SpmmPlan, { width, stored, rows }: SpmmFeatures): number {
  const several = vector > 1 && piece === vector && lanes < 8 && width > lanes * vector;
  return several && stored > 8 * rows ? severalNarrow : 1;
}

/** @internal How lanes share out columns: matches has_columns of cuda/kernels/spmm/spmm.cu. */
export interface LaneColumns {
  readonly vector: number;
  readonly piece: number;
  readonly lanes: number;
}

/** @internal */
export type DenseOperands = Pick<SpmmFeatures, 'dtype' | 'width' | 'vectors' | 'pairs'>;

const shapes = (vector: number, piece: number, lanes: readonly number[]): readonly LaneColumns[] =>
  lanes.map((each) => ({ vector, piece, lanes: each }));
const singles = [...shapes(1, 1, [1, 8, 32]), ...shapes(4, 1, [32])];
const pairShapes = {
  4: [...shapes(1, 1, [1, 8, 32]), ...shapes(4, 2, [4, 8, 16, 32]), ...shapes(4, 1, [32])],
  2: [...shapes(1, 1, [1, 8, 32]), ...shapes(8, 2, [4, 16]), ...shapes(4, 1, [32])],
};
const wholes = { 4: shapes(4, 4, [2, 4, 8, 16, 32]), 2: shapes(8, 8, [1, 2, 4, 8, 16, 32]) };

/**
 * Those for operands, narrow ones first, that waste less than half of their lanes. Every tile of columns loads the entries anew: several of
 * eight columns took 1.0 to 2.3 times as long as wider ones, and more than four of two or four lanes 1.1 times. Of single columns the
 * narrowest takes everything.
 */
function laneColumns({ dtype, width, vectors, pairs }: DenseOperands): readonly LaneColumns[] {
  const bytes = dtypeInfo[dtype].bytes as 2 | 4;
  const all = vectors ? wholes[bytes] : pairs ? pairShapes[bytes] : singles;
  return all.filter(({ lanes, vector }, i) => {
    const tile = lanes * vector;
    if (vectors && lanes < 8 && width > (tile === 8 ? 1 : 4) * tile) return false;
    return i === 0 || 2 * width > tile;
  });
}

/** @internal Every plan of row groups that has a kernel and wastes less than half of its lanes. */
export function groupPlans(operands: DenseOperands): readonly SpmmPlan[] {
  const { width } = operands;
  const plans: SpmmPlan[] = [];
  for (const columns of laneColumns(operands)) {
    const { lanes, vector } = columns;
    if (lanes * vector === 1 && width > 4) continue;
    const all = 32 / lanes;
    const few = Math.max(1, all / 4);
    for (const splits of all === 1 ? [1] : lanes <= 2 && few > 1 ? [all, few, 1] : [all, few]) {
      for (const warps of splits === all ? [1, 2, 4, 8] : [1]) {
        plans.push(gatherPlan('row-group', columns, splits, warps, 0, 0));
      }
    }
  }
  return plans;
}

/** @internal */
export function groupTime(
  features: SpmmFeatures,
  device: PlanDevice,
  plan: SpmmPlan,
  memory = memoryTimes(features),
): number {
  const { dtype, rows, stored, longestRow, width, batch } = features;
  const { vector, lanes, splits, warps } = plan;
  const bytes = dtypeInfo[dtype].bytes;
  const tile = lanes * vector;
  const columnTiles = Math.ceil(width / tile) * batch;
  const totalWarps = Math.ceil((rows * lanes * splits) / 32) * warps * columnTiles;
  const lines = Math.max(vector === 1 ? 1 : 4, 32 / lanes);
  // Rows that share a warp wait for each other, and load entries from lines of their own.
  const otherRow = lanes < 8 ? model.otherNarrowRow : dtype === 'float32' ? model.otherRow : 0;
  const others = otherRow * (32 / (lanes * splits) - 1);
  const nanoseconds =
    roundsOf(stored / Math.max(1, rows), splits * warps) *
      (model.chunk + (model.lines * lines) / 4 + others) +
    model.warp +
    model.shuffle * Math.log2(splits) * vector;
  const us = overlapped(
    model.start,
    model.overlap,
    roundsOf(longestRow, splits * warps) * model.round,
    (totalWarps * nanoseconds) / (1000 * device.multiprocessors),
    dtype === 'float32'
      ? memory.gather
      : (stored * (tile * bytes + 4 + bytes) * columnTiles) / (model.gathered * device.multiprocessors),
    memory.compulsory,
    model.distant * memory.distant,
  );
  // Warps of one row of a few entries do little but wait for operands from afar.
  const waiting = memory.distant > 0 && stored <= 8 * rows && width * bytes >= 256 ? model.shortRows : 1;
  const corrected = us * waiting * piecesCorrection(plan, features) * narrowShare(plan, features);
  if (warps === 1) return corrected;
  const alone = totalWarps / warps >= device.multiprocessors * model.enoughWarps;
  const shared = dtype === 'float32' && (width <= 8 || alone) ? model.sharedRow : 1;
  return corrected * shared + model.sharing;
}

/**
 * Microseconds to gather rows of B in float32: what the rows that a multiprocessor works on at a time share comes from its own cache,
 * the more the denser and the more they are, and the rest from the L2 cache. Fitted to 83 problems of 128 and 512 columns.
 */
function floatGatherTime(features: SpmmFeatures): number {
  const { rows, columns, stored, width, batch } = features;
  if (slabBytes(features) < ownCacheBytes) return 0;
  const density = stored / (Math.max(1, rows) * columns);
  // Several column tiles share a cache.
  const tiles = width * 4 > widestTileBytes ? 1 : 1.3;
  const rate = tiles * (12e6 + 8e6 * Math.min(density, 0.2)) * Math.min(1.4, Math.max(1, rows / 1024));
  return (stored * width * batch * 4) / rate;
}

// Bytes a microsecond: operands that no cache holds, in the share of the bandwidth that gathering reaches; rows of B out of the L2
// cache, by the bytes of the part of B that blocks gather from at a time.
const memoryRate = 2.46e6;
const nearRate = 14e6;
const farRate = 5.8e6;
const nearSlab = 4e6;
const farSlab = 16e6;
const widestTileBytes = 512;
/** From here on a column tile of B passes the cache of a multiprocessor. */
const ownCacheBytes = 600_000;

/** Of the part of B that blocks gather from at a time. */
function slabBytes({ dtype, columns, width }: SpmmFeatures): number {
  return columns * Math.min(width * dtypeInfo[dtype].bytes, widestTileBytes);
}

/** @internal Whether most of that is far from a multiprocessor. */
export function gathersFar(features: SpmmFeatures): boolean {
  return slabBytes(features) > farSlab;
}

/** What does not depend on the plan, in microseconds: computed once for all plans of a problem. */
export interface MemoryTimes {
  readonly compulsory: number;
  readonly distant: number;
  /** float32 */
  readonly gather: number;
  /** One column: elements of B that are not in the cache of a multiprocessor. */
  readonly elements: number;
}

/** @internal */
export function memoryTimes(features: SpmmFeatures): MemoryTimes {
  const elements = elementTime(features);
  return {
    compulsory: compulsoryTime(features),
    distant: distantTime(features) + walking * elements,
    gather: features.dtype === 'float32' ? floatGatherTime(features) : 0,
    elements,
  };
}

// Microseconds a million, and the columns from which on elements have to be fetched, the more of them the more columns.
const elementTimes = { float32: 4.6, float16: 3.8, bfloat16: 3.8 };
/** Lanes that walk through rows of their own read entries from as many lines besides. */
const walking = 1.5;
const nearColumns = 32_768;
const farColumns = 131_072;

/** Microseconds to gather elements of one column from the L2 cache, 32 bytes each. */
function elementTime({ dtype, columns, stored, width, batch }: SpmmFeatures): number {
  if (width > 1 || columns <= nearColumns) return 0;
  const share = Math.min(1, Math.log(columns / nearColumns) / Math.log(farColumns / nearColumns));
  return (share * stored * batch * elementTimes[dtype]) / 1e6;
}

/** Microseconds to read A and B and to write C once, all from and to memory. */
function compulsoryTime({ dtype, rows, columns, stored, width, batch }: SpmmFeatures): number {
  const bytes = dtypeInfo[dtype].bytes;
  const dense = bytes * batch * width * (Math.min(columns, stored) + rows);
  return (dense + stored * (4 + bytes)) / memoryRate;
}

/** Microseconds to gather rows of B from the L2 cache, where B is too large to stay close. Narrow tiles were measured to gain nothing. */
function distantTime(features: SpmmFeatures): number {
  const { dtype, stored, width, batch } = features;
  const slab = slabBytes(features);
  if (slab <= nearSlab) return 0;
  const share = Math.min(1, Math.log(slab / nearSlab) / Math.log(farSlab / nearSlab));
  const gathered = stored * width * dtypeInfo[dtype].bytes * batch;
  return gathered / (nearRate * (farRate / nearRate) ** share);
}

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
        const blockItems = bins.atLeast[Math.min(most, Math.log2((128 * rounds) / lanes))];
        const byWarps = bins.atLeast[Math.min(most, Math.log2(4 * splits * rounds))];
        const warpItems = lanes * splits === 32 ? 0 : byWarps - blockItems;
        // Fewer items the more rounds: a plan that was there comes right before.
        if (blockItems === before && warpItems === warpsBefore) continue;
        before = blockItems;
        warpsBefore = warpItems;
        plans.push(gatherPlan('row-bins', columns, splits, 1, blockItems, warpItems));
      }
    }
  }
  return plans;
}

// As `model`, of the same sweep.
const binModel = {
  start: 1.51,
  overlap: 0.306,
  round: 0.468,
  // Nanoseconds of a multiprocessor; `rows`: a chunk of each row that shares a warp, whose entries lie in lines of their own.
  chunk: 16.51,
  lines: 0.8,
  groups: 0.0947,
  rows: 0.637,
  longWarp: 22.66,
  shortWarp: 22.95,
  shuffle: 1.841,
  // Bytes of half rows that a multiprocessor gathers in a microsecond.
  gathered: 75_960,
  // Uneven patterns have popular columns, whose rows of B stay close; equally long rows of some chunks are left to row groups.
  distant: 0.671,
  distantEven: 0.892,
  segments: 0.996,
};

/** Of the items of a power of two, which a power takes longer to compute than everything else of a plan. */
const typicalEntries = Array.from({ length: 32 }, (_, exponent) => 1.45 * 2 ** exponent);

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
  const bytes = dtypeInfo[dtype].bytes;
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
  const lines = Math.max(vector === 1 ? 1 : 4, groups);
  const mean = stored / Math.max(1, rows);
  const even = mean > 8 && longestRow < 8 * mean;
  const steps = (parts: number): number => binModel.shuffle * Math.log2(parts) * vector;
  const nanoseconds =
    (longRounds + shortRounds) * (binModel.chunk + (binModel.lines * lines) / 4 + binModel.groups * groups) +
    (shortRounds * binModel.rows) / share +
    (8 * blockItems + warpItems) * (binModel.longWarp + steps(groups)) +
    (items - blockItems - warpItems) * share * (binModel.shortWarp + steps(splits));
  const us = overlapped(
    binModel.start,
    binModel.overlap,
    longest * binModel.round,
    (columnTiles * nanoseconds) / (1000 * device.multiprocessors),
    dtype === 'float32'
      ? 0
      : (stored * tile * bytes * columnTiles) / (binModel.gathered * device.multiprocessors),
    memory.compulsory,
    (even ? binModel.distantEven : binModel.distant) * memory.distant,
  );
  const corrected = us * piecesCorrection(plan, features) * narrowShare(plan, features);
  return corrected + (segments > 0 ? binModel.segments : 0);
}
