// Which kernel of spmm runs, with which parameters: a pure function of the problem and the device. Times are expected
// microseconds on an H200, replayed from a graph; the constants below come from a sweep over every plan there (docs/performance.md).

import { noParameters, type SpmmPlan, type SpmmVariant } from '../backends/calls/spmm.js';
import type { Device } from '../device/device.js';
import { WarptileError } from '../errors.js';
import type { RowBins } from '../formats/row-bins.js';
import type { FloatDType } from '../tensor/dtype.js';
import {
  binPlans,
  binTime,
  groupPlans,
  groupTime,
  type MemoryTimes,
  memoryTimes,
  mostInGrid,
  splitTime,
} from './spmm-gather-plans.js';
import { panelPlans, panelProblem, panelTime } from './spmm-panel.js';
import { bestTilePlan, type TileFeatures, tilesProblem } from './spmm-tiles-plan.js';

/** What the choice depends on. */
export interface SpmmFeatures {
  readonly dtype: FloatDType;
  readonly format: 'csr' | 'block-sparse';
  readonly rows: number;
  readonly columns: number;
  /** Stored entries. */
  readonly stored: number;
  readonly longestRow: number;
  readonly bins: Pick<RowBins, 'items' | 'segments' | 'limit' | 'atLeast'> | undefined;
  /** Columns of B and C. */
  readonly width: number;
  readonly batch: number;
  readonly batchedValues: boolean;
  /** Rows of B and C begin at multiples of 16 bytes. */
  readonly vectors: boolean;
  /** Rows of B begin 4 GiB apart or more. */
  readonly farRows: boolean;
  /** An up-to-date copy in tiles. */
  readonly tiles: TileFeatures | undefined;
}

export interface PlanDevice {
  readonly multiprocessors: number;
  /** Compute capability 9.0: later cards run the kernels of 8.0, which have no clusters. */
  readonly clusters: boolean;
}

/** A variant with its best parameters and their expected time, or the problem that rules it out. */
export interface SpmmCandidate {
  readonly variant: SpmmVariant;
  readonly us?: number;
  readonly parameters?: string;
  readonly problem?: string;
}

export interface SpmmChoice {
  readonly plan: SpmmPlan;
  readonly candidates: readonly SpmmCandidate[];
}

/** The CPU plans as an H200 would, so that what is tested there is what runs. */
export function planDevice({ info }: Device): PlanDevice {
  const [major] = info.computeCapability ?? [9];
  return { multiprocessors: info.multiprocessors ?? 132, clusters: major === 9 };
}

/**
 * The plan that is expected to be fastest, or the best of a `forced` variant.
 * @throws WarptileError ERR_UNSUPPORTED where the forced variant is impossible.
 */
export function selectSpmm(features: SpmmFeatures, device: PlanDevice, forced?: SpmmVariant): SpmmChoice {
  const memory = memoryTimes(features);
  const found = [
    rowSplit(features, device, memory),
    rowGroup(features, device, memory),
    rowBins(features, device, memory),
    tiles(features, device),
    panel(features, device),
  ];
  if (forced !== undefined) {
    const { plan, problem } = found.find(({ variant }) => variant === forced) as Found;
    if (plan === undefined) throw new WarptileError('ERR_UNSUPPORTED', `variant: ${forced}: ${problem}`);
    return choice(plan, found);
  }
  let best = found[0];
  for (const item of found) if (item.plan !== undefined && item.us < best.us) best = item;
  return choice(best.plan as SpmmPlan, found);
}

/** The candidates are described where they are asked for: products ask for the plan alone. */
function choice(plan: SpmmPlan, found: readonly Found[]): SpmmChoice {
  return {
    plan,
    get candidates() {
      return found.map(({ variant, plan, us, problem }) =>
        problem === undefined && plan !== undefined
          ? { variant, us, parameters: describePlan(plan) }
          : { variant, problem: problem ?? 'no kernel' },
      );
    },
  };
}

/** 'vector 4, lanes 8, splits 4, warps 8', 'warpgroups, 64 columns, cluster 2' */
export function describePlan(plan: SpmmPlan): string {
  const { variant, vector, lanes, splits, warps, columns, cluster, blockItems, warpItems, warpRows } = plan;
  if (variant === 'panel') return `rows ${warps * warpRows}, cluster ${cluster}`;
  if (variant === 'row-bins') {
    return `vector ${vector}, lanes ${lanes}, splits ${splits}, blocks ${blockItems}, warps ${warpItems}`;
  }
  if (variant === 'row-group') return `vector ${vector}, lanes ${lanes}, splits ${splits}, warps ${warps}`;
  if (variant !== 'tiles') return '';
  return `${warps > 1 ? 'warpgroups' : 'warps'}, ${columns} columns, cluster ${cluster}`;
}

interface Found {
  readonly variant: SpmmVariant;
  readonly plan?: SpmmPlan;
  readonly us: number;
  readonly problem?: string;
}

const ruledOut = (variant: SpmmVariant, problem: string): Found => ({
  variant,
  us: Number.POSITIVE_INFINITY,
  problem,
});

function rowSplit(features: SpmmFeatures, device: PlanDevice, memory: MemoryTimes): Found {
  const plan: SpmmPlan = { variant: 'row-split', ...noParameters };
  // The only kernel of blocks: nothing to compare it with.
  if (features.format !== 'csr') return { variant: 'row-split', plan, us: Number.POSITIVE_INFINITY };
  const us = splitTime(features, device, memory);
  return { variant: 'row-split', plan, us };
}

function rowGroup(features: SpmmFeatures, device: PlanDevice, memory: MemoryTimes): Found {
  if (features.format !== 'csr') return ruledOut('row-group', 'needs a CSR matrix');
  if (features.farRows) return ruledOut('row-group', 'needs rows of B less than 4 GiB apart');
  let best: Found | undefined;
  for (const plan of groupPlans(features)) {
    const us = groupTime(features, device, plan, memory);
    if (best === undefined || us < best.us) best = { variant: 'row-group', plan, us };
  }
  return best as Found;
}

function rowBins(features: SpmmFeatures, device: PlanDevice, memory: MemoryTimes): Found {
  if (features.format !== 'csr') return ruledOut('row-bins', 'needs a CSR matrix');
  if (features.farRows) return ruledOut('row-bins', 'needs rows of B less than 4 GiB apart');
  if (features.batch > mostInGrid) return ruledOut('row-bins', `needs a batch of at most ${mostInGrid}`);
  let best: Found | undefined;
  for (const plan of binPlans(features)) {
    const us = binTime(features, device, plan, memory);
    if (best === undefined || us < best.us) best = { variant: 'row-bins', plan, us };
  }
  return (
    best ??
    ruledOut(
      'row-bins',
      features.bins === undefined
        ? 'rows are few or long, and about equally so'
        : 'has too many columns of B',
    )
  );
}

function tiles(features: SpmmFeatures, device: PlanDevice): Found {
  const problem = tilesProblem(features);
  if (problem !== undefined) return ruledOut('tiles', problem);
  if (features.tiles === undefined) return ruledOut('tiles', 'needs an up-to-date copy: prepare({ n })');
  return { variant: 'tiles', ...bestTilePlan(features, features.tiles, device) };
}

function panel(features: SpmmFeatures, device: PlanDevice): Found {
  const problem = panelProblem(features);
  if (problem !== undefined) return ruledOut('panel', problem);
  let best: Found | undefined;
  for (const plan of panelPlans(device)) {
    const us = panelTime(features, device, plan);
    if (best === undefined || us < best.us) best = { variant: 'panel', plan, us };
  }
  return best as Found;
}
