import type { Device } from '../lib/device/device.js';
import type { FloatDType } from '../lib/tensor/dtype.js';
import { checkProblem } from './check.js';
import { generatedMatrices } from './generators.js';
import type { NamedMatrix } from './matrices.js';
import { type Effort, measure } from './measure.js';
import { overheadRows } from './overhead.js';
import { measurePeers, noPeers } from './peers.js';
import type { BoundProblem, Problem, ProblemContext } from './problem.js';
import { families } from './problems/index.js';
import { makeReport, type Report, type Row } from './report.js';
import { measureCeilings, shareOfRoof } from './roofline.js';

export interface BenchmarkOptions {
  readonly matrices: readonly NamedMatrix[];
  /** Names of operations; empty for all. */
  readonly operations: readonly string[];
  readonly dtypes: readonly FloatDType[];
  /** Sizes instead of the families' own; empty for those. */
  readonly sizes: readonly number[];
  /** Part of 'operation problem dtype'. */
  readonly filter?: string;
  readonly quick: boolean;
  readonly peers: boolean;
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
  const ceilings = await measureCeilings(device);
  const context = contextOf(device, options);
  const lists = families
    .filter((family) => chosen(family.operation))
    .map((family) => [...family.problems(context)].filter((problem) => matches(problem, options)));
  const overhead = chosen('overhead') && matches({ operation: 'overhead', name: '', dtype: '' }, options);
  progress.start(lists.reduce((sum, list) => sum + list.length, 0) + (overhead ? 1 : 0));
  const rows: Row[] = [];
  for (const list of lists) {
    const done: Row[] = [];
    for (const problem of list) {
      progress.step(`${problem.operation} ${problem.name} ${problem.dtype}`);
      done.push(
        await runProblem(device, problem, options, (us) =>
          shareOfRoof(problem.work, problem.dtype, us, ceilings),
        ),
      );
    }
    if (done.length > 0) progress.finished(done);
    rows.push(...done);
  }
  if (overhead) {
    progress.step('overhead');
    const done = await overheadRows(device);
    if (done.length > 0) progress.finished(done);
    rows.push(...done);
  }
  return makeReport(device, ceilings, rows);
}

function contextOf(device: Device, options: BenchmarkOptions): ProblemContext {
  const { quick, dtypes, sizes } = options;
  const matrices = [...options.matrices, ...generatedMatrices(device.kind, quick)];
  return {
    kind: device.kind,
    quick,
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

async function runProblem(
  device: Device,
  problem: Problem,
  options: BenchmarkOptions,
  roof: (us: number) => number | null,
): Promise<Row> {
  const { operation: op, name, dtype, n, work } = problem;
  const effort: Effort = options.quick
    ? { samples: 3, budgetMs: 20 }
    : { samples: 9, budgetMs: device.kind === 'cpu' ? 300 : 150 };
  const base = { op, problem: name, dtype, n, device: device.id, ...work };
  let bound: BoundProblem | undefined;
  try {
    bound = problem.bind(device);
    const check = await checkProblem(bound, `${op} ${name} ${dtype}`, device.kind === 'cpu' ? 8 : 16);
    const { run } = bound;
    const { us, spread } = await measure(device, run, effort);
    const { times, variants, problems } = options.peers ? await measurePeers(device, bound, effort) : noPeers;
    const best = Math.min(...Object.values(times));
    return {
      ...base,
      variant: bound.variant ?? (device.kind === 'cpu' ? 'reference' : 'default'),
      us,
      spread,
      peers: times,
      peerVariants: variants,
      ratio: Number.isFinite(best) ? best / us : null,
      roof: roof(us),
      error: check.error,
      nmse: check.nmse,
      pass: check.pass,
      ...(problems.length === 0 ? {} : { peerProblems: problems }),
      ...(check.failure === undefined ? {} : { note: check.failure }),
    };
  } catch (error) {
    // A lost device fails every later problem too; anything else is this problem's own failure.
    if ((error as { code?: string }).code === 'ERR_DEVICE_LOST') throw error;
    const note = error instanceof Error ? error.message : String(error);
    const nothing = {
      us: Number.NaN,
      spread: 0,
      peers: {},
      peerVariants: {},
      ratio: null,
      roof: null,
      error: null,
      nmse: null,
    };
    return { ...base, variant: '-', ...nothing, pass: false, note };
  } finally {
    bound?.dispose();
  }
}
