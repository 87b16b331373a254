import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { checkProblem } from '../bench/check.js';
import { powerLaw, uniform, window } from '../bench/generators.js';
import { measure } from '../bench/measure.js';
import { Operand } from '../bench/operands.js';
import { measurePeers } from '../bench/peers.js';
import type { BoundProblem, ProblemContext } from '../bench/problem.js';
import { families } from '../bench/problems/index.js';
import { spmmFamily } from '../bench/problems/spmm.js';
import { coarsePeers, peerProblems, type Row, rowsTable } from '../bench/report.js';
import { shareOfRoof } from '../bench/roofline.js';
import { type Device, openDevice, type SpmmTuning } from '../lib/index.js';

let device: Device;
beforeAll(async () => {
  device = await openDevice('cpu');
});
afterAll(() => device.dispose());

const tiny: ProblemContext = {
  kind: 'cpu',
  quick: true,
  full: false,
  dtypes: ['float16'],
  sizes: (defaults) => defaults.slice(-1),
  matrices: [
    { name: 'a', group: 'dlmc', csr: uniform(100, 80, 0.1, 'a') },
    { name: 'b', group: 'uniform', csr: window(50, 7) },
  ],
};

test('a problem is tuned with the device that runs it', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'warptile-'));
  const tuned = await openDevice('cpu', { autotune: { file: path.join(folder, 'tuned.json') } });
  try {
    const [problem] = spmmFamily.problems(tiny);
    const bound = problem.bind(tuned);
    const tuning = (await bound.tune?.()) as SpmmTuning | undefined;
    expect(tuning?.measured.length).toBeGreaterThan(1);
    expect(tuned.memory().used).toBeGreaterThan(0);
    bound.dispose();
    expect(tuned.memory().used).toBe(0);
  } finally {
    tuned.dispose();
    rmSync(folder, { recursive: true });
  }
});

describe.each(families.map((family) => [family.operation, family] as const))('%s', (operation, family) => {
  const [problem] = family.problems(tiny);

  test('its problems count work and pass their check', async () => {
    expect(problem).toMatchObject({ operation, dtype: 'float16' });
    expect(problem.work.bytes).toBeGreaterThan(0);
    expect(problem.work.flops).toBeGreaterThan(0);
    const bound = problem.bind(device);
    expect(await checkProblem(bound, 'seed', 5)).toMatchObject({ pass: true, error: 0 });
    bound.dispose();
    expect(device.memory().used).toBe(0);
  });

  test('a wrong element is caught', async () => {
    const bound = problem.bind(device);
    const corrupt: BoundProblem = {
      ...bound,
      run() {
        bound.run();
        // The last element of the last row: samples always hold it.
        const stored = bound.output.rawDataSync();
        stored[stored.length - 1] ^= 1 << 12;
        const { buffer, byteOffset } = bound.output.view;
        device.backend.upload(buffer, byteOffset, stored);
      },
    };
    const { pass, failure } = await checkProblem(corrupt, 'seed', 5);
    expect(pass).toBe(false);
    expect(failure).toMatch(/^1 of \d+ wrong, element/);
    bound.dispose();
  });

  test('an output that is never written is caught', async () => {
    const bound = problem.bind(device);
    const idle: BoundProblem = { ...bound, run: () => {} };
    expect(await checkProblem(idle, 'seed', 5)).toMatchObject({ pass: false });
    bound.dispose();
  });

  test('every problem has its own name', () => {
    const full = [...family.problems({ ...tiny, quick: false, dtypes: ['float32', 'float16'] })];
    const large = [
      ...family.problems({ ...tiny, kind: 'cuda', quick: false, sizes: (defaults) => defaults }),
    ];
    for (const list of [full, large]) {
      expect(new Set(list.map(({ name, dtype }) => `${name} ${dtype}`)).size).toBe(list.length);
    }
  });
});

test('of a library the fastest right peer counts; wrong and absent ones are named', async () => {
  const [problem] = families[0].problems(tiny);
  const bound = problem.bind(device);
  const disposed: string[] = [];
  const busy = (ms: number): void => {
    const end = performance.now() + ms;
    while (performance.now() < end);
  };
  const peer = (name: string, run: () => void) => ({ name, run, dispose: () => void disposed.push(name) });
  const slow = () => {
    busy(20);
    bound.run();
  };
  const peers = [
    peer('lib SLOW', slow),
    peer('lib FAST', () => bound.run()),
    peer('lib WRONG', () => {}),
    peer('lib BROKEN', () => {
      throw new Error('no such algorithm');
    }),
    { name: 'lib OTHER', problem: 'takes blocks' },
    { name: 'other', problem: 'not found' },
  ];
  const measured = await measurePeers(
    device,
    { ...bound, peers: () => peers },
    { samples: 3, budgetMs: 500 },
    ['warm'],
  );
  expect(Object.keys(measured.times)).toEqual(['lib']);
  expect(measured.times.lib.warm?.us).toBeLessThan(20_000);
  expect(measured.runs.map(({ name, error }) => [name, error])).toEqual([
    ['lib SLOW', 0],
    ['lib FAST', 0],
  ]);
  expect(measured.variants).toEqual({ lib: 'FAST' });
  expect(measured.problems).toEqual([
    expect.stringMatching(/^lib WRONG: its result is wrong \(\d+ of \d+ wrong, element 0: got NaN/),
    'lib BROKEN: no such algorithm',
    'other: not found',
  ]);
  expect(disposed).toEqual(['lib SLOW', 'lib FAST', 'lib WRONG', 'lib BROKEN']);
  bound.dispose();
});

test('operands repeat a prime period and are read by rows and by elements', () => {
  const operand = Operand.uniform('x', [3, 400_000], 'float32', 1, 2);
  expect(operand.values[524_287]).toBe(operand.values[0]);
  expect(operand.values.every((value) => value >= 1 && value <= 2)).toBe(true);
  expect(operand.rows([2])).toEqual(operand.values.subarray(800_000));
  expect([...operand.elements([7, 1_199_999])]).toEqual([operand.values[7], operand.values[1_199_999]]);
});

test('generated matrices are sorted, and as dense as asked', () => {
  for (const csr of [uniform(300, 200, 0.1, 's'), window(100, 8), powerLaw(1000, 8, 's')]) {
    // The device checks the pattern.
    device.csr(csr).dispose();
  }
  expect(uniform(1000, 1000, 0.1, 's').columnIndices.length / 1e6).toBeCloseTo(0.1, 2);
  expect(window(100, 8).columnIndices.length).toBe(100 * 8 - 28);
  const { rowPointers, columnIndices } = powerLaw(8192, 8, 's');
  const mean = columnIndices.length / 8192;
  expect(mean).toBeGreaterThan(6);
  expect(mean).toBeLessThan(9);
  // A size that shares a factor with the numbering's stride loses no node.
  expect(powerLaw(18_607, 10, 's').columnIndices.length / 18_607).toBeGreaterThan(8);
  let longest = 0;
  for (let row = 0; row < 8192; ++row) longest = Math.max(longest, rowPointers[row + 1] - rowPointers[row]);
  expect(longest).toBeGreaterThan(20 * mean);
});

test('a time is the median of samples within the budget', async () => {
  let calls = 0;
  const { us, spread } = await measure(device, () => void ++calls, { samples: 5, budgetMs: 1000 });
  expect(calls).toBe(5);
  expect(us).toBeGreaterThan(0);
  expect(spread).toBeGreaterThanOrEqual(0);
  calls = 0;
  await measure(device, () => void ++calls, { samples: 5, budgetMs: 0 });
  expect(calls).toBe(1);
});

test('the share of the roof is the longer of bytes and operations over the time', () => {
  const work = { bytes: 4e9, flops: 1e12 };
  expect(shareOfRoof(work, 'float16', 1e6, {})).toBeNull();
  expect(shareOfRoof(work, 'float16', 2000, { copyGbps: 4000 })).toBeCloseTo(0.5);
  const tflops = { float16: 800 };
  expect(shareOfRoof(work, 'float16', 2000, { copyGbps: 4000, tflops })).toBeCloseTo(0.625);
  expect(shareOfRoof(work, 'float32', 2000, { copyGbps: 4000, tflops })).toBeCloseTo(0.5);
});

test('the table has a column for each peer, and says what fails', () => {
  const row: Row = {
    op: 'spmm',
    problem: 'p',
    dtype: 'float32',
    n: 8,
    device: 'cuda:0',
    variant: 'tiles',
    us: 12.345,
    spread: 0,
    peers: { cusparse: 24.69 },
    columns: { cold: { us: 20, spread: 0, peers: { cusparse: 30 } } },
    peerVariants: { cusparse: 'CSR_ALG2' },
    peerRuns: [{ name: 'cusparse CSR_ALG2', us: 25, error: 12.34 }],
    peerProblems: ['cublas: not found'],
    ratio: 2,
    roof: 0.05,
    bytes: 1,
    flops: 1,
    error: 0.25,
    nmse: 0,
    pass: true,
  };
  const { columns: _, peerRuns: __, ...plain } = row;
  const other: Row = { ...plain, peers: { torch: 1000.4 }, ratio: null, roof: null, pass: false };
  const [, head, first, second] = rowsTable([row, other])
    .split('\n')
    .map((line) => line.split('│').map((cell) => cell.trim()));
  expect(head.slice(5, -1)).toEqual([
    'us',
    'cusparse us',
    'torch us',
    'ratio',
    'cold us',
    'cold ratio',
    'roof',
    'error/bound',
    'variant',
    'check',
  ]);
  expect(first.slice(5, -1)).toEqual([
    '12.35',
    '24.69*',
    '-',
    '2.00x',
    '20.00',
    '1.50x',
    '5.0 %',
    '0.250',
    'tiles',
    'pass',
  ]);
  expect(second.slice(5, -1)).toEqual(['12.35', '-', '1000', '-', '-', '-', '-', '0.250', 'tiles', 'FAIL']);
  expect(coarsePeers([row, other])).toEqual([
    'cusparse CSR_ALG2 sums in something coarser than float32: its error is up to 12.3 times the bound of ' +
      'float32 sums, on 1 problem; it counts all the same.',
  ]);
  expect(peerProblems([row, other])).toEqual(['cublas: not found (2 problems)']);
});
