import { writeFileSync } from 'node:fs';
import { Command } from 'commander';
import { packageVersion } from '../../bench/report.js';
import { allCases } from '../../test/cases/index.js';
import type { OperationCase } from '../../test/harness/case.js';
import {
  failureLines,
  leftOutLines,
  runCases,
  type SuiteResult,
  selectCases,
  tallyTable,
  toJson,
} from '../../test/harness/suite.js';
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
  const start = performance.now();
  let result: SuiteResult;
  try {
    bar.start(cases.length);
    result = await runCases(device, cases, (index, item) =>
      bar.step(index, `${item.operation} ${item.name}`),
    );
  } finally {
    bar.stop();
    device.dispose();
  }
  const { tallies, failed, leftOut } = result;
  for (const line of failureLines(failed, mostPrinted)) console.log(`FAIL ${line}`);
  console.log(tallyTable(tallies));
  for (const line of leftOutLines(leftOut)) console.log(`${line}.`);
  const failures = tallies.reduce((sum, tally) => sum + tally.failures, 0);
  const ran = cases.length - leftOut.length;
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  if (ran === 0) console.log('No case ran.');
  else if (failures === 0) console.log(`All ${ran} cases pass (${seconds} s).`);
  else {
    const where = options.json ? '' : '; --json FILE has every failure';
    console.log(`${failures} of ${ran} cases fail (${seconds} s)${where}.`);
  }
  if (options.json !== undefined) {
    const content = { version: packageVersion(), date: new Date().toISOString(), device: device.info };
    writeFileSync(options.json, toJson({ ...content, rows: tallies, failed, leftOut }));
  }
  if (failures > 0 || ran === 0) process.exitCode = 1;
}

function select({ operation, filter, reduced }: CheckOptions): readonly OperationCase[] {
  const known = [...new Set(allCases.map((item) => item.operation))];
  for (const name of operation ?? []) {
    if (!known.includes(name)) fail('ERR_ARGUMENT', '--operation', `one of ${known.join(', ')}`, name);
  }
  const cases = selectCases(allCases, { operations: operation, filter, reduced });
  if (cases.length === 0) throw new WarptileError('ERR_ARGUMENT', 'no case matches the options');
  return cases;
}
