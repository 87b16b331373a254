// What planners are asked in tests: a card, and problems that differ from a plain one.

import type { SddmmFeatures } from '../../lib/ops/sddmm-plan.js';
import type { SpmmFeatures } from '../../lib/ops/spmm-plan.js';
import type { PlanDevice } from '../../lib/planning/plan-device.js';

/** What planners read of an H200. */
export const h200: PlanDevice = { multiprocessors: 132, clusters: true, sharedMemory: 232_448 };

/** Of an A100, and of an RTX A6000: of compute capability 8.6, which has the least shared memory. */
export const a100: PlanDevice = { multiprocessors: 108, clusters: false, sharedMemory: 166_912 };
export const a6000: PlanDevice = { multiprocessors: 84, clusters: false, sharedMemory: 101_376 };

/** Float16 of 512x512 at 80 % and 128 columns, without any copy, but for `change`. */
export function spmmFeatures(change: Partial<SpmmFeatures> = {}): SpmmFeatures {
  return {
    dtype: 'float16',
    format: 'csr',
    rows: 512,
    columns: 512,
    stored: 52_000,
    longestRow: 140,
    bins: undefined,
    width: 128,
    batch: 1,
    batchedValues: false,
    vectors: true,
    pairs: true,
    farRows: false,
    padded: false,
    tiles: undefined,
    stripSpan: undefined,
    strips: undefined,
    ...change,
  };
}

/** Float16 of 4096x4096 at 90 % and a depth of 128, with every map of tiles, but for `change`. */
export function sddmmFeatures(change: Partial<SddmmFeatures> = {}): SddmmFeatures {
  return {
    dtype: 'float16',
    format: 'csr',
    rows: 4096,
    columns: 4096,
    stored: 1_677_721,
    longestRow: 480,
    tiles: [8192, 4096, 1024, 256],
    mapped: [true, true, true, true],
    depth: 128,
    batch: 1,
    vectors: true,
    pairs: true,
    lines: true,
    ...change,
  };
}
