import { writeFileSync } from 'node:fs';
import { type Device, openDevice } from '../../lib/index.js';
import { allCases } from '../cases/index.js';
import type { CaseReport } from '../harness/run-case.js';
import {
  failureLines,
  type LeftOut,
  leftOutLines,
  runCases,
  selectCases,
  type Tally,
  tallyTable,
  toJson,
} from '../harness/suite.js';

// Enough over the families, dtypes, odd sizes and tile edges to mean something: fewer is a suite that lost its cases.
const leastCases = 1500;

// WARPTILE_OPERATION: names, separated by commas. WARPTILE_FILTER: a part of the case's name. WARPTILE_REDUCED=1: the
// small cases, for compute-sanitizer. WARPTILE_REPORT: a file for the results and every failure, as JSON.
const {
  WARPTILE_OPERATION: operationNames,
  WARPTILE_FILTER: filter,
  WARPTILE_REDUCED,
  WARPTILE_REPORT: reportFile,
} = process.env;
const reduced = WARPTILE_REDUCED === '1';

describe('cases on the GPU', () => {
  const selected = selectCases(allCases, { operations: operationNames?.split(','), filter, reduced });
  const complete = !operationNames && !filter && !reduced;
  const tallies: Tally[] = [];
  const allFailed: CaseReport[] = [];
  const allLeftOut: LeftOut[] = [];
  let device: Device;

  beforeAll(async () => {
    device = await openDevice('cuda:0');
  });

  afterAll(() => {
    if (device === undefined) return;
    const { name, driverVersion } = device.info;
    const lines = [`${name}, CUDA driver ${driverVersion}`, tallyTable(tallies), ...leftOutLines(allLeftOut)];
    process.stderr.write(`${lines.join('\n')}\n`);
    const report = { device: device.info, tallies, failed: allFailed, leftOut: allLeftOut };
    if (reportFile) writeFileSync(reportFile, toJson(report));
    device.dispose();
  });

  const operations = [...new Set(selected.map((item) => item.operation))];
  for (const operation of operations) {
    test(operation, async () => {
      const result = await runCases(device, selectCases(selected, { operations: [operation] }));
      tallies.push(...result.tallies);
      allFailed.push(...result.failed);
      allLeftOut.push(...result.leftOut);
      expect(failureLines(result.failed, 40)).toEqual([]);
    });
  }

  test('the suite is whole', () => {
    const ran = selected.length - allLeftOut.length;
    expect(ran).toBeGreaterThan(0);
    if (complete) expect(ran).toBeGreaterThanOrEqual(leastCases);
  });
});
