import { plainTable } from '../../bench/report.js';
import type { Device } from '../../lib/device/device.js';
import { lackOf, planDevice } from '../../lib/planning/plan-device.js';
import type { Fill, OperationCase } from './case.js';
import { type CaseReport, runCase } from './run-case.js';

/** Which cases to run; what is left out does not restrict. */
export interface Selection {
  readonly operations?: readonly string[] | undefined;
  /** A part of the case's name. */
  readonly filter?: string | undefined;
  /** Only the small cases that together cover every kernel. */
  readonly reduced?: boolean | undefined;
}

export function selectCases(
  cases: readonly OperationCase[],
  { operations, filter = '', reduced = false }: Selection,
): readonly OperationCase[] {
  return cases.filter(
    (item) =>
      (operations === undefined || operations.includes(item.operation)) &&
      item.name.includes(filter) &&
      (!reduced || item.reduced === true),
  );
}

/** What the cases of one operation and dtype came to. */
export interface Tally {
  readonly operation: string;
  readonly dtype: string;
  /** That ran. */
  cases: number;
  /** Cases with a failure in any fill. */
  failures: number;
  /** That need what the device lacks, and did not run. */
  leftOut: number;
  /** Largest error over its bound, and the case that has it. */
  worst: number;
  worstCase: string;
}

/** A case that did not run, and what it needs. */
export interface LeftOut {
  readonly operation: string;
  readonly name: string;
  readonly needs: string;
}

export interface SuiteResult {
  readonly tallies: readonly Tally[];
  readonly failed: readonly CaseReport[];
  readonly leftOut: readonly LeftOut[];
}

/**
 * Runs every case that the device can run in every fill that it has. An error that a case throws is its failure, except that of a lost device,
 * after which nothing means anything. `onCase` is told before each case that runs.
 */
export async function runCases(
  device: Device,
  cases: readonly OperationCase[],
  onCase: (index: number, item: OperationCase) => void = () => {},
): Promise<SuiteResult> {
  const tallies = new Map<string, Tally>();
  const failed: CaseReport[] = [];
  const leftOut: LeftOut[] = [];
  const card = planDevice(device);
  for (const [index, item] of cases.entries()) {
    const { operation, dtype, name } = item;
    const key = `${operation} ${dtype}`;
    const tally = tallies.get(key) ?? emptyTally(operation, dtype);
    tallies.set(key, tally);
    const needs = lackOf(card, item.needs ?? {});
    if (needs !== undefined) {
      ++tally.leftOut;
      leftOut.push({ operation, name, needs });
      continue;
    }
    onCase(index, item);
    ++tally.cases;
    const failedBefore = failed.length;
    for (const fill of item.fills ?? (['exact', 'random'] as const)) {
      const report = await runCase(device, item, fill).catch((error) => thrown(item, fill, error));
      if (report.failures.length > 0) failed.push(report);
      for (const { worstRatio } of report.comparisons) {
        if (worstRatio <= tally.worst) continue;
        tally.worst = worstRatio;
        tally.worstCase = `${name} (${fill})`;
      }
    }
    if (failed.length > failedBefore) ++tally.failures;
    // The reference blocks the event loop; let signals and the terminal have their turn.
    if (index % 32 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  return { tallies: [...tallies.values()], failed, leftOut };
}

const emptyTally = (operation: string, dtype: string): Tally => ({
  operation,
  dtype,
  cases: 0,
  failures: 0,
  leftOut: 0,
  worst: 0,
  worstCase: '',
});

function thrown(item: OperationCase, fill: Fill, error: unknown): CaseReport {
  if ((error as { code?: string }).code === 'ERR_DEVICE_LOST') throw error;
  const { operation, name } = item;
  const message = error instanceof Error ? error.message : String(error);
  return { operation, name, fill, failures: [`threw ${message}`], comparisons: [] };
}

/** One line a failed case, at most `most` of them. */
export function failureLines(failed: readonly CaseReport[], most: number): string[] {
  const lines = failed
    .slice(0, most)
    .map(({ operation, name, fill, failures }) => `${operation} ${name} (${fill}): ${failures.join('; ')}`);
  if (failed.length > most) lines.push(`... and ${failed.length - most} more`);
  return lines;
}

/** '412 cases left out: they need compute capability 9.0' */
export function leftOutLines(leftOut: readonly LeftOut[]): string[] {
  const counts = new Map<string, number>();
  for (const { needs } of leftOut) counts.set(needs, (counts.get(needs) ?? 0) + 1);
  return [...counts].map(([needs, count]) =>
    count === 1 ? `1 case left out: it needs ${needs}` : `${count} cases left out: they need ${needs}`,
  );
}

export function tallyTable(tallies: readonly Tally[]): string {
  return plainTable(
    ['operation', 'dtype', 'cases', 'failures', 'left out', 'worst error/bound'],
    tallies.map(({ operation, dtype, cases, failures, leftOut, worst }) => [
      operation,
      dtype,
      `${cases}`,
      `${failures}`,
      `${leftOut}`,
      worst.toFixed(3),
    ]),
    2,
  );
}

/** As JSON, with infinities, which JSON lacks and a wrong element's error over its bound can be, as text. */
export function toJson(content: object): string {
  const finite = (_: string, value: unknown): unknown =>
    typeof value === 'number' && !Number.isFinite(value) ? String(value) : value;
  return `${JSON.stringify(content, finite, 2)}\n`;
}
