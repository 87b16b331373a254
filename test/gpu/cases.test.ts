import { type Device, openDevice } from '../../lib/index.js';
import { allCases } from '../cases/index.js';
import { runCase } from '../harness/run-case.js';
import { OperationSummary, selectCases, summaryTable, writeReport } from './suite.js';

// Enough over the families, dtypes, odd sizes and tile edges to mean something: fewer is a suite that lost its cases.
const leastCases = 1500;
// Failures printed for one operation; WARPTILE_REPORT=FILE holds all of them.
const mostPrinted = 40;

describe('cases on the GPU', () => {
  const { selected, complete } = selectCases(allCases);
  const summaries: OperationSummary[] = [];
  let device: Device;

  beforeAll(async () => {
    device = await openDevice('cuda:0');
  });

  afterAll(() => {
    if (device === undefined) return;
    const { name, driverVersion } = device.info;
    process.stderr.write(`${name}, driver ${driverVersion}\n${summaryTable(summaries)}\n`);
    const file = process.env.WARPTILE_REPORT;
    if (file) writeReport(file, name, summaries);
    device.dispose();
  });

  const operations = [...new Set(selected.map((item) => item.operation))];
  for (const operation of operations) {
    test(`${operation}`, async () => {
      const summary = new OperationSummary(operation);
      summaries.push(summary);
      const start = performance.now();
      for (const item of selected.filter((candidate) => candidate.operation === operation)) {
        ++summary.cases;
        for (const fill of item.fills ?? (['exact', 'random'] as const)) {
          try {
            summary.add(await runCase(device, item, fill));
          } catch (error) {
            const failures = [error instanceof Error ? (error.stack ?? error.message) : String(error)];
            summary.add({ operation, name: item.name, fill, failures, comparisons: [] });
            if ((error as { code?: string }).code === 'ERR_DEVICE_LOST') throw error;
          }
        }
      }
      summary.milliseconds = performance.now() - start;
      const lines = summary.failures.map(
        ({ name, fill, failures }) => `${name} (${fill}): ${failures.join('; ')}`,
      );
      if (lines.length > mostPrinted)
        lines.splice(mostPrinted, lines.length, `... ${summary.failures.length} in all`);
      expect(lines).toEqual([]);
    });
  }

  test('the suite is whole', () => {
    expect(selected.length).toBeGreaterThan(0);
    if (complete) expect(selected.length).toBeGreaterThanOrEqual(leastCases);
  });
});
