import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import Table from 'cli-table3';
import { packageRoot } from '../lib/backends/load-addon.cjs';
import type { Device } from '../lib/device/device.js';
import type { FloatDType } from '../lib/tensor/dtype.js';
import type { Ceilings } from './roofline.js';

/** One measured problem, as --json writes it. */
export interface Row {
  readonly op: string;
  readonly problem: string;
  readonly dtype: FloatDType;
  readonly n: number;
  readonly device: string;
  readonly variant: string;
  /** Median microseconds of a call. */
  readonly us: number;
  readonly spread: number;
  /** Microseconds of each peer that took the problem. */
  readonly peers: { readonly [name: string]: number };
  /** Which of a library's algorithms was the fastest. */
  readonly peerVariants: { readonly [name: string]: string };
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
  readonly pass: boolean;
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

/** The rows of one operation as a table; a column for each peer that measured anything. */
export function rowsTable(rows: readonly Row[]): string {
  const peers = [...new Set(rows.flatMap((row) => Object.keys(row.peers)))].sort();
  const head = ['operation', 'problem', 'dtype', 'device', 'us', ...peers.map((name) => `${name} us`)];
  head.push('ratio', 'roof', 'error/bound', 'check');
  const lines = rows.map((row) => [
    row.op,
    shortened(row.problem),
    row.dtype,
    row.device,
    microseconds(row.us),
    ...peers.map((name) => (Object.hasOwn(row.peers, name) ? microseconds(row.peers[name]) : '-')),
    row.ratio === null ? '-' : `${row.ratio.toFixed(2)}x`,
    row.roof === null ? '-' : `${(100 * row.roof).toFixed(row.roof < 0.1 ? 1 : 0)} %`,
    row.error === null ? '-' : row.error.toFixed(3),
    row.pass ? (row.note ?? 'pass') : 'FAIL',
  ]);
  return plainTable(head, lines, 4);
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
