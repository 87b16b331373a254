import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { kroneckerReference } from '../lib/backends/reference/kronecker.js';
import {
  butterflyPatterns,
  type Device,
  type FloatDType,
  type KroneckerPattern,
  kroneckerMatmul,
  monarchPatterns,
  openDevice,
  productPattern,
  WarptileError,
} from '../lib/index.js';
import { floatDTypes } from '../lib/tensor/dtype.js';
import { Random } from './harness/random.js';

interface Example {
  readonly name: string;
  readonly factors: readonly { pattern: KroneckerPattern; values: number[] }[];
  readonly dense: number[];
  readonly x: number[];
  readonly bias: number[];
  readonly y: number[];
  readonly yWithBias: number[];
}

const examples: readonly Example[] = JSON.parse(
  readFileSync(join(__dirname, 'fixtures/kronecker.json'), 'utf8'),
);

let device: Device;
beforeAll(async () => {
  device = await openDevice('cpu');
});
afterAll(() => device.dispose());

const count = (pattern: readonly number[]): number => pattern.reduce((total, size) => total * size, 1);
const integers = (seed: string, size: number): Float64Array => {
  const random = new Random(seed);
  return new Float64Array(size).map(() => random.integer(-3, 3));
};
/** [rows, columns] to [columns, rows]. */
const transpose = (values: ArrayLike<number>, rows: number, columns: number): Float64Array =>
  new Float64Array(rows * columns).map(
    (_, index) => values[(index % rows) * columns + Math.floor(index / rows)],
  );
const multiply = (a: ArrayLike<number>, b: ArrayLike<number>, inner: number, columns: number): Float64Array =>
  new Float64Array((a.length / inner) * columns).map((_, index) => {
    const [row, column] = [Math.floor(index / columns), index % columns];
    let sum = 0;
    for (let k = 0; k < inner; ++k) sum += a[row * inner + k] * b[k * columns + column];
    return sum;
  });

describe('vectors computed by NumPy', () => {
  test.each(examples.map((example) => [example.name, example] as const))('%s', async (_, example) => {
    using matrix = device.kronecker({ factors: example.factors });
    const [rows, columns] = matrix.shape;
    const batch = example.x.length / columns;
    using dense = await matrix.toDense();
    expect(dense.shape).toEqual([rows, columns]);
    expect([...dense.dataSync()]).toEqual(example.dense);
    using x = device.tensor(example.x, { shape: [batch, columns] });
    using bias = device.tensor(example.bias);
    using y = kroneckerMatmul(x, matrix);
    expect(y.shape).toEqual([batch, rows]);
    expect([...y.dataSync()]).toEqual(example.y);
    using biased = kroneckerMatmul(x, matrix, { bias });
    expect([...biased.dataSync()]).toEqual(example.yWithBias);
    using xLast = device.tensor(transpose(example.x, batch, columns), { shape: [columns, batch] });
    using last = kroneckerMatmul(xLast, matrix, { layout: 'batch-last', bias });
    expect(last.shape).toEqual([rows, batch]);
    expect([...last.dataSync()]).toEqual([...transpose(example.yWithBias, batch, rows)]);
  });

  test.each(floatDTypes)('round once to %s', (dtype) => {
    for (const example of examples) {
      const factors = example.factors;
      using matrix = device.kronecker({ factors, dtype });
      using x = device.tensor(example.x, {
        shape: [example.x.length / matrix.shape[1], matrix.shape[1]],
        dtype,
      });
      using y = kroneckerMatmul(x, matrix);
      using expected = device.tensor(example.y, { shape: y.shape, dtype });
      expect(y.rawDataSync()).toEqual(expected.rawDataSync());
    }
  });
});

const pattern = fc
  .tuple(...[3, 4, 4, 3].map((most) => fc.integer({ min: 1, max: most })))
  .map((sizes) => sizes as unknown as KroneckerPattern);

describe('properties', () => {
  test('one factor is I (x) W (x) I by its definition', () => {
    fc.assert(
      fc.property(pattern, (sizes) => {
        const [a, b, c, d] = sizes;
        const w = integers(`${sizes}`, count(sizes));
        const columns = a * c * d;
        const identity = new Float64Array(columns ** 2).map((_, index) => +(index % (columns + 1) === 0));
        const { values } = kroneckerReference({
          factors: [{ pattern: sizes, values: w }],
          batch: columns,
          batchLast: true,
          x: identity,
        });
        const dense = new Float64Array(a * b * d * columns);
        w.forEach((value, index) => {
          const l = index % d;
          const k = Math.floor(index / d) % c;
          const j = Math.floor(index / d / c) % b;
          const i = Math.floor(index / d / c / b);
          dense[(i * b * d + j * d + l) * columns + i * c * d + k * d + l] = value;
        });
        expect(values).toEqual(dense);
      }),
    );
  });

  test('a chain is the product of its dense factors, in the order written', async () => {
    await fc.assert(
      fc.asyncProperty(pattern, fc.integer({ min: 1, max: 4 }), async (second, b) => {
        // The columns of (1, b, rows, 1) are the rows of the second factor, whatever they are.
        const inner = second[0] * second[1] * second[3];
        const first: KroneckerPattern = [1, b, inner, 1];
        const factors = [first, second].map((sizes, index) => ({
          pattern: sizes,
          values: integers(`${index} ${sizes}`, count(sizes)),
        }));
        using left = device.kronecker(factors[0]);
        using right = device.kronecker(factors[1]);
        using chain = device.kronecker({ factors });
        using leftDense = await left.toDense();
        using rightDense = await right.toDense();
        using chainDense = await chain.toDense();
        const expected = multiply(leftDense.dataSync(), rightDense.dataSync(), inner, right.shape[1]);
        expect([...chainDense.dataSync()]).toEqual([...expected]);
      }),
      { numRuns: 40 },
    );
  });

  test('chainable patterns give a product of the predicted pattern', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.tuple(...Array.from({ length: 8 }, () => fc.integer({ min: 1, max: 3 }))),
        async ([a1, b1, c1, d2, ratioA, ratioD, c2]) => {
          // a2 = a1 ratioA, d1 = d2 ratioD, and b2 from a1 c1 d1 = a2 b2 d2.
          const first: KroneckerPattern = [a1, b1, c1 * ratioA, d2 * ratioD];
          const second: KroneckerPattern = [a1 * ratioA, c1 * ratioD, c2, d2];
          const predicted = productPattern(first, second);
          using chain = device.kronecker({
            factors: [first, second].map((sizes) => ({
              pattern: sizes,
              values: new Float64Array(count(sizes)).fill(1),
            })),
          });
          expect(chain.pattern).toEqual(predicted);
          using mask = device.kronecker({
            pattern: predicted as KroneckerPattern,
            values: new Float64Array(count(predicted as KroneckerPattern)).fill(1),
          });
          expect(mask.shape).toEqual(chain.shape);
          using dense = await chain.toDense();
          using support = await mask.toDense();
          expect([...dense.dataSync()].map((value) => +(value !== 0))).toEqual([...support.dataSync()]);
        },
      ),
      { numRuns: 60 },
    );
  });

  test('the two layouts agree, and a sample of rows agrees with the whole', () => {
    fc.assert(
      fc.property(pattern, fc.integer({ min: 1, max: 6 }), (sizes, batch) => {
        const [a, b, c, d] = sizes;
        const factors = [{ pattern: sizes, values: integers('w', count(sizes)) }];
        const x = integers('x', batch * a * c * d);
        const bias = integers('bias', a * b * d);
        const first = kroneckerReference({ factors, batch, batchLast: false, x, bias });
        const xLast = transpose(x, batch, a * c * d);
        const last = kroneckerReference({ factors, batch, batchLast: true, x: xLast, bias });
        expect(transpose(first.values, batch, a * b * d)).toEqual(last.values);
        const rows = [batch - 1, 0];
        const sample = kroneckerReference({ factors, batch, batchLast: false, x, bias }, { rows }).values;
        const row = (index: number): Float64Array =>
          first.values.subarray(index * a * b * d, (index + 1) * a * b * d);
        expect([...sample]).toEqual([...row(batch - 1), ...row(0)]);
      }),
    );
  });

  test('magnitudes are the product of absolute values', () => {
    const [first, second] = monarchPatterns([2, 3, 4], [3, 5, 2]);
    const problem = [first, second].map((sizes, index) => ({
      pattern: sizes,
      values: integers(`m${index}`, count(sizes)),
    }));
    const x = integers('mx', 16);
    const absolute = kroneckerReference({
      factors: problem.map((factor) => ({ ...factor, values: factor.values.map(Math.abs) })),
      batch: 2,
      batchLast: false,
      x: x.map(Math.abs),
    });
    const { magnitudes } = kroneckerReference(
      { factors: problem, batch: 2, batchLast: false, x },
      { magnitudes: true },
    );
    expect(magnitudes).toEqual(absolute.values);
  });
});

describe('known transforms', () => {
  test('butterflies of (1, 1; 1, -1) make the Walsh-Hadamard transform', async () => {
    for (const size of [2, 8, 32]) {
      const factors = butterflyPatterns(size).map((sizes) => {
        // w[i, j, k, l] is -1 where j = k = 1.
        const values = new Float64Array(count(sizes)).map((_, index) =>
          Math.floor(index / sizes[3]) % 4 === 3 ? -1 : 1,
        );
        return { pattern: sizes, values };
      });
      using matrix = device.kronecker({ factors });
      expect(matrix.pattern).toEqual([1, size, size, 1]);
      expect(matrix.nnz).toBe(2 * size * Math.log2(size));
      using dense = await matrix.toDense();
      const parity = (bits: number): number => (bits === 0 ? 0 : (bits & 1) ^ parity(bits >> 1));
      const expected = Array.from({ length: size * size }, (_, index) =>
        parity(Math.floor(index / size) & (index % size)) ? -1 : 1,
      );
      expect([...dense.dataSync()]).toEqual(expected);
    }
  });

  test('a Monarch matrix is permutation, blocks, permutation, blocks', () => {
    const [k, q, p] = [3, 4, 5];
    const [l, s, r] = [2, 7, 6];
    const [joining, applied] = monarchPatterns([k, q, p], [l, s, r]);
    expect([joining, applied]).toEqual([
      [1, s, r, l],
      [k, q, p, 1],
    ]);
    const w1 = integers('w1', k * q * p);
    const w2 = integers('w2', l * s * r);
    const x = integers('x', k * p);
    const middle = new Float64Array(k * q);
    for (let block = 0; block < k; ++block) {
      middle.set(
        multiply(
          w1.subarray(block * q * p, (block + 1) * q * p),
          x.subarray(block * p, (block + 1) * p),
          p,
          1,
        ),
        block * q,
      );
    }
    // The middle as r x l: column `lane` goes through block `lane` of w2, and comes back as a column of s x l.
    const expected = new Float64Array(s * l);
    for (let lane = 0; lane < l; ++lane) {
      for (let row = 0; row < s; ++row) {
        for (let column = 0; column < r; ++column) {
          expected[row * l + lane] += w2[(lane * s + row) * r + column] * middle[column * l + lane];
        }
      }
    }
    // [l, s, r] to [1, s, r, l].
    const moved = transpose(w2, l, s * r);
    using matrix = device.kronecker({
      factors: [
        { pattern: joining, values: moved },
        { pattern: applied, values: w1 },
      ],
    });
    using input = device.tensor(x);
    using y = kroneckerMatmul(input, matrix);
    expect([...y.dataSync()]).toEqual([...expected]);
    expect(matrix.pattern).toEqual([1, s * l, k * p, 1]);
  });

  test('values stay in float32 between the factors of a chain', () => {
    // 2^17 between the factors is past float16.
    using matrix = device.kronecker({
      dtype: 'float16',
      factors: [
        { pattern: [1, 1, 1, 1], values: [2 ** -10] },
        { pattern: [1, 1, 2, 1], values: [2, 2] },
      ],
    });
    using x = device.tensor([2 ** 15, 2 ** 15], { dtype: 'float16' });
    using y = kroneckerMatmul(x, matrix);
    expect([...y.dataSync()]).toEqual([128]);
  });
});

describe('KroneckerMatrix', () => {
  const values = new Float64Array(2 * 3 * 4 * 5).fill(1);

  test('describes itself', () => {
    using matrix = device.kronecker({ pattern: [2, 3, 4, 5], values, dtype: 'bfloat16' });
    expect(matrix.shape).toEqual([30, 40]);
    expect(matrix.nnz).toBe(120);
    expect(matrix.density).toBeCloseTo(1 / 10, 15);
    expect(matrix.pattern).toEqual([2, 3, 4, 5]);
    expect(matrix.dtype).toBe('bfloat16');
    expect(matrix.factors[0].values.shape).toEqual([2, 3, 4, 5]);
    using chain = device.kronecker({
      factors: [
        { pattern: [2, 5, 3, 1], values: new Float64Array(30) },
        { pattern: [1, 2, 4, 3], values: new Float64Array(24) },
      ],
    });
    expect(chain.shape).toEqual([10, 12]);
    expect(chain.nnz).toBe(54);
    expect(chain.density).toBeCloseTo(54 / 120, 15);
    expect(chain.pattern).toBeUndefined();
  });

  test('shares a tensor of values and survives its disposal', () => {
    const tensor = device.tensor(values, { shape: [2, 3, 4, 5] });
    using matrix = device.kronecker({ pattern: [2, 3, 4, 5], values: tensor });
    tensor.dispose();
    using x = device.tensor(new Float64Array(40).fill(1));
    using y = kroneckerMatmul(x, matrix);
    expect([...y.dataSync()]).toEqual(new Array(30).fill(4));
  });

  test('frees its memory, is kept by tidy, and is copied between devices', async () => {
    const before = device.memory().handles;
    const matrix = device.tidy(() => device.kronecker({ pattern: [2, 3, 4, 5], values }));
    expect(matrix.disposed).toBe(false);
    const other = await openDevice('cpu');
    const copy = await matrix.to(other);
    expect([...copy.factors[0].values.dataSync()]).toEqual([...values]);
    matrix.dispose();
    matrix.dispose();
    expect(matrix.disposed).toBe(true);
    expect(device.memory().handles).toBe(before);
    await expect(matrix.toDense()).rejects.toMatchObject({ code: 'ERR_DISPOSED' });
    copy.dispose();
    other.dispose();
  });

  test('is recorded in a graph, with a bias', () => {
    using matrix = device.kronecker({ pattern: [1, 2, 2, 1], values: [1, 2, 3, 4] });
    using x = device.tensor([1, 1]);
    using bias = device.tensor([10, 20]);
    using y = device.zeros([2]);
    using graph = device.capture(() => kroneckerMatmul(x, matrix, { bias, out: y }));
    expect([...y.dataSync()]).toEqual([0, 0]);
    graph.replay();
    expect([...y.dataSync()]).toEqual([13, 27]);
  });

  test('leaves nothing behind when memory runs out', async () => {
    const small = await openDevice('cpu', { memoryLimit: 300 });
    const factor = { pattern: [1, 6, 6, 1] as const, values: new Float64Array(36) };
    expect(() => small.kronecker({ factors: [factor, factor, factor] })).toThrow(WarptileError);
    expect(small.memory().handles).toBe(0);
    small.dispose();
  });
});

describe('errors', () => {
  const code = (body: () => unknown): [string, string] => {
    try {
      body();
    } catch (error) {
      if (error instanceof WarptileError) return [error.code, error.message];
      throw error;
    }
    throw new Error('nothing was thrown');
  };
  const good = { pattern: [1, 2, 3, 1] as const, values: new Float64Array(6) };

  test.each<[string, unknown, string, RegExp]>([
    ['no options', undefined, 'ERR_ARGUMENT', /^options: expected an object/],
    ['an unknown key', { ...good, shape: [2, 3] }, 'ERR_ARGUMENT', /unknown key 'shape'/],
    ['no pattern', { values: [] }, 'ERR_SHAPE', /^pattern: expected four integers/],
    ['three sizes', { ...good, pattern: [1, 2, 3] }, 'ERR_SHAPE', /^pattern:/],
    ['a zero', { ...good, pattern: [1, 0, 3, 1] }, 'ERR_SHAPE', /at least 1, received \[1, 0, 3, 1\]/],
    ['a fraction', { ...good, pattern: [1, 2.5, 3, 1] }, 'ERR_SHAPE', /^pattern:/],
    ['sizes past 2^53', { ...good, pattern: [2 ** 30, 2 ** 30, 1, 1] }, 'ERR_LIMIT', /^pattern:/],
    ['too few values', { ...good, values: [1] }, 'ERR_SHAPE', /^values: expected 6 elements.*received '1'/],
    ['no values', { pattern: good.pattern }, 'ERR_ARGUMENT', /^values: expected an array/],
    ['text as a value', { ...good, values: [1, 2, 3, 4, 5, '6'] }, 'ERR_ARGUMENT', /expected a number/],
    ['an integer dtype', { ...good, dtype: 'int32' }, 'ERR_DTYPE', /^dtype:/],
    ['both forms', { ...good, factors: [good] }, 'ERR_ARGUMENT', /^pattern: expected nothing beside/],
    ['an empty chain', { factors: [] }, 'ERR_ARGUMENT', /^factors:/],
    ['a hole', { factors: [good, undefined] }, 'ERR_ARGUMENT', /^factors\[1\]:/],
    ['33 factors', { factors: new Array(33).fill(good) }, 'ERR_LIMIT', /at most 32 factors/],
    [
      'factors that do not fit',
      { factors: [good, good] },
      'ERR_SHAPE',
      /^factors\[1\]\.pattern: expected 3 rows .* received 2/,
    ],
    [
      'an unknown key of a factor',
      { factors: [{ ...good, dtype: 'float32' }] },
      'ERR_ARGUMENT',
      /^factors\[0\]: unknown key/,
    ],
  ])('kronecker: %s', (_, options, expected, message) => {
    const [got, text] = code(() => device.kronecker(options as never));
    expect(got).toBe(expected);
    expect(text).toMatch(message);
  });

  test('kronecker: tensors of values of another shape, dtype or device', async () => {
    using flat = device.tensor(good.values);
    using half = device.tensor(good.values, { shape: [...good.pattern], dtype: 'float16' });
    const other = await openDevice('cpu');
    const foreign = other.tensor(good.values, { shape: [...good.pattern] });
    const { pattern: sizes } = good;
    expect(code(() => device.kronecker({ pattern: sizes, values: flat }))[0]).toBe('ERR_SHAPE');
    expect(code(() => device.kronecker({ pattern: sizes, values: half as never }))[0]).toBe('ERR_DTYPE');
    expect(code(() => device.kronecker({ pattern: sizes, values: foreign }))[0]).toBe('ERR_DEVICE');
    other.dispose();
  });

  test('pattern constructors', () => {
    expect(code(() => butterflyPatterns(12))[0]).toBe('ERR_ARGUMENT');
    expect(code(() => butterflyPatterns(1))[0]).toBe('ERR_ARGUMENT');
    expect(code(() => monarchPatterns([2, 3, 4], [2, 5, 2]))).toEqual([
      'ERR_SHAPE',
      'second: expected r l = 6 rows of the first factor, received r l = 4',
    ]);
    expect(code(() => monarchPatterns([2, 3] as never, [2, 5, 3]))[0]).toBe('ERR_SHAPE');
    expect(code(() => productPattern([1, 2, 2, 1], [1, 2] as never))[0]).toBe('ERR_SHAPE');
    expect(productPattern([1, 2, 2, 1], [1, 3, 2, 1])).toBeUndefined();
  });

  test('kroneckerMatmul', async () => {
    using matrix = device.kronecker(good);
    using x = device.zeros([4, 3]);
    using half = device.zeros([4, 3], 'float16');
    using vector = device.zeros([2]);
    using wide = device.zeros([4, 5]);
    using pair = device.zeros([8, 3]);
    using gone = device.zeros([4, 3]);
    gone.dispose();
    const other = await openDevice('cpu');
    const foreign = other.zeros([4, 3]);
    const run = (...args: unknown[]): [string, string] =>
      code(() => kroneckerMatmul(...(args as Parameters<typeof kroneckerMatmul<FloatDType>>)));
    expect(run(x, {})).toEqual([
      'ERR_ARGUMENT',
      'k: expected a KroneckerMatrix, received an object of Object',
    ]);
    expect(run([1], matrix)[0]).toBe('ERR_ARGUMENT');
    expect(run(half, matrix)[0]).toBe('ERR_DTYPE');
    expect(run(wide, matrix)).toEqual(['ERR_SHAPE', 'x: expected [..., 3], received [4, 5]']);
    expect(run(x, matrix, { layout: 'batch-last' })[1]).toMatch(
      /^x: expected \[3, \.\.\.\], received \[4, 3\]/,
    );
    expect(run(x, matrix, { layout: 'columns' })[0]).toBe('ERR_ARGUMENT');
    expect(run(x, matrix, { alpha: 1 })[1]).toMatch(/unknown key 'alpha'/);
    expect(run(x, matrix, { bias: x })[0]).toBe('ERR_SHAPE');
    expect(run(x, matrix, { bias: half })[0]).toBe('ERR_DTYPE');
    expect(run(x, matrix, { out: vector })[0]).toBe('ERR_SHAPE');
    expect(run(gone, matrix)[0]).toBe('ERR_DISPOSED');
    expect(run(foreign, matrix)[0]).toBe('ERR_DEVICE');
    const flat = pair.reshape([24]);
    const half1 = flat.slice(0, 12).reshape([4, 3]);
    const overlapping = flat.slice(8, 16).reshape([4, 2]);
    expect(run(half1, matrix, { out: overlapping })[1]).toMatch(/^out: shares memory with x/);
    const last = matrix.factors[0].values.reshape([3, 2]);
    using threeRows = device.zeros([3, 3]);
    expect(run(threeRows, matrix, { out: last })[1]).toMatch(/^out: shares memory with k/);
    matrix.dispose();
    expect(run(x, matrix)).toEqual(['ERR_DISPOSED', 'k: the matrix has been disposed']);
    other.dispose();
  });
});
