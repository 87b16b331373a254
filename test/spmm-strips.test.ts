import { countAllStrips, countStrips } from '../lib/formats/strip-counts.js';
import { shareTable, shareTiles } from '../lib/formats/tile-counts.js';
import { type Device, explainSpmm, openDevice, spmm } from '../lib/index.js';

import { type SpmmFeatures, selectSpmm } from '../lib/ops/spmm-plan.js';
import { bestStripPlan, stripPlans, stripsTime } from '../lib/ops/spmm-strips.js';
import { h200, spmmFeatures } from './harness/plan-features.js';
import { Random } from './harness/random.js';
import { recordSpmmCalls } from './harness/record-calls.js';

const features = (change: Partial<SpmmFeatures> = {}): SpmmFeatures =>
  spmmFeatures({
    dtype: 'float32',
    rows: 4096,
    columns: 4096,
    stored: 260_000,
    longestRow: 64,
    stripSpan: 71,
    strips: { rows: 8, count: 36_576, items: 512, longest: 72, parts: 0 },
    ...change,
  });

describe('plans of strips', () => {
  test('win where rows share most of their columns', () => {
    const { plan, candidates } = selectSpmm(features(), h200);
    expect(plan.variant).toBe('strips');
    expect(candidates.at(-1)?.us).toBeLessThan(9);
    const { us } = bestStripPlan(features(), features().strips as never, h200);
    expect(stripsTime(features(), features().strips as never, h200, plan)).toBe(us);
  });

  test.each([
    [{ dtype: 'float16' }, 'needs float32'],
    [{ format: 'block-sparse' }, 'needs a CSR matrix'],
    [{ batchedValues: true }, 'needs one set of values'],
    [{ stripSpan: undefined }, 'needs rows that share columns'],
    [{ stripSpan: 200_000 }, 'needs strips of at most 196608 columns'],
    [{ vectors: false, pairs: false, width: 1 }, 'needs rows at multiples of two elements'],
    [{ farRows: true }, 'needs rows of B less than 4 GiB apart'],
    [{ width: 2 ** 22 }, 'needs at most 2097120 columns of B'],
    [{ strips: undefined }, 'needs an up-to-date copy'],
  ] as const)('are impossible for %o', (change, problem) => {
    expect(() => selectSpmm(features(change as Partial<SpmmFeatures>), h200, 'strips')).toThrow(
      expect.objectContaining({ code: 'ERR_UNSUPPORTED', message: expect.stringContaining(problem) }),
    );
  });

  test.each([4, 8] as const)(
    'take any width, whole tiles where lanes take eight columns (%i rows)',
    (rows) => {
      for (const width of [2, 4, 20, 32, 64, 66, 68, 128, 192, 256, 1000]) {
        const plans = stripPlans({ width, vectors: width % 4 === 0 }, rows);
        expect(plans.length).toBeGreaterThan(0);
        for (const { vector, piece, lanes } of plans) {
          expect(width % piece).toBe(0);
          if (vector === 8) expect(width % (8 * lanes)).toBe(0);
        }
        const strips = { rows, count: 0, items: 1, longest: 0, parts: 0 };
        expect(bestStripPlan(features({ width, stored: 0 }), strips, h200).us).toBeGreaterThan(0);
      }
    },
  );
});

describe('counts of strips', () => {
  test('are those of a plain count, filled up to fours', () => {
    const random = new Random('strips');
    const pointers = [0];
    const indices: number[] = [];
    const found = [new Map<number, Set<number>>(), new Map<number, Set<number>>()];
    let span = 0;
    for (let row = 0; row < 93; ++row) {
      for (let column = 0; column < 210; ++column) {
        if (row % 9 === 4 || random.unit() > 0.1) continue;
        indices.push(column);
        [4, 8].forEach((height, i) => {
          const strip = Math.floor(row / height);
          found[i].set(strip, (found[i].get(strip) ?? new Set<number>()).add(column));
        });
      }
      pointers.push(indices.length);
    }
    for (const columns of found[1].values()) {
      span = Math.max(span, Math.max(...columns) - Math.min(...columns) + 1);
    }
    const counted = countAllStrips(Int32Array.from(pointers), Int32Array.from(indices), new Int32Array(210));
    expect(counted.span).toBe(span);
    ([4, 8] as const).forEach((height, i) => {
      const expected = Array.from({ length: Math.ceil(93 / height) }, (_, strip) => {
        return 4 * Math.ceil((found[i].get(strip)?.size ?? 0) / 4);
      });
      expect([...counted.strips[height].counts]).toEqual(expected);
    });
  });

  test('are left out where rows share few columns', () => {
    const pointers = Int32Array.from({ length: 1001 }, (_, i) => i);
    expect(
      countStrips(
        pointers,
        Int32Array.from({ length: 1000 }, (_, i) => i),
        1000,
      ),
    ).toBeUndefined();
    expect(countStrips(pointers, new Int32Array(1000), 1000)?.span).toBe(1);
    expect(countStrips(new Int32Array(5), new Int32Array(0), 7)).toBeUndefined();
  });

  test('long strips are cut at multiples of four', () => {
    const rowPointers = Int32Array.from({ length: 401 }, (_, row) => (row < 60 ? row : row + 1099));
    const columnIndices = Int32Array.from({ length: 1499 }, (_, i) => (i < 59 ? 3 : i < 1159 ? i - 59 : 3));
    const counted = countAllStrips(rowPointers, columnIndices, new Int32Array(1100)).strips[8];
    const { items, ...shares } = shareTiles(counted);
    expect({ items, ...shares }).toEqual({
      rows: 8,
      count: 1296,
      items: 54,
      parts: 5,
      cuts: 1,
      longest: 220,
      most: 1100,
    });
    const table = shareTable(counted, shareTiles(counted));
    for (let item = 0; item < items; ++item) {
      expect([table[4 * item + 1] % 4, table[4 * item + 2] % 4]).toEqual([0, 0]);
    }
  });
});

describe('a copy in strips', () => {
  let device: Device;
  beforeEach(async () => {
    device = await openDevice('cpu');
  });
  afterEach(() => device.dispose());

  const make = () => {
    const random = new Random('strip copy');
    const rowPointers = [0];
    const columnIndices: number[] = [];
    for (let row = 0; row < 70; ++row) {
      for (let column = Math.max(0, row - 9); column < Math.min(60, row + 9); ++column) {
        if (random.unit() < 0.8) columnIndices.push(column);
      }
      rowPointers.push(columnIndices.length);
    }
    const values = columnIndices.map(() => random.integer(-3, 3));
    return device.csr({ shape: [70, 60], rowPointers, columnIndices, values });
  };
  const operand = (n: number) =>
    device.tensor(
      Float32Array.from({ length: 60 * n }, (_, i) => (i % 7) - 3),
      { shape: [60, n] },
    );

  test('changes the variant, not the result, and follows the values once prepared again', async () => {
    const [a, b] = [make(), operand(64)];
    const plain = await spmm(a, b).data();
    expect(a.prepare({ n: 64, variant: 'strips' })).toBe('strips');
    const calls = recordSpmmCalls(device);
    expect(explainSpmm(a, b).candidates.at(-1)).toMatchObject({ variant: 'strips', us: expect.any(Number) });
    expect(await spmm(a, b, { variant: 'strips' }).data()).toEqual(plain);
    expect(calls[0].strips).toBeDefined();
    a.values.copyFrom(device.tensor(new Float32Array(a.nnz).fill(2)));
    const unsupported = expect.objectContaining({ code: 'ERR_UNSUPPORTED' });
    expect(() => spmm(a, b, { variant: 'strips' })).toThrow(unsupported);
    a.prepare({ n: 64 });
    const after = await spmm(a, b, { variant: 'row-split' }).data();
    expect(await spmm(a, b, { variant: 'strips' }).data()).toEqual(after);
  });

  test('is held beside one in tiles, by graphs too, and freed with the values', async () => {
    const [a, b, c] = [make(), operand(8), device.zeros([70, 8])];
    const before = device.memory().handles;
    a.prepare({ n: 8, variant: 'strips' });
    a.prepare({ n: 8, variant: 'tiles' });
    const graph = device.capture(() => spmm(a, b, { out: c, variant: 'strips' }));
    a.values.copyFrom(device.tensor(new Float32Array(a.nnz).fill(2)));
    graph.replay();
    const changed = await spmm(a, b, { variant: 'row-split' }).data();
    expect(await c.data()).toEqual(changed);
    graph.dispose();
    expect(device.memory().handles).toBeGreaterThan(before);
    a.dispose();
    expect(device.memory().handles).toBeLessThan(before + 3);
  });

  test('cannot be made of other matrices', () => {
    const unsupported = expect.objectContaining({ code: 'ERR_UNSUPPORTED' });
    const half = device.csr({ shape: [1, 1], rowPointers: [0, 1], columnIndices: [0], dtype: 'float16' });
    expect(() => half.prepare({ n: 8, variant: 'strips' })).toThrow(unsupported);
    expect(() => make().prepare({ n: 1, variant: 'strips' })).toThrow(unsupported);
  });
});
