// How long the kernels of sddmm take: microseconds on an H200, replayed from a graph, for lib/ops/sddmm-plan.ts.

import type { SddmmPlan } from '../backends/calls/sddmm.js';
import { tileShapes } from '../formats/tile-shapes.js';
import { reservedBytes } from '../planning/plan-device.js';
import { dtypeInfo, type FloatDType } from '../tensor/dtype.js';
import { lineBytes, sectorBytes } from './cache-lines.js';
import { sddmmCosts } from './sddmm-costs.js';
import { sddmmNeeds, stageSteps } from './sddmm-needs.js';
import type { SddmmFeatures } from './sddmm-plan.js';
import { vectorBytes } from './vectors.js';

/** The H200's, which the times were fitted on. */
const fittedMultiprocessors = 132;

/** @internal Elements that a warp takes at once: matches GatherShape of cuda/kernels/sddmm/gather.cuh. */
export const segmentOf = (lanes: number): number => (lanes <= 8 ? 32 : 256 / lanes);

type ByLanes = { readonly [lanes: number]: number };
type ByRows = { readonly [rows: number]: number };

// Warps that a multiprocessor holds at once; the registers of the kernels of cuda/kernels/sddmm/gather.cuh decide.
const residentWarps = {
  rows: { 1: 48, 2: 32, 4: 36, 8: 16, 16: 24, 32: 16 },
  rowsPairs: { 4: 40, 8: 20, 16: 32, 32: 20 },
  rowsScalar: { 1: 64, 8: 28, 32: 32 },
  gather: { 1: 48, 2: 40, 4: 32, 8: 20, 16: 20, 32: 20 },
} as const;

function residentWarpsOf({ variant, vector, lanes }: SddmmPlan): number {
  const byLanes: ByLanes =
    variant === 'gather'
      ? residentWarps.gather
      : vector === 1
        ? residentWarps.rowsScalar
        : vector === 2
          ? residentWarps.rowsPairs
          : residentWarps.rows;
  return byLanes[lanes];
}

/** @internal Of a plan by rows, elements or tiles. */
export function sddmmTime(features: SddmmFeatures, multiprocessors: number, plan: SddmmPlan): number {
  const { variant, vector, lanes, tile } = plan;
  if (variant === 'segments') return Number.POSITIVE_INFINITY;
  const costs = sddmmCosts[features.dtype === 'float32' ? 'float32' : 'half'][variant];
  const weights = costs[vector][tile > 0 ? tile : lanes];
  const terms =
    tile > 0 ? tileTerms(features, multiprocessors, plan) : gatherTerms(features, multiprocessors, plan);
  return weights.reduce((us, weight, i) => us + weight * terms[i], 0);
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

const farShare = (bytes: number): number =>
  Math.max(0, Math.min(1, Math.log(bytes / nearBytes) / Math.log(farBytes / nearBytes)));

// Of `gather` where most rows are empty: a warp's elements lie in more than 32 rows, and each lane searches for its own. Rows an element
// from which on some warps do, and all.
const ownSearch = { some: 0.8, all: 1.2 };

function ownSearchSteps({ rows, stored }: SddmmFeatures): number {
  if (rows <= ownSearch.some * stored) return 0;
  const share = (rows / stored - ownSearch.some) / (ownSearch.all - ownSearch.some);
  return Math.min(1, share) * Math.log2(rows);
}

// Kilobytes of lines that lanes of a multiprocessor walk along: from some on, L1 loses some before they are through, and all.
const keptLines = { some: 64, all: 192 };

const lostShare = (lines: number): number =>
  Math.max(0, Math.min(1, ((lines * lineBytes) / 1024 - keptLines.some) / (keptLines.all - keptLines.some)));

/** Of kernels by rows or elements: matches kCsrThreads of cuda/kernels/sddmm/config.h. */
const warpsOfBlock = 4;

/** Kernels by rows or elements: what the weights of `sddmmCosts` are microseconds of. */
function gatherTerms(features: SddmmFeatures, multiprocessors: number, plan: SddmmPlan): readonly number[] {
  const { dtype, rows, columns, stored, longestRow, depth, batch, lines, tiles } = features;
  const { variant, vector, lanes, splits } = plan;
  const { bytes } = dtypeInfo[dtype];
  const rowBytes = depth * bytes;
  const stepBytes = lanes * vector * bytes;
  // Along the depth.
  const steps = Math.ceil(rowBytes / stepBytes);
  const segment = segmentOf(lanes);
  const warps = variant === 'gather' ? stored / segment : rows * splits;
  const resident = residentWarpsOf(plan);
  const waves = Math.max(0, (warps * batch) / (multiprocessors * resident) - 1);
  // As blocks come: the last wave takes as long as the others.
  const blocks = Math.ceil(warps / warpsOfBlock) * batch;
  const wholeWaves = Math.ceil((blocks * warpsOfBlock) / (multiprocessors * resident));
  // Problems, of as many multiprocessors as the times were fitted on.
  const scale = (batch * fittedMultiprocessors) / multiprocessors;
  const launched = (warps / 1000) * scale;
  const millions = (stored / 1e6) * scale;
  const gathered = millions * unitsAcross(sectorBytes, rowBytes, rowBytes, lines) * sectorBytes;
  // Warps that run together on a multiprocessor, and of a row; what their rows have in common is gathered once.
  const together = Math.min(resident, Math.max(1, warps / multiprocessors));
  const perRow = variant === 'gather' ? Math.max(1, stored / Math.max(1, rows)) / segment : splits;
  const density = Math.min(0.999, stored / (tiles[0] * tileShapes[0].rows * tileShapes[0].columns));
  const share = distinctShare(Math.max(1, together / perRow), density);
  // Elements of a warp; the lines of B that lanes are in the middle of where they read less than one at a step.
  const inWarp = variant === 'gather' ? segment : Math.min(segment, stored / Math.max(1, rows) / splits);
  const walked = stepBytes < lineBytes ? share * together * inWarp : 0;
  const distinct = gathered * share;
  const memory = [gathered, distinct, distinct * farShare(columns * rowBytes)];
  const lost = millions * (steps - 1) * sectorBytes * lostShare(walked);
  // At most one row of B a tile's column.
  const ofTiles = gathered * Math.min(1, (tiles[0] * tileShapes[0].columns) / Math.max(1, stored));
  const touched = millions * linesOfRow(rowBytes, stepBytes, lines);
  const shared = [...memory, touched, waves, lost, ofTiles, wholeWaves - 1];
  if (variant === 'gather') {
    const search = Math.log2(Math.max(1, rows)) / 10;
    const own = ownSearchSteps(features);
    return [1, search, steps, launched, launched * steps, ...shared, wholeWaves * steps, own];
  }
  const longest = Math.ceil(longestRow / (segment * splits));
  // Segments of a warp; one begins anywhere.
  const segments = stored / Math.max(1, warps * segment);
  const parts = launched * Math.max(1, segments + 0.5);
  const swept = wholeWaves * Math.ceil(segments);
  return [
    1,
    longest,
    Math.sqrt(longest) * steps,
    launched,
    parts,
    parts * steps,
    ...shared,
    swept,
    swept * steps,
    // Warps of one wave sweep their rows in step, and the L2 cache sends what they ask for together once.
    ...memory.map((term) => (wholeWaves > 1 ? term : 0)),
  ];
}

/** Units of `staged` that a block sums at once: matches StagedShape of cuda/kernels/sddmm/staged_float32.cu. */
const unitsAtOnce: ByRows = { 32: 256, 64: 512, 128: 512, 256: 1024 };

// Blocks that a multiprocessor is taken to hold at once where shared memory has room for them, by rows of a tile.
const mostBlocks = {
  tiles: { float32: { 32: 2, 64: 4 }, half: { 32: 8, 64: 4, 128: 2 } },
  warpgroups: 2,
} as const;
const multiprocessorMemory = 227 * 1024;

function residentBlocks(plan: SddmmPlan, dtype: FloatDType, depth: number): number {
  if (plan.variant === 'warpgroups') return mostBlocks.warpgroups;
  const most: ByRows = mostBlocks.tiles[dtype === 'float32' ? 'float32' : 'half'];
  const { sharedMemory = 0 } = sddmmNeeds(plan, dtype, depth);
  return Math.min(most[plan.tile], Math.floor(multiprocessorMemory / (sharedMemory + reservedBytes)));
}

/** Kernels by tiles: what the weights of `sddmmCosts` are microseconds of. */
function tileTerms(features: SddmmFeatures, multiprocessors: number, plan: SddmmPlan): readonly number[] {
  const { dtype, stored, depth, batch, tiles } = features;
  const { variant, tile } = plan;
  const count = tiles[tileShapes.findIndex(({ rows }) => rows === tile)];
  const rowBytes = depth * dtypeInfo[dtype].bytes;
  const steps = stageSteps(dtype, depth);
  // Blocks of a multiprocessor on average, and of the one that has most; thousands of elements of them and of a block.
  const mean = (count * batch) / multiprocessors;
  const most = Math.ceil(mean);
  const elements = stored / count / 1000;
  if (variant !== 'staged') {
    // The copy engine takes longer for rows of a single vector.
    const short = rowBytes <= vectorBytes ? mean : 0;
    const later = Math.ceil(mean / residentBlocks(plan, dtype, depth)) - 1;
    return [
      1,
      steps,
      most - 1,
      (most - 1) * steps,
      mean * steps,
      mean * elements,
      elements,
      short,
      later,
      later * steps,
    ];
  }
  const rowElements = stored / (count * tile);
  // A row has one that is not full.
  const units = tile * (rowElements / 4 + 0.375 * (1 - Math.exp(-rowElements)));
  const brought = steps * Math.max(1, Math.ceil((units * 1.1) / unitsAtOnce[tile]));
  // Short rows are copied until they fill a stage, and summed once.
  const summed =
    steps > 1 ? steps : Math.min(1, 2 ** Math.ceil(Math.log2(Math.max(1, rowBytes / vectorBytes))) / 8);
  const sums = (units / 256) * summed;
  return [
    1,
    brought,
    mean,
    mean * brought,
    (most - 1) * brought,
    mean * sums,
    most * sums,
    most * elements,
    mean * elements,
    elements,
    sums,
  ];
}
