import { readFileSync } from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import {
  BlockSparseMatrix,
  CsrMatrix,
  type Device,
  openDevice,
  sddmm,
  sparseSoftmax,
  spmm,
  type Tensor,
} from '../lib/index.js';
import { type FloatDType, floatDTypes } from '../lib/tensor/dtype.js';
import { allCases } from './cases/index.js';
import { errorOf } from './harness/errors.js';
import { Random } from './harness/random.js';

interface Fixture {
  readonly name: string;
  readonly shape: readonly [number, number];
  readonly blockShape?: readonly [number, number];
  readonly rowPointers: number[];
  readonly columnIndices: number[];
  readonly values: number[];
  readonly dense: number[];
  readonly n: number;
  readonly b: number[];
  readonly c: number[];
  readonly alpha: number;
  readonly beta: number;
  readonly spmm: number[];
  readonly left: number[];
  readonly right: number[];
  readonly sddmm: number[];
  readonly scaled: number[];
  readonly scale: number;
  readonly softmax: number[];
}

const fixtures: readonly Fixture[] = JSON.parse(
  readFileSync(path.join(__dirname, 'fixtures/sparse.json'), 'utf8'),
);

let device: Device;
beforeAll(async () => {
  device = await openDevice('cpu');
});
afterAll(() => device.dispose());

function load(fixture: Fixture): CsrMatrix<'float32'> | BlockSparseMatrix<'float32'> {
  const { blockShape } = fixture;
  const parts = {
    shape: fixture.shape,
    rowPointers: fixture.rowPointers,
    columnIndices: fixture.columnIndices,
    values: fixture.values,
  };
  return blockShape === undefined ? device.csr(parts) : device.blockSparse({ ...parts, blockShape });
}

/** Random integers, so that float32 sums are exact. */
function integers(random: Random, shape: readonly number[]): Tensor<'float32'> {
  const size = shape.reduce((product, extent) => product * extent, 1);
  return device.tensor(
    Float64Array.from({ length: size }, () => random.integer(-4, 4)),
    { shape },
  );
}

function close(tensor: Tensor, expected: readonly number[]): void {
  const got = tensor.dataSync();
  expect(got.length).toBe(expected.length);
  for (let i = 0; i < expected.length; ++i) expect(got[i]).toBeCloseTo(expected[i], 5);
}

describe.each(fixtures)('against NumPy: $name', (fixture) => {
  const [m, k] = fixture.shape;
  const { n } = fixture;

  test('the stored values are the dense matrix', async () => {
    close(await load(fixture).toDense(), fixture.dense);
  });

  test('spmm', () => {
    const out = device.tensor(fixture.c, { shape: [m, n] });
    const b = device.tensor(fixture.b, { shape: [k, n] });
    const { alpha, beta } = fixture;
    expect(spmm(load(fixture), b, { out, alpha, beta })).toBe(out);
    close(out, fixture.spmm);
  });

  test('sddmm', () => {
    const left = device.tensor(fixture.left, { shape: [m, n] });
    const right = device.tensor(fixture.right, { shape: [k, n] });
    const mask = load(fixture);
    close(sddmm(mask, left, right).values, fixture.sddmm);
    close(sddmm(mask, left, right, { alpha: 2, scaleByMask: true }).values, fixture.scaled);
  });

  test('sparseSoftmax', () => {
    close(sparseSoftmax(load(fixture), { scale: fixture.scale }).values, fixture.softmax);
  });
});

describe('properties', () => {
  const problem = fc.record({
    m: fc.integer({ min: 0, max: 9 }),
    k: fc.integer({ min: 0, max: 9 }),
    n: fc.integer({ min: 0, max: 9 }),
    r: fc.integer({ min: 1, max: 4 }),
    c: fc.integer({ min: 1, max: 4 }),
    seed: fc.string(),
  });
  const settings = { numRuns: 60, seed: 7 };

  function sparse(random: Random, m: number, k: number): number[] {
    return Array.from({ length: m * k }, () => (random.unit() < 0.4 ? random.integer(-4, 4) : 0));
  }

  test('spmm over CSR, over blocks and over a full matrix agree, and are the dense product', () => {
    fc.assert(
      fc.property(problem, ({ m, k, n, r, c, seed }) => {
        const random = new Random(seed);
        const dense = sparse(random, m, k);
        const b = integers(random, [k, n]);
        const values = b.dataSync();
        const expected = Array.from({ length: m * n }, (_, index) => {
          const [row, column] = [Math.floor(index / n), index % n];
          let sum = 0;
          for (let i = 0; i < k; ++i) sum += dense[row * k + i] * values[i * n + column];
          return sum;
        });
        const shape = [m, k] as const;
        const csr = CsrMatrix.fromDense(device, dense, { shape });
        const blocks = BlockSparseMatrix.fromDense(device, dense, { shape, blockShape: [r, c] });
        expect([...spmm(csr, b).dataSync()]).toEqual(expected.map((value) => value + 0));
        expect([...spmm(blocks, b).dataSync()]).toEqual(expected.map((value) => value + 0));
      }),
      settings,
    );
  });

  test('spmm is linear in B', () => {
    fc.assert(
      fc.property(problem, ({ m, k, n, seed }) => {
        const random = new Random(seed);
        const a = CsrMatrix.fromDense(device, sparse(random, m, k), { shape: [m, k] });
        const [x, y] = [integers(random, [k, n]), integers(random, [k, n])];
        const sum = x.dataSync().map((value, index) => 2 * value + y.dataSync()[index]);
        const both = spmm(a, y);
        spmm(a, x, { out: both, alpha: 2, beta: 1 });
        expect(both.dataSync()).toEqual(spmm(a, device.tensor(sum, { shape: [k, n] })).dataSync());
      }),
      settings,
    );
  });

  test('permuting the rows of A permutes those of C', () => {
    fc.assert(
      fc.property(problem, ({ m, k, n, seed }) => {
        const random = new Random(seed);
        const dense = sparse(random, m, k);
        const reversed = Array.from({ length: m }, (_, row) =>
          dense.slice((m - 1 - row) * k, (m - row) * k),
        ).flat();
        const b = integers(random, [k, n]);
        const [c, d] = [dense, reversed].map((data) => {
          return spmm(CsrMatrix.fromDense(device, data, { shape: [m, k] }), b).dataSync();
        });
        for (let row = 0; row < m; ++row) {
          expect(d.subarray((m - 1 - row) * n, (m - row) * n)).toEqual(c.subarray(row * n, (row + 1) * n));
        }
      }),
      settings,
    );
  });

  test('sddmm of a transposed mask swaps its operands; over blocks it agrees with CSR', async () => {
    await fc.assert(
      fc.asyncProperty(problem, async ({ m, k, n, r, c, seed }) => {
        const random = new Random(seed);
        const dense = sparse(random, m, k);
        const transposed = Array.from(
          { length: k * m },
          (_, index) => dense[(index % m) * k + Math.floor(index / m)],
        );
        const [a, b] = [integers(random, [m, n]), integers(random, [k, n])];
        const options = { scaleByMask: true };
        const mask = CsrMatrix.fromDense(device, dense, { shape: [m, k] });
        const turned = CsrMatrix.fromDense(device, transposed, { shape: [k, m] });
        const blocks = BlockSparseMatrix.fromDense(device, dense, { shape: [m, k], blockShape: [r, c] });
        const s = (await sddmm(mask, a, b, options).toDense()).dataSync();
        const t = (await sddmm(turned, b, a, options).toDense()).dataSync();
        const u = (await sddmm(blocks, a, b, options).toDense()).dataSync();
        for (let i = 0; i < m; ++i) for (let j = 0; j < k; ++j) expect(t[j * m + i]).toBe(s[i * k + j]);
        expect(u.map((value) => value + 0)).toEqual(s.map((value) => value + 0));
      }),
      settings,
    );
  });

  test('rows of a softmax sum to one, and a constant added to a row changes nothing', () => {
    const random = new Random('softmax');
    const a = device.csr({
      shape: [3, 6],
      rowPointers: [0, 4, 4, 6],
      columnIndices: [0, 2, 3, 5, 1, 4],
      values: Array.from({ length: 6 }, () => random.normal()),
    });
    const p = sparseSoftmax(a).values.dataSync();
    expect(p[0] + p[1] + p[2] + p[3]).toBeCloseTo(1, 6);
    expect(p[4] + p[5]).toBeCloseTo(1, 6);
    const shifted = a.withValues(device.tensor(a.values.dataSync().map((value) => value + 3)));
    const q = sparseSoftmax(shifted).values.dataSync();
    for (let i = 0; i < 6; ++i) expect(q[i]).toBeCloseTo(p[i], 6);
  });

  test('sddmm, softmax and spmm chained are masked attention', () => {
    const random = new Random('attention');
    const draw = (rows: number): Tensor<'float32'> =>
      device.tensor(
        Float64Array.from({ length: rows * 8 }, () => random.normal()),
        { shape: [rows, 8] },
      );
    const [q, k, v] = [draw(5), draw(7), draw(7)];
    const mask = device.csr({
      shape: [5, 7],
      rowPointers: [0, 2, 5, 5, 6, 8],
      columnIndices: [0, 6, 1, 2, 3, 4, 0, 5],
    });
    const out = spmm(sparseSoftmax(sddmm(mask, q, k), { scale: 0.25 }), v).dataSync();
    const [hq, hk, hv] = [q, k, v].map((tensor) => tensor.dataSync());
    const [pointers, indices] = [mask.rowPointers.dataSync(), mask.columnIndices.dataSync()];
    for (let row = 0; row < 5; ++row) {
      const keys = [...indices.subarray(pointers[row], pointers[row + 1])];
      const weights = keys.map((key) => {
        let dot = 0;
        for (let x = 0; x < 8; ++x) dot += hq[row * 8 + x] * hk[key * 8 + x];
        return Math.exp(0.25 * dot);
      });
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      for (let x = 0; x < 8; ++x) {
        const expected = keys.reduce((sum, key, i) => sum + (weights[i] / total) * hv[key * 8 + x], 0);
        expect(out[row * 8 + x]).toBeCloseTo(expected, 5);
      }
    }
  });
});

describe('edges', () => {
  const eye = (n: number, dtype: FloatDType = 'float32') =>
    device.csr({
      shape: [n, n],
      rowPointers: Array.from({ length: n + 1 }, (_, i) => i),
      columnIndices: Array.from({ length: n }, (_, i) => i),
      dtype,
    });

  test('empty rows give zeros, or beta times what was there', () => {
    const a = device.csr({ shape: [3, 2], rowPointers: [0, 0, 1, 1], columnIndices: [1] });
    const b = device.tensor([1, 2, 3, 4], { shape: [2, 2] });
    expect([...spmm(a, b).dataSync()]).toEqual([0, 0, 3, 4, 0, 0]);
    const out = device.tensor([1, 1, 1, 1, 1, 1], { shape: [3, 2] });
    expect([...spmm(a, b, { out, beta: 5 }).dataSync()]).toEqual([5, 5, 8, 9, 5, 5]);
  });

  test('beta 0 never reads, and what is not stored is never read', () => {
    const a = device.csr({ shape: [2, 3], rowPointers: [0, 1, 2], columnIndices: [0, 0] });
    const b = device.tensor([7, Number.NaN, Number.POSITIVE_INFINITY], { shape: [3, 1] });
    const out = device.tensor([Number.NaN, Number.NaN], { shape: [2, 1] });
    expect([...spmm(a, b, { out }).dataSync()]).toEqual([7, 7]);
  });

  test('NaN and Infinity propagate; a stored zero is multiplied', () => {
    const a = device.csr({ shape: [1, 2], rowPointers: [0, 2], columnIndices: [0, 1], values: [0, 1] });
    const b = device.tensor([Number.POSITIVE_INFINITY, 1, 2, 3], { shape: [2, 2] });
    expect([...spmm(a, b).dataSync()]).toEqual([Number.NaN, 3]);
  });

  test('what an edge block stores outside the matrix is not read, and written as zero', () => {
    const values = Float32Array.of(1, Number.NaN, Number.NaN, Number.NaN);
    const parts = { shape: [1, 1] as const, rowPointers: [0, 1], columnIndices: [0] };
    const a = device.blockSparse({ ...parts, blockShape: [2, 2], values });
    const one = device.tensor([3], { shape: [1, 1] });
    expect([...spmm(a, one).dataSync()]).toEqual([3]);
    expect([...sddmm(a, one, one, { scaleByMask: true }).values.dataSync()]).toEqual([9, 0, 0, 0]);
    expect([...sparseSoftmax(a).values.dataSync()]).toEqual([1, 0, 0, 0]);
  });

  test('float16 overflows to Infinity', () => {
    const b = device.tensor([60000, -60000], { shape: [2, 1], dtype: 'float16' });
    const c = spmm(eye(2, 'float16'), b, { alpha: 2 });
    expect([...c.dataSync()]).toEqual([Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]);
  });

  test('softmax: rows of -Infinity, NaN and +Infinity', () => {
    const inf = Number.POSITIVE_INFINITY;
    const a = device.csr({
      shape: [4, 2],
      rowPointers: [0, 2, 4, 6, 8],
      columnIndices: [0, 1, 0, 1, 0, 1, 0, 1],
      values: [-inf, -inf, -inf, 5, -inf, Number.NaN, inf, 0],
    });
    const nan = Number.NaN;
    expect([...sparseSoftmax(a).values.dataSync()]).toEqual([0, 0, 0, 1, nan, nan, nan, nan]);
  });

  test('in place: softmax into its own matrix, sddmm scaled into its own mask', () => {
    const a = device.csr({ shape: [1, 2], rowPointers: [0, 2], columnIndices: [0, 1], values: [1, 1] });
    expect(sparseSoftmax(a, { out: a })).toBe(a);
    expect([...a.values.dataSync()]).toEqual([0.5, 0.5]);
    const [x, y] = [device.tensor([2], { shape: [1, 1] }), device.tensor([3, 4], { shape: [2, 1] })];
    expect(sddmm(a, x, y, { out: a, scaleByMask: true })).toBe(a);
    expect([...a.values.dataSync()]).toEqual([3, 4]);
  });

  test('results share the pattern and outlive the mask; tidy frees the rest', async () => {
    const own = await openDevice('cpu');
    const s = own.tidy(() => {
      const mask = own.csr({ shape: [1, 2], rowPointers: [0, 2], columnIndices: [0, 1] });
      const result = sddmm(mask, own.zeros([1, 2]), own.zeros([2, 2]));
      mask.dispose();
      return result;
    });
    expect(own.memory().handles).toBe(3);
    expect([...sparseSoftmax(s).values.dataSync()]).toEqual([0.5, 0.5]);
    s.dispose();
    expect(s.disposed).toBe(true);
    own.dispose();
  });

  test('a graph replays spmm on new contents', () => {
    const b = device.tensor([1, 2], { shape: [2, 1] });
    const out = device.zeros([2, 1]);
    const a = eye(2);
    const graph = device.capture(() => spmm(a, b, { out, alpha: 2 }));
    expect([...out.dataSync()]).toEqual([0, 0]);
    b.copyFrom(device.tensor([5, 6], { shape: [2, 1] }));
    graph.replay();
    expect([...out.dataSync()]).toEqual([10, 12]);
    graph.dispose();
  });

  test('an allocation that fails leaves the device usable', async () => {
    const small = await openDevice('cpu', { memoryLimit: 130 });
    const a = small.csr({
      shape: [10, 1],
      rowPointers: [0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
      columnIndices: [0],
    });
    const b = small.tensor([1, 2], { shape: [1, 2] });
    const { handles } = small.memory();
    expect(errorOf(() => spmm(a, b)).code).toBe('ERR_OUT_OF_MEMORY');
    expect(small.memory().handles).toBe(handles);
    expect(
      [...spmm(a.withValues(small.tensor([3])), small.tensor([2], { shape: [1, 1] })).dataSync()][0],
    ).toBe(6);
    small.dispose();
  });
});

test('at least 600 cases, each of a name of its own, in every dtype', () => {
  const cases = allCases.filter(({ operation }) => ['spmm', 'sddmm', 'sparseSoftmax'].includes(operation));
  expect(cases.length).toBeGreaterThan(600);
  expect(new Set(cases.map(({ operation, name }) => `${operation} ${name}`)).size).toBe(cases.length);
  for (const dtype of floatDTypes)
    expect(cases.filter((item) => item.dtype === dtype).length).toBeGreaterThan(200);
});
