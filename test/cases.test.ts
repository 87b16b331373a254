import { type Device, openDevice } from '../lib/index.js';
import { allCases } from './cases/index.js';
import { failureLines, runCases, selectCases } from './harness/suite.js';

describe('cases on the CPU device', () => {
  let device: Device;
  beforeAll(async () => {
    device = await openDevice('cpu');
  });
  afterAll(() => device.dispose());

  const operations = [...new Set(allCases.map((item) => item.operation))];
  test.each(operations)(
    '%s',
    async (operation) => {
      const { failed } = await runCases(device, selectCases(allCases, { operations: [operation] }));
      expect(failureLines(failed, 40)).toEqual([]);
    },
    240_000,
  );
});
