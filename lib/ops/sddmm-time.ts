// How long the kernels of sddmm take: microseconds on an H200, replayed from a graph, for lib/ops/sddmm-plan.ts.

import type { SddmmPlan } from '../backends/calls/sddmm.js';
import { shapeIndexOf, tileShapes } from '../formats/tile-shapes.js';
import { crowds, evenness, type Occupancy, unevenly } from '../planning/occupancy.js';
import type { PlanDevice } from '../planning/plan-device.js';
import { dtypeInfo } from '../tensor/dtype.js';
import { lineBytes, sectorBytes } from './cache-lines.js';
import { type SddmmKernel, sddmmCosts } from './sddmm-costs.js';
import { stageSteps } from './sddmm-needs.js';
import {
  rowBundle,
  sddmmOccupancy,
  segmentOf,
  unevenBlocks,
  warpsOf,
  warpsOfBlock,
  wholeWavesOf,
} from './sddmm-occupancy.js';
import type { SddmmFeatures } from './sddmm-plan.js';
import { shareBetween, shareOfMagnitudes } from './times.js';
import { vectorBytes } from './vectors.js';

/** The H200's, which the times were fitted on. */
const fittedMultiprocessors = 132;

type ByRows = { readonly [rows: number]: number };

// Of kernels that crowd: the share of the time of blocks that a multiprocessor has room for besides which blocks that are spread evenly save, and
// microseconds that the next kernel's are late where they wait. From 2,400 plans of 2,400 random problems that ran both ways.
interface Spread {
  readonly saved: number;
  readonly late: number;
}
const spreading: { readonly [kernel in SddmmKernel]?: Spread } = {
  rows: { saved: 0.5, late: 0.6 },
  gather: { saved: 0.6, late: 0.95 },
  tiles: { saved: 0.9, late: 1 },
  staged: { saved: 0.85, late: 0.85 },
  // Warpgroups never do: one of their two blocks leaves room enough.
};
// Of rows in bundles, where blocks leave at most three sevenths of what a multiprocessor holds: from 622 plans of 479 random problems (2026-11-22).
// They took 0.94 of the time so, but 1.06 where five blocks of nine were bundled, and 1.01 where warps share rows and none has a segment of its own.
// How much room is left makes no other difference.
const bundling = { saved: 0.11, savedOfParts: 0.05, late: 0.18, mostRoom: 0.43 };
// Of the time, to be worth it.
const mostPlaced = 0.97;

/** @internal Of a plan by rows, elements or tiles, alone or in bundles where that takes less time. */
export const sddmmTime = (features: SddmmFeatures, card: PlanDevice, plan: SddmmPlan): number =>
  plan.variant === 'segments' ? Number.POSITIVE_INFINITY : expectedSddmm(features, card, plan).us;

/** @internal */
export interface Expected {
  readonly us: number;
  /** The blocks of the next kernel wait for the end of these; or so many of these are launched as one. */
  readonly alone: boolean;
  readonly bundle: number;
}

/** @internal How long a plan takes where its blocks are placed as is best. */
export function expectedSddmm(
  features: SddmmFeatures,
  { multiprocessors, clusters }: PlanDevice,
  plan: SddmmPlan,
): Expected {
  const occupancy = sddmmOccupancy(features, multiprocessors, plan);
  const us = timeBeside(features, multiprocessors, plan, occupancy);
  // Before compute capability 9.0 no kernel has the next one's blocks beside its own, and large blocks may leave multiprocessors half empty.
  if (!clusters) return { us, alone: false, bundle: 1 };
  const bundle = plan.variant === 'rows' ? rowBundle(features, multiprocessors, plan, occupancy) : 1;
  const placed =
    bundle > 1 ? timeBundled(us, features, plan, occupancy) : timeSpread(us, features, plan, occupancy);
  if (placed >= mostPlaced * us) return { us, alone: false, bundle: 1 };
  return { us: placed, alone: bundle === 1, bundle };
}

/** Where the next kernel's blocks are placed as soon as there is room. */
function timeBeside(
  features: SddmmFeatures,
  multiprocessors: number,
  plan: SddmmPlan,
  occupancy: Occupancy,
): number {
  const { variant, vector, lanes, tile } = plan;
  const costs = sddmmCosts[features.dtype === 'float32' ? 'float32' : 'half'][variant as SddmmKernel];
  const weights = costs[vector][tile > 0 ? tile : lanes];
  const termsOf = tile > 0 ? tileTerms : gatherTerms;
  const terms = termsOf(features, multiprocessors, plan, occupancy);
  const us = weights.reduce((sum, weight, i) => sum + weight * terms[i], 0);
  return us * (tile > 0 ? stripsShare(features, plan) : scatteredShare(features, plan));
}

// By how much longer single lanes take that read single columns or pairs of rows of so many bytes, where those of neighbouring lanes lie apart:
// from 311 problems of two hunts (2026-11-22).
const scatteredRows = {
  /** By the elements that a lane loads at once: bytes of a row from which on they do, and most. */
  bytes: { 1: [14, 19], 2: [24, 34] },
  most: { rows: { 4: 0.34, 2: 0.14 }, gather: { 4: 0.38, 2: 0.38 } },
  /** Elements of a tile of 32 rows below which a pattern that stores little is scattered all the same. */
  tileElements: 64,
} as const;

function scatteredShare(features: SddmmFeatures, { variant, vector, lanes }: SddmmPlan): number {
  if (lanes > 1 || vector > 2) return 1;
  const { dtype, stored, depth, tiles } = features;
  if (isLocal(features, tileShapes[0].rows) && stored >= scatteredRows.tileElements * tiles[0]) return 1;
  const bytes = dtypeInfo[dtype].bytes as 2 | 4;
  const [some, all] = scatteredRows.bytes[vector as 1 | 2];
  return 1 + scatteredRows.most[variant as 'rows' | 'gather'][bytes] * shareBetween(depth * bytes, some, all);
}

/** Of what a multiprocessor holds, the share that blocks leave. */
const roomLeft = ({ blocks, resident }: Occupancy): number => 1 - blocks / resident;

/** Where they wait, of a plan that takes `us` otherwise; infinite where its blocks are spread evenly anyway, or fill all there is. */
function timeSpread(us: number, features: SddmmFeatures, plan: SddmmPlan, occupancy: Occupancy): number {
  const spread = spreading[plan.variant as SddmmKernel];
  if (spread === undefined || !unevenly(occupancy)) return Number.POSITIVE_INFINITY;
  const even = plan.variant === 'rows' ? evenness(features) : 1;
  return us * (1 - spread.saved * even * roomLeft(occupancy)) + spread.late;
}

/** In bundles, of a plan that can be bundled. */
function timeBundled(us: number, features: SddmmFeatures, plan: SddmmPlan, occupancy: Occupancy): number {
  if (roomLeft(occupancy) > bundling.mostRoom) return Number.POSITIVE_INFINITY;
  const { rows, stored } = features;
  const ofParts = plan.splits > 1 && stored < rows * plan.splits * segmentOf(plan.lanes);
  const saved = ofParts ? bundling.savedOfParts : bundling.saved;
  return us * (1 - saved * evenness(features)) + bundling.late;
}

/** @internal Rows of so many bytes begin at all multiples of this, as `unit` bytes see it: the largest power of two that divides them. */
export function rowStep(rowBytes: number, unit = lineBytes): number {
  const rest = rowBytes % unit;
  return rest === 0 ? unit : rest & -rest;
}

/** How many units of so many bytes a piece of a row lies across, on average over the places where rows begin. */
function unitsAcross(unit: number, pieceBytes: number, rowBytes: number, lines: boolean): number {
  if (lines) return Math.ceil(pieceBytes / unit);
  const step = rowStep(rowBytes, unit);
  let across = 0;
  for (let start = 0; start < unit; start += step) across += Math.ceil((start + pieceBytes) / unit);
  return (across * step) / unit;
}

/** Lines that the lanes of an element touch, step by step along the depth. */
function linesOfRow(rowBytes: number, stepBytes: number, lines: boolean): number {
  const whole = Math.floor(rowBytes / stepBytes);
  const rest = rowBytes - whole * stepBytes;
  const ofRest = rest > 0 ? unitsAcross(lineBytes, rest, rowBytes, lines) : 0;
  return (whole > 0 ? whole * unitsAcross(lineBytes, stepBytes, rowBytes, lines) : 0) + ofRest;
}

/**
 * Of the bytes that `rows` rows of a pattern gather, those that differ: the rows of a tile store a column with the same probability,
 * `density`, and independently of each other.
 */
function distinctShare(rows: number, density: number): number {
  return density > 0 ? Math.min(1, (1 - (1 - density) ** rows) / (rows * density)) : 1;
}

// Bytes of B up to which rows of it are near in L2, and from which on most are far.
const nearBytes = 2e6;
const farBytes = 20e6;

const farShare = (bytes: number): number => shareOfMagnitudes(bytes, nearBytes, farBytes);

// Bytes that the L2 cache holds on to.
const keptBytes = 40e6;

/** Of so many bytes that are read over and over, the share that comes from memory each time. */
const missShare = (bytes: number): number => (bytes > keptBytes ? 1 - keptBytes / bytes : 0);

// Of `gather` where most rows are empty: a warp's elements lie in more than 32 rows, and each lane searches for its own. Rows an element
// from which on some warps do, and all.
const ownSearch = { some: 0.95, all: 1.15 };

function ownSearchSteps({ rows, stored }: SddmmFeatures): number {
  if (rows <= ownSearch.some * stored) return 0;
  return shareBetween(rows / stored, ownSearch.some, ownSearch.all) * Math.log2(rows);
}

// Kilobytes of lines that lanes of a multiprocessor walk along: from some on, L1 loses some before they are through, and all.
const keptLines = { some: 64, all: 192 };

const lostShare = (lines: number): number =>
  shareBetween((lines * lineBytes) / 1024, keptLines.some, keptLines.all);

/** Problems, of as many multiprocessors as the times were fitted on. */
const scaleOf = (batch: number, multiprocessors: number): number =>
  (batch * fittedMultiprocessors) / multiprocessors;

/** What kernels by rows or elements read, in megabytes, and the lines that their lanes touch, in millions. */
interface Traffic {
  readonly gathered: number;
  /** Of that, what the rows that run together do not have in common, and as much of it as is far in L2. */
  readonly distinct: number;
  readonly far: number;
  readonly touched: number;
  /** Read again, once L1 has lost it. */
  readonly lost: number;
  /** At most one row of B a tile's column. */
  readonly ofTiles: number;
  /** Rows of B from memory, and those of A, once. */
  readonly missed: number;
  readonly streamed: number;
}

function trafficOf(
  features: SddmmFeatures,
  multiprocessors: number,
  plan: SddmmPlan,
  occupancy: Occupancy,
): Traffic {
  const { dtype, rows, columns, stored, depth, batch, lines, tiles } = features;
  const { variant, vector, lanes, splits } = plan;
  const { bytes } = dtypeInfo[dtype];
  const rowBytes = depth * bytes;
  const stepBytes = lanes * vector * bytes;
  const segment = segmentOf(lanes);
  const resident = occupancy.resident * warpsOfBlock;
  const scale = scaleOf(batch, multiprocessors);
  const millions = (stored / 1e6) * scale;
  const gathered = millions * unitsAcross(sectorBytes, rowBytes, rowBytes, lines) * sectorBytes;
  // Warps that run together on a multiprocessor, and of a row; what their rows have in common is gathered once.
  const together = Math.min(resident, Math.max(1, warpsOf(features, plan) / multiprocessors));
  const perRow = variant === 'gather' ? Math.max(1, stored / Math.max(1, rows)) / segment : splits;
  const density = Math.min(0.999, stored / (tiles[0] * tileShapes[0].rows * tileShapes[0].columns));
  const share = distinctShare(Math.max(1, together / perRow), density);
  // Elements of a warp; the lines of B that lanes are in the middle of where they read less than one at a step.
  const inWarp = variant === 'gather' ? segment : Math.min(segment, stored / Math.max(1, rows) / splits);
  const walked = stepBytes < lineBytes ? share * together * inWarp : 0;
  const distinct = gathered * share;
  return {
    gathered,
    distinct,
    far: distinct * farShare(columns * rowBytes),
    touched: millions * linesOfRow(rowBytes, stepBytes, lines),
    lost: millions * (Math.ceil(rowBytes / stepBytes) - 1) * sectorBytes * lostShare(walked),
    ofTiles: gathered * Math.min(1, (tiles[0] * tileShapes[0].columns) / Math.max(1, stored)),
    missed: distinct * missShare(columns * rowBytes),
    streamed: ((rows * rowBytes) / 1e6) * scale * missShare((rows + columns) * rowBytes),
  };
}

/** Kernels by rows or elements: what the weights of `sddmmCosts` are microseconds of. */
function gatherTerms(
  features: SddmmFeatures,
  multiprocessors: number,
  plan: SddmmPlan,
  occupancy: Occupancy,
): readonly number[] {
  const { rows, stored, longestRow, depth, batch } = features;
  const { variant, vector, lanes, splits } = plan;
  // Along the depth.
  const steps = Math.ceil(depth / (lanes * vector));
  const segment = segmentOf(lanes);
  const warps = warpsOf(features, plan);
  const waves = Math.max(0, (warps * batch) / (multiprocessors * occupancy.resident * warpsOfBlock) - 1);
  const wholeWaves = wholeWavesOf(occupancy);
  const launched = (warps / 1000) * scaleOf(batch, multiprocessors);
  const { gathered, distinct, far, touched, lost, ofTiles, missed, streamed } = trafficOf(
    features,
    multiprocessors,
    plan,
    occupancy,
  );
  const shared = [gathered, distinct, far, touched, waves, lost, ofTiles, wholeWaves - 1, missed, streamed];
  const crowded = crowds(occupancy) ? 1 : 0;
  const uneven = unevenBlocks(occupancy) / occupancy.resident;
  const crowding = [crowded, crowded * steps, uneven * gathered, uneven * distinct];
  if (variant === 'gather') {
    const search = Math.log2(Math.max(1, rows)) / 10;
    const own = ownSearchSteps(features);
    return [1, search, steps, launched, launched * steps, ...shared, wholeWaves * steps, own, ...crowding];
  }
  const longest = Math.ceil(longestRow / (segment * splits));
  // Segments of a warp; one begins anywhere.
  const segments = stored / Math.max(1, warps * segment);
  const parts = launched * Math.max(1, segments + 0.5);
  const swept = wholeWaves * Math.ceil(segments);
  // Warps of one wave sweep their rows in step, and the L2 cache sends what they ask for together once.
  const apart = wholeWaves > 1 ? [gathered, distinct, far] : [0, 0, 0];
  // Lanes that have no columns in the last step go through it all the same.
  const partial = depth % (lanes * vector) > 0 ? parts : 0;
  const chain = [1, longest, Math.sqrt(longest) * steps, launched, parts, parts * steps];
  return [...chain, ...shared, swept, swept * steps, ...apart, ...crowding, partial];
}

/** Units of `staged` that a block sums at once: matches StagedShape of cuda/kernels/sddmm/staged_float32.cu. */
const unitsAtOnce: ByRows = { 32: 256, 64: 512, 128: 1024, 256: 1024 };

// Units of the fullest tiles, of those of the mean: of patterns that are scattered over this share of all tiles or more, and of bands and windows.
const scattered = 0.7;
const fullestTile = { spread: 1.1, local: 1.6 };

// By how much longer `staged` takes where tiles of a strip of rows are nearly full and nearly empty, as those of a band are, the more the longer
// rows are: from 229 plans of 256 bands and windows (2026-11-22). Windows have one and a half tiles a strip, narrow bands two, and of wide bands
// most tiles are full.
const unevenStrips = { most: 0.15, fewest: 1.5, several: 1.95, many: 3, all: 6, rowElements: 24 };

function stripsShare(features: SddmmFeatures, { variant, tile }: SddmmPlan): number {
  if (variant !== 'staged' || !isLocal(features, tile)) return 1;
  const { rows, stored, tiles } = features;
  const ofStrip = (tiles[shapeIndexOf(tile)] * tile) / Math.max(1, rows);
  const { most, fewest, several, many, all, rowElements } = unevenStrips;
  const share = shareBetween(ofStrip, fewest, several) - shareBetween(ofStrip, many, all);
  return 1 + most * share * Math.min(1, stored / Math.max(1, rows) / rowElements);
}

/** Whether a pattern stores something in few of all tiles: bands and windows. */
function isLocal({ rows, columns, tiles }: SddmmFeatures, tile: number): boolean {
  const shape = shapeIndexOf(tile);
  return tiles[shape] < scattered * Math.ceil(rows / tile) * Math.ceil(columns / tileShapes[shape].columns);
}

/** Stages that a block of `staged` fills, and what its threads sum of them. */
function stagedWork({ dtype, stored, depth }: SddmmFeatures, tile: number, count: number, local: boolean) {
  const rowBytes = depth * dtypeInfo[dtype].bytes;
  const steps = stageSteps(dtype, depth);
  const rowElements = stored / (count * tile);
  // A row has one that is not full.
  const units = tile * (rowElements / 4 + 0.375 * (1 - Math.exp(-rowElements)));
  const fullest = local ? fullestTile.local : fullestTile.spread;
  // Short rows are copied until they fill a stage, and summed once.
  const summed =
    steps > 1 ? steps : Math.min(1, 2 ** Math.ceil(Math.log2(Math.max(1, rowBytes / vectorBytes))) / 8);
  return {
    brought: steps * Math.max(1, Math.ceil((units * fullest) / unitsAtOnce[tile])),
    sums: (units / 256) * summed,
  };
}

/** Kernels by tiles: what the weights of `sddmmCosts` are microseconds of. */
function tileTerms(
  features: SddmmFeatures,
  multiprocessors: number,
  plan: SddmmPlan,
  occupancy: Occupancy,
): readonly number[] {
  const { dtype, stored, depth, batch, tiles } = features;
  const { variant, tile } = plan;
  const count = tiles[shapeIndexOf(tile)];
  // Blocks of a multiprocessor on average, and of the one that has most; thousands of elements of them and of a block.
  const mean = (count * batch) / multiprocessors;
  const most = occupancy.blocks;
  const elements = stored / count / 1000;
  const local = isLocal(features, tile);
  const crowded = crowds(occupancy) ? 1 : 0;
  const uneven = unevenBlocks(occupancy);
  const placing = (steps: number, work: number): readonly number[] => [
    crowded,
    crowded * steps,
    uneven * steps,
    uneven * work,
    local ? mean : 0,
    local ? mean * steps : 0,
  ];
  if (variant === 'staged') {
    const { brought, sums } = stagedWork(features, tile, count, local);
    const copies = [1, brought, mean, mean * brought, (most - 1) * brought];
    const products = [mean * sums, most * sums, most * elements, mean * elements, elements, sums];
    return [...copies, ...products, ...placing(brought, sums)];
  }
  const steps = stageSteps(dtype, depth);
  // The copy engine takes longer for rows of a single vector.
  const short = depth * dtypeInfo[dtype].bytes <= vectorBytes ? mean : 0;
  const later = wholeWavesOf(occupancy) - 1;
  const stages = [1, steps, most - 1, (most - 1) * steps, mean * steps];
  const sampled = [mean * elements, elements, short, later, later * steps];
  return [...stages, ...sampled, ...placing(steps, elements)];
}
