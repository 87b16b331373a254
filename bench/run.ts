import type { Device } from '../lib/device/device.js';
import type { FloatDType } from '../lib/tensor/dtype.js';
import type { NamedMatrix } from './matrices.js';
import { overheadRows } from './overhead.js';
import type { ProblemContext } from './problem.js';
import { generatedMatrices, type Scale } from './problem-set.js';
import { families } from './problems/index.js';
import { makeReport, type Report, type Row } from './report.js';
import { measureCeilings } from './roofline.js';
import { type Plan, runProblem } from './run-problem.js';
import type { Column } from './timings.js';
import { TorchPeer } from './torch.js';

export interface BenchmarkOptions {
  readonly matrices: readonly NamedMatrix[];
  /** Names of operations; empty for all. */
  readonly operations: readonly string[];
  readonly dtypes: readonly FloatDType[];
  /** Sizes instead of the families' own; empty for those. */
  readonly sizes: readonly number[];
  /** Part of 'operation problem dtype'. */
  readonly filter?: string;
  readonly scale: Scale;
  /** Ways of timing; the first is what ratios are of. */
  readonly columns: readonly Column[];
  /** Libraries to compare with; absent for all that there are. */
  readonly peers?: readonly string[];
  readonly energy: boolean;
  /** Measures the likely plans of each problem first; the device was opened with `autotune`. */
  readonly tune: boolean;
}

/** What the runner tells while it works. */
export interface Progress {
  start(total: number): void;
  step(problem: string): void;
  /** All problems of an operation are done. */
  finished(rows: readonly Row[]): void;
}

/** Names that `operations` may hold. */
export const operationNames: readonly string[] = [...families.map((family) => family.operation), 'overhead'];

/** Checks and measures every chosen problem, one after another. */
export async function runBenchmark(
  device: Device,
  options: BenchmarkOptions,
  progress: Progress,
): Promise<Report> {
  const chosen = (operation: string): boolean =>
    options.operations.length === 0 || options.operations.includes(operation);
  const ceilings = await measureCeilings(device, options.peers?.length === 0 ? [] : options.dtypes);
  const wantsTorch = device.kind === 'cuda' && (options.peers?.includes('torch') ?? true);
  const torch = wantsTorch ? new TorchPeer() : undefined;
  const plan = { ...planOf(device, options), ...(torch === undefined ? {} : { torch }) };
  const context = contextOf(device, options);
  const lists = families
    .filter((family) => chosen(family.operation))
    .map((family) => [...family.problems(context)].filter((problem) => matches(problem, options)));
  const overhead = chosen('overhead') && matches({ operation: 'overhead', name: '', dtype: '' }, options);
  progress.start(lists.reduce((sum, list) => sum + list.length, 0) + (overhead ? 1 : 0));
  const rows: Row[] = [];
  try {
    for (const list of lists) {
      const done: Row[] = [];
      for (const problem of list) {
        progress.step(`${problem.operation} ${problem.name} ${problem.dtype}`);
        done.push(await runProblem(device, problem, plan, ceilings));
      }
      if (done.length > 0) progress.finished(done);
      rows.push(...done);
    }
  } finally {
    torch?.stop();
  }
  if (overhead) {
    progress.step('overhead');
    const done = await overheadRows(device);
    if (done.length > 0) progress.finished(done);
    rows.push(...done);
  }
  return makeReport(device, ceilings, rows);
}

function planOf(device: Device, { scale, columns, peers, energy, tune }: BenchmarkOptions): Plan {
  const effort =
    scale === 'quick'
      ? { samples: 3, budgetMs: 20 }
      : { samples: 9, budgetMs: device.kind === 'cpu' ? 300 : 150 };
  return { effort, columns, energy, tune, ...(peers === undefined ? {} : { peers }) };
}

function contextOf(device: Device, options: BenchmarkOptions): ProblemContext {
  const { scale, dtypes, sizes } = options;
  const quick = scale === 'quick';
  const matrices = [...options.matrices, ...generatedMatrices(device.kind, scale)];
  return {
    kind: device.kind,
    quick,
    full: scale === 'full',
    dtypes,
    matrices,
    sizes: (defaults) => (sizes.length > 0 ? sizes : quick ? defaults.slice(0, 1) : defaults),
  };
}

function matches(
  problem: { operation: string; name: string; dtype: string },
  options: BenchmarkOptions,
): boolean {
  const { operation, name, dtype } = problem;
  return options.filter === undefined || `${operation} ${name} ${dtype}`.includes(options.filter);
}
