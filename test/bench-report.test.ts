import { checkProblem } from '../bench/check.js';
import { compareReports } from '../bench/compare.js';
import { expectedSums } from '../bench/expectation.js';
import { banded, pruned, rmat, uniform, window } from '../bench/generators.js';
import { losses, summaries } from '../bench/goals.js';
import { htmlReport } from '../bench/html.js';
import { hunt } from '../bench/hunt.js';
import { generatedMatrices, randomMatrix } from '../bench/problem-set.js';
import { spmmFamily } from '../bench/problems/spmm.js';
import { lossLines, makeReport, preparationLines, type Row, summaryTable } from '../bench/report.js';
import { TorchPeer } from '../bench/torch.js';
import { decode, encode } from '../lib/backends/reference/views.js';
import { type Device, openDevice } from '../lib/index.js';
import type { HostCsr } from '../lib/io/host-csr.js';

let device: Device;
beforeAll(async () => {
  device = await openDevice('cpu');
});
afterAll(() => device.dispose());

describe('a peer that keeps its sums in float16', () => {
  const a = { name: 'a', group: 'dlmc' as const, csr: uniform(60, 700, 0.3, 'a') };
  const [problem] = spmmFamily.problems({
    kind: 'cpu',
    quick: true,
    full: false,
    dtypes: ['float16'],
    sizes: () => [9],
    matrices: [a],
  });

  /** The product with every partial sum rounded to float16, and `change` done to the result. */
  function coarse(change: (values: Float64Array) => void) {
    const bound = problem.bind(device);
    const halved = new Uint16Array(1);
    const half = (value: number): number => {
      encode('float16', Float64Array.of(value), halved);
      return decode('float16', halved)[0];
    };
    const run = (): void => {
      bound.run();
      const stored = bound.output.rawDataSync() as Uint16Array;
      const values = decode('float16', stored);
      // Rounding errors of some hundred partial sums, of both signs.
      values.forEach((value, i) => {
        const unit = 2 ** -11 * 20;
        values[i] = half(value + unit * Math.sin(i));
      });
      change(values);
      encode('float16', values, stored);
      const { buffer, byteOffset } = bound.output.view;
      device.backend.upload(buffer, byteOffset, stored);
    };
    return { ...bound, run };
  }

  test('is as right as it can be', async () => {
    const bound = coarse(() => {});
    const check = await checkProblem(bound, 'seed', 8);
    expect(check).toMatchObject({ pass: false, coarse: true });
    expect(check.error).toBeGreaterThan(1);
    bound.dispose();
  });

  test.each([
    ['zeros', (values: Float64Array) => values.fill(0)],
    ['the wrong sign', (values: Float64Array) => values.set(values.map((value) => -value))],
    ['one wrong element', (values: Float64Array) => values.set([1000], values.length - 1)],
  ])('is not taken for right with %s', async (_, change) => {
    const bound = coarse(change);
    const check = await checkProblem(bound, 'seed', 8);
    expect(check.pass).toBe(false);
    expect(check.coarse).toBeUndefined();
    bound.dispose();
  });

  test('has no allowance in float32', () => {
    const one = Float64Array.of(1);
    expect(expectedSums('float32', one, () => 3, one).ownSums).toBeUndefined();
    const { bound, ownSums } = expectedSums('bfloat16', one, () => 3, one);
    expect(ownSums?.bound[0]).toBeGreaterThan(bound[0]);
    expect(ownSums?.nmse).toBeCloseTo(5 * 2 ** -16);
  });
});

describe('generators', () => {
  function lengths({ rowPointers }: HostCsr): { mean: number; cv: number; empty: number } {
    const rows = rowPointers.length - 1;
    const all = Array.from({ length: rows }, (_, row) => rowPointers[row + 1] - rowPointers[row]);
    const mean = all.reduce((sum, x) => sum + x, 0) / rows;
    const variance = all.reduce((sum, x) => sum + (x - mean) ** 2, 0) / rows;
    return { mean, cv: Math.sqrt(variance) / mean, empty: all.filter((x) => x === 0).length / rows };
  }

  test.each([
    [0.5, 0.1, 0],
    [0.1, 0.49, 0],
    [0.02, 0.45, 0],
    [0.05, 0.57, 0.05],
    [0.02, 1.75, 0.58],
  ])(
    'pruned weights have the density %f, the deviation %f and the empty rows %f',
    (density, rowCv, emptyRows) => {
      const csr = pruned({ rows: 2048, columns: 1024, density, rowCv, emptyRows }, 'seed');
      device.csr(csr).dispose();
      const { mean, cv, empty } = lengths(csr);
      expect(mean / 1024 / density).toBeCloseTo(1, 1);
      expect(Math.abs(cv / rowCv - 1)).toBeLessThan(0.25);
      expect(empty).toBeGreaterThanOrEqual(0.99 * emptyRows);
      expect(empty).toBeLessThan(emptyRows + 0.1);
    },
  );

  test('R-MAT graphs are skewed, bands are bands, global tokens see and are seen', () => {
    const graph = rmat(12, 8, 'seed');
    device.csr(graph).dispose();
    const { mean, cv } = lengths(graph);
    expect(mean).toBeGreaterThan(6);
    expect(mean).toBeLessThan(8);
    expect(cv).toBeGreaterThan(1);
    expect(banded(100, 1, 1, 'seed').columnIndices).toHaveLength(298);
    const band = banded(500, 20, 0.3, 'seed');
    device.csr(band).dispose();
    expect(lengths(band).mean).toBeCloseTo(13, 0);
    const mask = window(100, 8, 4);
    device.csr(mask).dispose();
    expect(lengths(mask).mean * 100).toBe(400 + (5 + 6 + 7 + 93 * 8) + (1 + 2 + 3 + 89 * 4));
  });

  test('the same seed gives the same matrix', () => {
    for (const seed of ['1', '2', '3', '4', '5', '6']) {
      expect(randomMatrix(seed).name).toBe(randomMatrix(seed).name);
    }
    const shape = { rows: 50, columns: 60, density: 0.2, rowCv: 0.5 };
    expect(pruned(shape, 'seed')).toEqual(pruned(shape, 'seed'));
    expect(pruned(shape, 'seed')).not.toEqual(pruned(shape, 'other'));
    expect(rmat(8, 4, 'seed')).toEqual(rmat(8, 4, 'seed'));
    expect(banded(50, 5, 0.5, 'seed')).not.toEqual(banded(50, 5, 0.5, 'other'));
  });

  test('the full set has at least 40 matrices under names of their own, of every group', () => {
    const full = generatedMatrices('cuda', 'full');
    expect(new Set(full.map(({ name }) => name)).size).toBe(full.length);
    expect(full.length).toBeGreaterThanOrEqual(40);
    expect(new Set(full.map(({ group }) => group))).toEqual(new Set(['dlmc', 'uniform', 'graph', 'fem']));
  });
});

const base: Row = {
  op: 'spmm',
  problem: 'p n=32',
  dtype: 'float16',
  n: 32,
  group: 'dlmc',
  device: 'cuda:0',
  variant: 'v',
  us: 10,
  spread: 0.01,
  peers: { cusparse: 40 },
  peerVariants: { cusparse: 'CSR_ALG2' },
  ratio: 4,
  roof: 0.1,
  bytes: 1,
  flops: 1,
  error: 0,
  nmse: 0,
  pass: true,
};

describe('reports', () => {
  test('group problems, with the geometric mean, the worst and every loss', () => {
    const rows: Row[] = [
      base,
      { ...base, problem: 'q n=32', peers: { cusparse: 9, cublas: 5 } },
      { ...base, problem: 'p n=1', n: 1, columns: { cold: { us: 20, spread: 0, peers: { cusparse: 30 } } } },
      { ...base, problem: 'other dtype', dtype: 'float32', column: 'cold' },
      { ...base, problem: 'no peers', peers: {}, ratio: null },
    ];
    const groups = summaries(rows);
    expect(
      groups.map(({ group, dtype, column, problems, losses: lost, goal }) => [
        group,
        dtype,
        column,
        problems,
        lost,
        goal,
      ]),
    ).toEqual([
      ['dlmc', 'float16', 'warm', 2, 1, 2.5],
      ['n < 32', 'float16', 'warm', 1, 0, 1.3],
      ['n < 32', 'float16', 'cold', 1, 0, 1.3],
      ['dlmc', 'float32', 'cold', 1, 0, 1.8],
    ]);
    expect(groups[0]).toMatchObject({ worst: 0.9, worstProblem: 'q n=32' });
    expect(groups[0].geomean).toBeCloseTo(Math.sqrt(4 * 0.9));
    expect(groups[2].geomean).toBe(1.5);
    expect(lossLines(losses(rows))).toEqual([
      'loss: spmm q n=32 float16 warm: 0.50x of cublas',
      'loss: spmm q n=32 float16 warm: 0.90x of cusparse',
    ]);
    expect(summaryTable(groups)).toMatch(/1\.90x │ +2\.5x missed │ 0\.90x/);
  });

  test('make one page that loads nothing, whatever the problems are called', () => {
    const page = htmlReport(
      makeReport(device, {}, [{ ...base, problem: '</script><b>"REPORT" /*STYLE*/ $& $1' }]),
    );
    expect(page).not.toMatch(/(src|href)=|@import|url\(|sourceMappingURL|fetch\(/);
    expect(page.match(/<\/script>/g)).toHaveLength(3);
    const [, json] = /<script type="application\/json" id="report">(.*?)<\/script>/s.exec(page) ?? [];
    const { report, summaries: groups, losses: lost } = JSON.parse(json);
    expect(report.rows[0].problem).toBe('</script><b>"REPORT" /*STYLE*/ $& $1');
    expect([groups, lost]).toMatchObject([[{ geomean: 4 }], []]);
    expect(page).toContain('Chart');
    expect(page).toContain('prefers-color-scheme: dark');
  });

  test('name the costliest preparation', () => {
    expect(preparationLines([base])).toEqual([]);
    expect(preparationLines([base, { ...base, prepareUs: 300 }, { ...base, prepareUs: 20 }])).toEqual([
      'preparing costs at most 30 calls (300 us of host time): spmm p n=32 float16.',
    ]);
  });

  test('compare beyond the noise, column by column', () => {
    const report = (...rows: Row[]) => makeReport(device, {}, rows);
    const cold = (us: number): Row => ({ ...base, columns: { cold: { us, spread: 0, peers: {} } } });
    const same = compareReports(report(base), report({ ...base, us: 10.4 }));
    expect(same).toEqual({ compared: 1, slower: [], faster: [] });
    const noisy = compareReports(report({ ...base, spread: 0.1 }), report({ ...base, us: 12 }));
    expect(noisy.slower).toEqual([]);
    const { compared, slower, faster } = compareReports(report(cold(20)), report({ ...cold(30), us: 9 }));
    expect(compared).toBe(2);
    expect(slower).toMatchObject([{ column: 'cold', before: 20, now: 30, noise: 0.05 }]);
    expect(faster).toMatchObject([{ column: 'us', before: 10, now: 9 }]);
    expect(compareReports(report(base), report({ ...base, us: Number.NaN })).slower).toHaveLength(1);
    expect(() => compareReports(report(base), report({ ...base, problem: 'new' }))).toThrow('none in common');
    expect(() => compareReports({ ...report(base), device: 'another' }, report(base))).toThrow('another');
  });
});

test('a hunt measures as many random problems as asked, the same for the same seed', async () => {
  const steps: string[] = [];
  const run = () =>
    hunt(
      device,
      { count: 2, seed: 's1', operations: ['spmm'], dtypes: ['float32'] },
      { step: (_, problem) => steps.push(problem), found: () => {} },
    );
  const rows = await run();
  expect(rows).toHaveLength(2);
  expect(rows.every(({ pass, op }) => pass && op === 'spmm')).toBe(true);
  await run();
  expect(steps.slice(2)).toEqual(steps.slice(0, 2));
}, 30_000);

describe('PyTorch', () => {
  const effort = { samples: 1, budgetMs: 1 };
  const ask = (peer: TorchPeer) => peer.measure('attention', 'float16', { seqQ: 3 }, ['warm'], effort);
  const scripted = (script: string) => new TorchPeer([process.execPath, '-e', script]);

  test('the fastest of its routines counts, of the problem that was asked for', async () => {
    const peer = scripted(`
      console.log(JSON.stringify({ version: '2' }));
      require('readline').createInterface({ input: process.stdin }).on('line', (line) => {
        const { operation, problem } = JSON.parse(line);
        const run = (name, us) => ({ name: 'torch ' + operation + name, times: { warm: { us, spread: 0 } } });
        console.log(JSON.stringify({ runs: [run('slow', 9), run('fast', problem.seqQ)], problems: ['torch other: no'] }));
      });`);
    for (let i = 0; i < 2; ++i) {
      expect(await ask(peer)).toEqual({
        times: { torch: { warm: { us: 3, spread: 0 } } },
        variants: { torch: 'attentionfast' },
        runs: [],
        problems: [],
      });
    }
    peer.stop();
  });

  test.each([
    ['console.log(JSON.stringify({ problem: "no module" }))', 'torch: no module'],
    ['', 'torch: python3 does not start'],
    [
      'console.log("{}"); process.stdin.once("data", () => process.exit(1))',
      'torch: python3 ended or took too long',
    ],
  ])('is said to be missing: %s', async (script, problem) => {
    const peer = scripted(script);
    for (let i = 0; i < 2; ++i) expect(await ask(peer)).toMatchObject({ times: {}, problems: [problem] });
    peer.stop();
  });

  test('without Python it is left out', async () => {
    const { problems } = await ask(new TorchPeer(['no-such-python']));
    expect(problems).toEqual(['torch: spawn no-such-python ENOENT']);
  });
});
