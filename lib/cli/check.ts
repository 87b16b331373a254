import { writeFileSync } from 'node:fs';
import { Command } from 'commander';
import { packageVersion, plainTable } from '../../bench/report.js';
import { allCases } from '../../test/cases/index.js';
import type { OperationCase } from '../../test/harness/case.js';
import { type CaseReport, runCase } from '../../test/harness/run-case.js';
import { fail, WarptileError } from '../errors.js';
import { deviceOption, jsonOption, openNamed } from './options.js';
import { ProgressBar } from './progress.js';

interface CheckOptions {
  readonly device: string;
  readonly operation?: readonly string[];
  readonly filter?: string;
  readonly reduced?: boolean;
  readonly json?: string;
}

/** What the cases of one operation and dtype came to. */
interface Tally {
  readonly operation: string;
  readonly dtype: string;
  cases: number;
  failures: number;
  worst: number;
}

const mostPrinted = 20;

export function checkCommand(): Command {
  return new Command('check')
    .description("validate every operation on this machine's device against the reference")
    .addOption(deviceOption())
    .option('--operation <name...>', 'only these operations')
    .option('--filter <text>', 'only cases whose name contains the text')
    .option('--reduced', 'only the small cases that together cover every kernel')
    .addOption(jsonOption())
    .action(check);
}

async function check(options: CheckOptions): Promise<void> {
  const cases = select(options);
  const device = await openNamed(options.device);
  const bar = new ProgressBar();
  const tallies = new Map<string, Tally>();
  const failed: CaseReport[] = [];
  const start = performance.now();
  try {
    bar.start(cases.length);
    for (const [index, item] of cases.entries()) {
      bar.step(index, `${item.operation} ${item.name}`);
      const key = `${item.operation} ${item.dtype}`;
      const tally = tallies.get(key) ?? {
        operation: item.operation,
        dtype: item.dtype,
        cases: 0,
        failures: 0,
        worst: 0,
      };
      tallies.set(key, tally);
      ++tally.cases;
      const reports: CaseReport[] = [];
      for (const fill of item.fills ?? (['exact', 'random'] as const)) {
        reports.push(await runCase(device, item, fill).catch((error) => thrown(item, fill, error)));
      }
      const bad = reports.filter((report) => report.failures.length > 0);
      failed.push(...bad);
      if (bad.length > 0) ++tally.failures;
      for (const { comparisons } of reports) {
        for (const { worstRatio } of comparisons) tally.worst = Math.max(tally.worst, worstRatio);
      }
      // The reference blocks the event loop; let signals and the terminal have their turn.
      if (index % 32 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
  } finally {
    bar.stop();
    device.dispose();
  }
  for (const report of failed.slice(0, mostPrinted)) {
    console.log(`FAIL ${report.operation} ${report.name} (${report.fill}): ${report.failures.join('; ')}`);
  }
  if (failed.length > mostPrinted)
    console.log(`... and ${failed.length - mostPrinted} more; --json FILE has all`);
  const rows = [...tallies.values()];
  console.log(
    plainTable(
      ['operation', 'dtype', 'cases', 'failures', 'worst error/bound'],
      rows.map(({ operation, dtype, cases: count, failures, worst }) => [
        operation,
        dtype,
        `${count}`,
        `${failures}`,
        worst.toFixed(3),
      ]),
      2,
    ),
  );
  const failures = rows.reduce((sum, row) => sum + row.failures, 0);
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(
    failures === 0
      ? `All ${cases.length} cases pass (${seconds} s).`
      : `${failures} of ${cases.length} cases fail (${seconds} s).`,
  );
  if (options.json !== undefined) writeJson(options.json, { device: device.info, rows, failed });
  if (failures > 0) process.exitCode = 1;
}

function select({ operation, filter, reduced }: CheckOptions): readonly OperationCase[] {
  const known = [...new Set(allCases.map((item) => item.operation))];
  for (const name of operation ?? []) {
    if (!known.includes(name)) fail('ERR_ARGUMENT', '--operation', `one of ${known.join(', ')}`, name);
  }
  const cases = allCases.filter(
    (item) =>
      (operation === undefined || operation.includes(item.operation)) &&
      (filter === undefined || item.name.includes(filter)) &&
      (reduced !== true || item.reduced === true),
  );
  if (cases.length === 0) throw new WarptileError('ERR_ARGUMENT', 'no case matches the options');
  return cases;
}

function thrown(item: OperationCase, fill: CaseReport['fill'], error: unknown): CaseReport {
  // Nothing after a lost device means anything.
  if ((error as { code?: string }).code === 'ERR_DEVICE_LOST') throw error;
  const { operation, name } = item;
  const message = error instanceof Error ? error.message : String(error);
  return { operation, name, fill, failures: [`threw ${message}`], comparisons: [] };
}

function writeJson(file: string, results: object): void {
  // JSON has no Infinity, which is what a wrong element's error over its bound can be.
  const finite = (_: string, value: unknown): unknown =>
    typeof value === 'number' && !Number.isFinite(value) ? String(value) : value;
  const content = { version: packageVersion(), date: new Date().toISOString(), ...results };
  writeFileSync(file, `${JSON.stringify(content, finite, 2)}\n`);
}
