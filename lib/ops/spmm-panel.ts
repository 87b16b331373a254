// The kernel of spmm that keeps a panel of B in shared memory: its plans, and how long they take.

import { type SpmmPlan, spmmPlan } from '../backends/calls/spmm.js';
import { mostInGrid, type PlanDevice, reservedBytes } from '../planning/plan-device.js';
import type { SpmmFeatures } from './spmm-plan.js';
import { exponentOf, overlapped, wavesOf } from './times.js';

/** Matches cuda/kernels/spmm/panel.cuh: warps of a block, rows of a warp, columns of a panel. */
const warps = 16;
/** @internal */
export const panelWarpRows = [1, 4, 8, 16] as const;
const panelColumns = 32;
/** And bytes of the entries that its warps stage, beside pieces of B. */
const stagedBytes = 8192;
/** Blocks of one row a warp along a grid. */
const mostRows = mostInGrid * warps;

/** Why the kernel cannot run; undefined where it can. */
export function panelProblem({ dtype, format, vectors, rows }: SpmmFeatures): string | undefined {
  if (dtype !== 'float32') return 'needs float32';
  if (format !== 'csr') return 'needs a CSR matrix';
  if (rows > mostRows) return `needs at most ${mostRows} rows`;
  return vectors ? undefined : 'needs rows at multiples of 16 bytes';
}

const plansOf = (clusters: readonly number[]): readonly SpmmPlan[] =>
  panelWarpRows.flatMap((warpRows) =>
    clusters.map((cluster) => spmmPlan('panel', { warps, columns: panelColumns, warpRows, cluster })),
  );
// The same for every problem, and making them takes longer than estimating them.
const alone = plansOf([1]);
const clustered = plansOf([1, 2, 4, 8]);

/** @internal */
export const panelPlans = ({ clusters }: PlanDevice): readonly SpmmPlan[] => (clusters ? clustered : alone);

// Fitted to a sweep over every plan of 34 matrices and 32, 128 and 512 columns, and scaled together with the other models. Microseconds:
//   latency  an entry of the longest row
//   block    and a row of B that it copies, a row of A and piece of B, an entry; more where rows differ (skew)
// Several blocks of a multiprocessor overlap. Clusters of four and eight leave multiprocessors idle.
const model = {
  start: 0.5494,
  overlap: 0.3183,
  latency: 0.01026,
  block: 0.9738,
  copiedRow: 0.001565,
  row: 0.01414,
  entry: 0.0007171,
  skew: 0.0767,
  second: 0.655,
  clusterStep: 0.7987,
  reached: { 1: 1, 2: 1, 4: 0.591, 8: 0.578 } as Readonly<Record<number, number>>,
};

/** @internal */
export function panelTime(features: SpmmFeatures, device: PlanDevice, plan: SpmmPlan): number {
  const { rows, columns, stored, longestRow, width, batch } = features;
  const { cluster, warpRows } = plan;
  const rowBytes = 4 * panelColumns;
  const blockRows = warps * warpRows;
  const rowBlocks = Math.max(1, Math.ceil(rows / blockRows));
  const share = Math.ceil(columns / cluster);
  // Bytes that the pieces of B may take, and those of a block that leaves room for a second one.
  const most = device.sharedMemory - stagedBytes;
  const half = (device.sharedMemory + reservedBytes) / 2 - reservedBytes - stagedBytes;
  const fits = (share + 1) * rowBytes <= most;
  const pieces = fits ? 1 : Math.ceil(share / (most / 2 / rowBytes - 1));
  const pair = warpRows <= 4 && (share + 1) * rowBytes <= half;
  const blocks = rowBlocks * Math.ceil(width / panelColumns) * batch * cluster;
  const load = blocks / (device.multiprocessors * model.reached[cluster]);
  const waves = wavesOf(load);
  const skew = Math.min(20, (longestRow * rows) / Math.max(1, stored) - 1);
  const block =
    model.block +
    share * model.copiedRow +
    Math.min(rows, blockRows) * pieces * model.row +
    (stored / rowBlocks / cluster) * model.entry * (1 + model.skew * skew);
  return (
    overlapped(
      model.start,
      model.overlap,
      (longestRow / cluster) * model.latency,
      block * (pair ? 1 + (waves - 1) * model.second : waves),
    ) +
    model.clusterStep * exponentOf(cluster)
  );
}
