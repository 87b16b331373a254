// Plans of spmm's kernels that gather rows of B, and their expected microseconds on an H200, for lib/ops/spmm-plan.ts.

import { noParameters, type SpmmPlan } from '../backends/calls/spmm.js';
import type { FloatDType } from '../tensor/dtype.js';
import type { PlanDevice, SpmmFeatures } from './spmm-plan.js';
import { overlapped } from './spmm-time.js';

/** Of column tiles, or problems of a batch. */
export const mostInGrid = 65_535;

const bytesOf = (dtype: FloatDType): number => (dtype === 'float32' ? 4 : 2);

// The model: a launch, and then the longest of five, with a share of the others, since they overlap only in part.
//   rounds       the chain of loads of the longest row
//   issue        instructions of all warps of a multiprocessor
//   gather       bytes of B that are gathered; for float32 the instructions take longer, but where B passes the first cache
//   compulsory   operands from and to memory
//   distant      rows of B from far parts of the L2 cache
// Fitted by random search to a sweep over the likely plans of 73 matrices, 730 problems: the choice among row groups and row bins
// takes 3.5 % longer than the best plan on average, 1.5 times at most; the estimates are off by 19 % (root mean square).
const model = {
  start: 1.088,
  overlap: 0.204,
  round: 0.4425,
  // Nanoseconds of a multiprocessor: a chunk, the lines of 128 bytes that a warp touches for it in B (a quarter of them), a warp, a
  // step of its shuffles.
  chunk: 14.81,
  lines: 0.6985,
  warp: 29.45,
  shuffle: 0.394,
  sharing: 0.0096,
  // float32: nanoseconds a chunk of each further row of a warp.
  otherRow: 1,
  // Bytes a microsecond of a multiprocessor.
  gathered: 73_470,
  distant: 0.903,
  split: {
    entry: 0.2241,
    perEntry: 7.322,
    warp: 69.81,
    gathered: { float32: 15_019, float16: 98_629, bfloat16: 98_629 },
  },
};

/** @internal */
export function splitTime(features: SpmmFeatures, device: PlanDevice): number {
  const { dtype, rows, stored, longestRow, width, batch, vectors } = features;
  const vector = vectors ? 16 / bytesOf(dtype) : 1;
  const lanes = width <= 8 * vector ? 8 : 32;
  const warpsAcross = (Math.ceil(width / (lanes * vector)) * batch * lanes) / 32;
  const { split } = model;
  const nanoseconds = warpsAcross * (stored * split.perEntry + rows * split.warp);
  return overlapped(
    model.start,
    model.overlap,
    longestRow * split.entry,
    nanoseconds / (1000 * device.multiprocessors),
    (stored * width * batch * bytesOf(dtype)) / (split.gathered[dtype] * device.multiprocessors),
    compulsoryTime(features),
    model.distant * distantTime(features),
  );
}

/** @internal Every plan of row groups that has a kernel and wastes less than half of its lanes. */
export function* groupPlans({
  dtype,
  width,
  vectors,
}: Pick<SpmmFeatures, 'dtype' | 'width' | 'vectors'>): Iterable<SpmmPlan> {
  const vector = vectors ? 16 / bytesOf(dtype) : 1;
  const widths = vector === 1 ? [1, 8, 32] : vector === 4 ? [2, 8, 16, 32] : [1, 4, 8, 16, 32];
  for (const lanes of widths) {
    // The narrowest shape takes everything; a wider one pays where most of its lanes have columns.
    if (lanes !== widths[0] && 2 * width <= lanes * vector) continue;
    if (lanes === widths[0] && width > 4 * lanes * vector) continue;
    const all = 32 / lanes;
    for (const splits of new Set([all, Math.max(1, all / 4), lanes <= 2 ? 1 : all])) {
      for (const warps of splits === all ? [1, 2, 4, 8] : [1]) {
        yield { ...noParameters, variant: 'row-group', vector, lanes, splits, warps };
      }
    }
  }
}

/** @internal */
export function groupTime(features: SpmmFeatures, device: PlanDevice, plan: SpmmPlan): number {
  const { dtype, rows, stored, longestRow, width, batch } = features;
  const { vector, lanes, splits, warps } = plan;
  const bytes = bytesOf(dtype);
  const tile = lanes * vector;
  const columnTiles = Math.ceil(width / tile) * batch;
  const totalWarps = Math.ceil((rows * lanes * splits) / 32) * warps * columnTiles;
  // Rows begin anywhere in a chunk of four.
  const rounds = (entries: number): number => Math.ceil((entries + 1.5) / (4 * splits * warps));
  const lines = Math.max(vector === 1 ? 1 : 4, 32 / lanes);
  // Rows that share a warp wait for each other, and load entries from lines of their own.
  const others = dtype === 'float32' && lanes >= 8 ? model.otherRow * (32 / (lanes * splits) - 1) : 0;
  const nanoseconds =
    rounds(stored / Math.max(1, rows)) * (model.chunk + (model.lines * lines) / 4 + others) +
    model.warp +
    model.shuffle * Math.log2(splits) * vector;
  const us = overlapped(
    model.start,
    model.overlap,
    rounds(longestRow) * model.round,
    (totalWarps * nanoseconds) / (1000 * device.multiprocessors),
    dtype === 'float32'
      ? floatGatherTime(features)
      : (stored * (tile * bytes + 4 + bytes) * columnTiles) / (model.gathered * device.multiprocessors),
    compulsoryTime(features),
    model.distant * distantTime(features),
  );
  return us + (warps > 1 ? model.sharing : 0);
}

/**
 * Microseconds to gather rows of B in float32: what the rows that a multiprocessor works on at a time share comes from its own cache,
 * the more the denser and the more they are, and the rest from the L2 cache. Fitted to 83 problems of 128 and 512 columns.
 */
function floatGatherTime({ rows, columns, stored, width, batch }: SpmmFeatures): number {
  if (columns * Math.min(width * 4, widestTileBytes) < ownCacheBytes) return 0;
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
const nearBytes = 4e6;
const farBytes = 16e6;
const widestTileBytes = 512;
/** From here on a column tile of B passes the cache of a multiprocessor. */
const ownCacheBytes = 600_000;

/** Microseconds to read A and B and to write C once, all from and to memory. */
function compulsoryTime({ dtype, rows, columns, stored, width, batch }: SpmmFeatures): number {
  const bytes = bytesOf(dtype);
  const dense = bytes * batch * width * (Math.min(columns, stored) + rows);
  return (dense + stored * (4 + bytes)) / memoryRate;
}

/** Microseconds to gather rows of B from the L2 cache, where B is too large to stay close. Narrow tiles were measured to gain nothing. */
function distantTime({ dtype, columns, stored, width, batch }: SpmmFeatures): number {
  const bytes = bytesOf(dtype);
  const slab = columns * Math.min(width * bytes, widestTileBytes);
  if (slab <= nearBytes) return 0;
  const share = Math.min(1, Math.log(slab / nearBytes) / Math.log(farBytes / nearBytes));
  const gathered = stored * width * bytes * batch;
  return gathered / (nearRate * (farRate / nearRate) ** share);
}

/** @internal Every plan of row bins that has a kernel and wastes less than half of its lanes. */
export function* binPlans({
  dtype,
  width,
  vectors,
  bins,
}: Pick<SpmmFeatures, 'dtype' | 'width' | 'vectors' | 'bins'>): Iterable<SpmmPlan> {
  if (bins === undefined) return;
  const vector = vectors ? 16 / bytesOf(dtype) : 1;
  const widths = vector === 1 ? [1, 8, 32] : vector === 4 ? [2, 8, 16, 32] : [1, 4, 8, 16, 32];
  const most = bins.atLeast.length - 1;
  for (const lanes of widths) {
    if (lanes !== widths[0] && 2 * width <= lanes * vector) continue;
    if (width > mostInGrid * lanes * vector) continue;
    for (const splits of lanes <= 8 ? [1, 4] : [1]) {
      const seen = new Set<string>();
      for (const rounds of [2, 4, 8, 16, 32]) {
        // An item takes more lanes where it would take a group, and then a warp, more than `rounds` rounds of four entries.
        const exponent = (groups: number): number => Math.min(most, Math.log2(4 * groups * rounds));
        const blockItems = bins.atLeast[exponent(32 / lanes)];
        const warpItems = lanes * splits === 32 ? 0 : bins.atLeast[exponent(splits)] - blockItems;
        const key = `${blockItems} ${warpItems}`;
        if (seen.has(key)) continue;
        seen.add(key);
        yield { ...noParameters, variant: 'row-bins', vector, lanes, splits, blockItems, warpItems };
      }
    }
  }
}

// As `model`, of the same sweep.
const binModel = {
  start: 1.522,
  overlap: 0.306,
  round: 0.472,
  // Nanoseconds of a multiprocessor.
  chunk: 15.3,
  lines: 0.946,
  groups: 0.343,
  longWarp: 22.41,
  shortWarp: 22.95,
  shuffle: 1.838,
  // Bytes of half rows that a multiprocessor gathers in a microsecond.
  gathered: 74_580,
  distant: 0.771,
  segments: 0.853,
};

/** @internal */
export function binTime(features: SpmmFeatures, device: PlanDevice, plan: SpmmPlan): number {
  const { dtype, stored, longestRow, width, batch } = features;
  const { items, segments, limit, atLeast } = features.bins as NonNullable<SpmmFeatures['bins']>;
  const { vector, lanes, splits, blockItems, warpItems } = plan;
  const bytes = bytesOf(dtype);
  const tile = lanes * vector;
  const columnTiles = Math.ceil(width / tile) * batch;
  const groups = 32 / lanes;
  const share = (lanes * splits) / 32;
  const roundsOf = (entries: number, parts: number): number =>
    entries === 0 ? 0 : Math.ceil((entries + 1.5) / (4 * parts));
  let longest = 0;
  let rounds = 0;
  // Items of one power of two, the long ones first: some of them by blocks, some by warps, the rest by parts of warps.
  for (let exponent = atLeast.length - 1, before = 0; exponent >= -1; --exponent) {
    const past = exponent < 0 ? items : atLeast[exponent];
    const entries = exponent < 0 ? 0 : Math.min(1.45 * 2 ** exponent, longestRow, limit);
    const [blocks, warps] = [Math.min(past, blockItems), Math.min(past, blockItems + warpItems)];
    const byBlock = Math.max(0, blocks - before);
    const byWarp = Math.max(0, warps - Math.max(before, blockItems));
    const shared = past - before - byBlock - byWarp;
    if (byBlock > 0) longest = Math.max(longest, roundsOf(entries, 8 * groups));
    if (byWarp > 0) longest = Math.max(longest, roundsOf(entries, groups));
    if (shared > 0) longest = Math.max(longest, roundsOf(entries, splits));
    rounds +=
      8 * byBlock * roundsOf(entries, 8 * groups) +
      byWarp * roundsOf(entries, groups) +
      shared * share * roundsOf(entries, splits);
    before = past;
  }
  const lines = Math.max(vector === 1 ? 1 : 4, groups);
  const steps = (parts: number): number => binModel.shuffle * Math.log2(parts) * vector;
  const nanoseconds =
    rounds * (binModel.chunk + (binModel.lines * lines) / 4 + binModel.groups * groups) +
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
    compulsoryTime(features),
    binModel.distant * distantTime(features),
  );
  return us + (segments > 0 ? binModel.segments : 0);
}
