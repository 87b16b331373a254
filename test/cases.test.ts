import { type Device, openDevice } from '../lib/index.js';
import { allCases } from './cases/index.js';
import { runCase } from './harness/run-case.js';

describe('cases on the CPU device', () => {
  let device: Device;
  beforeAll(async () => {
    device = await openDevice('cpu');
  });
  afterAll(() => device.dispose());

  const operations = [...new Set(allCases.map((item) => item.operation))];
  test.each(operations)('%s', async (operation) => {
    const failures: string[] = [];
    for (const item of allCases.filter((candidate) => candidate.operation === operation)) {
      for (const fill of item.fills ?? (['exact', 'random'] as const)) {
        const report = await runCase(device, item, fill);
        failures.push(...report.failures.map((failure) => `${item.name} (${fill}): ${failure}`));
      }
    }
    expect(failures).toEqual([]);
  });
});
