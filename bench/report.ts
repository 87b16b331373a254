import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import Table from 'cli-table3';
import { packageRoot } from '../lib/backends/load-addon.cjs';
import type { Device } from '../lib/device/device.js';
import type { FloatDType } from '../lib/tensor/dtype.js';
import { type GroupSummary, type Loss, ratioOf } from './goals.js';
import type { Timing } from './measure.js';
import type { PeerRun } from './peers.js';
import type { Ceilings } from './roofline.js';
import { type Column, columns } from './timings.js';

/** A column of times beside the first: see bench/timings.ts. */
export interface ColumnTimes extends Timing {
  readonly peers: { readonly [library: string]: number };
}

/** One measured problem, as --json writes it. */
export interface Row {
  readonly op: string;
  readonly problem: string;
  readonly dtype: FloatDType;
  readonly n: number;
  /** The kind of problem. */
  readonly group?: string;
  /** Share of stored elements of a sparse operand. */
  readonly density?: number;
  readonly device: string;
  readonly variant: string;
  /** Microseconds that preparing the operands took: a median, and the first time. */
  readonly prepareUs?: number;
  readonly firstPrepareUs?: number;
  /** Median microseconds of a call. */
  readonly us: number;
  /** Distance between the quartiles over the median. */
  readonly spread: number;
  /** What `us` and `peers` are: absent for warm. */
  readonly column?: Column;
  /** Times under other circumstances, where they were asked for. */
  readonly columns?: { readonly [C in Column]?: ColumnTimes };
  /** Microseconds of each peer that took the problem. */
  readonly peers: { readonly [name: string]: number };
  /** Which of a library's algorithms was the fastest. */
  readonly peerVariants: { readonly [name: string]: string };
  /** Every peer whose result is right, with its error: above 1 it sums in something coarser than float32. */
  readonly peerRuns?: readonly PeerRun[];
  /** Peers that were left out, and why. */
  readonly peerProblems?: readonly string[];
  /** The best peer's time over ours: above 1 we are faster. */
  readonly ratio: number | null;
  /** Share of the ceiling, from 0 to 1. */
  readonly roof: number | null;
  readonly bytes: number;
  readonly flops: number;
  /** The largest error over its bound; null where there is nothing to check. */
  readonly error: number | null;
  readonly nmse: number | null;
  /** Energy of a call, where it was asked for. */
  readonly joules?: number;
  readonly pass: boolean;
  /** In a file that was put together: the commit that measured this row, where it is not the report's. */
  readonly commit?: string;
  /** What went wrong, or a remark. */
  readonly note?: string;
}

export interface Report {
  /** The card's name; null on the CPU. */
  readonly gpu: string | null;
  readonly driver: string | null;
  readonly cuda: string | null;
  readonly device: string;
  readonly version: string;
  readonly date: string;
  /** Of the checkout that ran, where it is one. */
  readonly commit: string | null;
  readonly ceilings: Ceilings;
  readonly rows: readonly Row[];
}

export function makeReport(device: Device, ceilings: Ceilings, rows: readonly Row[]): Report {
  const { kind, name, driverVersion, runtimeVersion } = device.info;
  return {
    gpu: kind === 'cuda' ? name : null,
    driver: driverVersion ?? null,
    cuda: runtimeVersion ?? null,
    device: name,
    version: packageVersion(),
    date: new Date().toISOString(),
    commit: commit(),
    ceilings,
    rows,
  };
}

export function packageVersion(): string {
  const file = path.join(packageRoot(), 'package.json');
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}

function commit(): string | null {
  const root = packageRoot();
  // A kit has no git and says what it was made from.
  const stamp = path.join(root, '.commit');
  if (existsSync(stamp)) return readFileSync(stamp, 'utf8').trim();
  const git = spawnSync('git', ['-C', root, 'rev-parse', '--show-prefix', 'HEAD'], { encoding: 'utf8' });
  // In an installed copy git would answer for the repository around it: there the prefix is not empty.
  const [prefix, hash] = git.status === 0 ? git.stdout.split('\n') : ['?'];
  return prefix === '' && hash ? hash : null;
}

/** A table without lines between rows, numbers to the right. */
export function plainTable(head: readonly string[], rows: readonly (readonly string[])[], left = 1): string {
  const table = new Table({
    head: [...head],
    colAligns: head.map((_, column) => (column < left ? 'left' : 'right')),
    chars: { mid: '', 'left-mid': '', 'mid-mid': '', 'right-mid': '' },
    style: { head: [], border: [], 'padding-left': 1, 'padding-right': 1 },
  });
  table.push(...rows.map((row) => [...row]));
  return table.toString();
}

/** The rows of one operation as a table; columns for each peer and for each way of timing that measured anything. */
export function rowsTable(rows: readonly Row[]): string {
  const peers = [...new Set(rows.flatMap((row) => Object.keys(row.peers)))].sort();
  const timings = columns.filter((column) => rows.some((row) => row.columns?.[column] !== undefined));
  const variants = rows.some((row) => !['default', 'reference', '-'].includes(row.variant));
  const energy = rows.some((row) => row.joules !== undefined);
  const head = [
    'operation',
    'problem',
    'dtype',
    'device',
    'us',
    ...peers.map((name) => `${name} us`),
    'ratio',
  ];
  for (const column of timings) head.push(`${column} us`, ...(peers.length === 0 ? [] : [`${column} ratio`]));
  if (energy) head.push('mJ');
  head.push('roof', 'error/bound', ...(variants ? ['variant'] : []), 'check');
  const lines = rows.map((row) => [
    row.op,
    shortened(row.problem),
    row.dtype,
    row.device,
    microseconds(row.us),
    ...peers.map((name) => peerTime(row, name)),
    times(row.ratio),
    ...timings.flatMap((column) => [
      microseconds(row.columns?.[column]?.us ?? Number.NaN),
      ...(peers.length === 0 ? [] : [times(bestRatio(row, column))]),
    ]),
    ...(energy ? [row.joules === undefined ? '-' : (1000 * row.joules).toPrecision(3)] : []),
    row.roof === null ? '-' : `${(100 * row.roof).toFixed(row.roof < 0.1 ? 1 : 0)} %`,
    row.error === null ? '-' : row.error.toFixed(3),
    // Its parameters are in the JSON.
    ...(variants ? [row.variant.split(' ', 1)[0]] : []),
    row.pass ? (row.note ?? 'pass') : 'FAIL',
  ]);
  return plainTable(head, lines, 4);
}

/** A library's time, marked where the routine behind it sums in something coarser than float32. */
function peerTime(row: Row, library: string): string {
  if (!Object.hasOwn(row.peers, library)) return '-';
  return `${microseconds(row.peers[library])}${isCoarse(row, library) ? '*' : ''}`;
}

/** Whether the library's fastest routine misses the bound of float32 sums. */
export function isCoarse(row: Row, library: string): boolean {
  const name = [library, row.peerVariants[library]].filter(Boolean).join(' ');
  return (row.peerRuns ?? []).some((run) => run.name === name && run.error > 1);
}

function bestRatio(row: Row, column: Column): number | null {
  const ratios = Object.keys(row.peers).map((library) => ratioOf(row, library, column));
  const known = ratios.filter((ratio) => ratio !== undefined);
  return known.length === 0 ? null : Math.min(...known);
}

function times(ratio: number | null): string {
  return ratio === null ? '-' : `${ratio.toFixed(2)}x`;
}

/** How the groups of problems stand to cuSPARSE and to what was wanted. */
export function summaryTable(summaries: readonly GroupSummary[]): string {
  const head = [
    'operation',
    'problems',
    'dtype',
    'time',
    'count',
    'geomean',
    'goal',
    'worst',
    'losses',
    'worst problem',
  ];
  const lines = summaries.map((summary) => [
    summary.op,
    summary.group,
    summary.dtype,
    summary.column,
    String(summary.problems),
    times(summary.geomean),
    summary.goal === null
      ? '-'
      : `${summary.goal.toFixed(1)}x ${summary.geomean >= summary.goal ? 'met' : 'missed'}`,
    times(summary.worst),
    String(summary.losses),
    shortened(summary.worstProblem),
  ]);
  return plainTable(head, lines, 4);
}

/** Every loss, the worst first. */
export function lossLines(found: readonly Loss[]): string[] {
  return found.map(
    ({ op, problem, dtype, column, library, ratio }) =>
      `loss: ${op} ${problem} ${dtype} ${column}: ${ratio.toFixed(2)}x of ${library}`,
  );
}

/** What preparing costs at most, in calls of the operation; nothing where nothing was prepared. */
export function preparationLines(rows: readonly Row[]): string[] {
  const calls = ({ prepareUs = 0, us }: Row): number => (us > 0 ? prepareUs / us : 0);
  const costly = rows.reduce<Row | undefined>(
    (most, row) => (calls(row) > (most === undefined ? 0 : calls(most)) ? row : most),
    undefined,
  );
  if (costly === undefined) return [];
  const { op, problem, dtype, prepareUs = 0 } = costly;
  const cost = `${calls(costly).toFixed(0)} calls (${prepareUs.toFixed(0)} us of host time)`;
  return [`preparing costs at most ${cost}: ${op} ${problem} ${dtype}.`];
}

/** The routines that are counted although they miss the bound of float32 sums: one line for each with its largest error. */
export function coarsePeers(rows: readonly Row[]): string[] {
  const found = new Map<string, { error: number; problems: number }>();
  for (const run of rows.flatMap((row) => row.peerRuns ?? [])) {
    if (run.error <= 1) continue;
    const { error, problems } = found.get(run.name) ?? { error: 0, problems: 0 };
    found.set(run.name, { error: Math.max(error, run.error), problems: problems + 1 });
  }
  return [...found].map(
    ([name, { error, problems }]) =>
      `${name} sums in something coarser than float32: its error is up to ${error.toPrecision(3)} times the bound of ` +
      `float32 sums, on ${problems} ${problems === 1 ? 'problem' : 'problems'}; it counts all the same.`,
  );
}

/** Both ends of a long name: files differ at the start, problems at the end. */
function shortened(text: string): string {
  return text.length <= 72 ? text : `${text.slice(0, 38)}...${text.slice(-31)}`;
}

function microseconds(us: number): string {
  if (Number.isNaN(us)) return '-';
  return us < 100 ? us.toFixed(2) : us.toFixed(0);
}

/** What kept peers out, each reason once, with the number of problems. */
export function peerProblems(rows: readonly Row[]): string[] {
  const counts = new Map<string, number>();
  for (const row of rows) {
    for (const problem of row.peerProblems ?? []) counts.set(problem, (counts.get(problem) ?? 0) + 1);
  }
  return [...counts].map(
    ([problem, count]) => `${problem} (${count} ${count === 1 ? 'problem' : 'problems'})`,
  );
}
