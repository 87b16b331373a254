import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { attentionRows, equalLengths } from '../lib/backends/reference/attention.js';
import {
  type AttentionOptions,
  attention,
  type Device,
  type FloatDType,
  openDevice,
  type SparseMatrix,
  sparseAttention,
  type Tensor,
} from '../lib/index.js';
import { Random } from './harness/random.js';

interface Fixture {
  name: string;
  shapeQ: number[];
  shapeKv: number[];
  options: AttentionOptions;
  q: number[];
  k: number[];
  v: number[];
  out: number[];
  logSumExp: (number | null)[];
  mask?: number[][];
}

const fixtures = JSON.parse(
  readFileSync(join(__dirname, 'fixtures', 'attention.json'), 'utf8'),
) as readonly Fixture[];

let device: Device;
beforeAll(async () => {
  device = await openDevice('cpu');
});
afterAll(() => device.dispose());

function drawn(shape: readonly number[], seed: string, dtype: FloatDType = 'float32'): Tensor<FloatDType> {
  const random = new Random(seed);
  const size = shape.reduce((product, length) => product * length, 1);
  return device.tensor(
    Array.from({ length: size }, () => random.normal()),
    { shape, dtype },
  );
}

/** q, k and v of [batch, seq, heads, headDim]. */
function operands(
  [batch, seqQ, seqK, heads, kvHeads, headDim]: readonly number[],
  dtype: FloatDType = 'float32',
): [Tensor<FloatDType>, Tensor<FloatDType>, Tensor<FloatDType>] {
  const kv = [batch, seqK, kvHeads, headDim];
  return [drawn([batch, seqQ, heads, headDim], 'q', dtype), drawn(kv, 'k', dtype), drawn(kv, 'v', dtype)];
}

function closeTo(values: Iterable<number>, digits = 5): unknown[] {
  return [...values].map((value) => (Number.isFinite(value) ? expect.closeTo(value, digits) : value));
}

/** A CSR matrix, or blocks of the given shape, that shows what is not 0. */
function maskOf(rows: readonly (readonly number[])[], block?: readonly [number, number]): SparseMatrix {
  const shape = [rows.length, rows[0].length] as const;
  const [height, width] = block ?? [1, 1];
  const rowPointers = [0];
  const columnIndices: number[] = [];
  for (let i = 0; i < shape[0]; i += height) {
    for (let j = 0; j < shape[1]; j += width) if (rows[i][j] !== 0) columnIndices.push(j / width);
    rowPointers.push(columnIndices.length);
  }
  const common = { shape, rowPointers, columnIndices };
  return block ? device.blockSparse({ ...common, blockShape: block }) : device.csr(common);
}

describe('against NumPy', () => {
  test.each(fixtures.map((item) => [item.name, item] as const))('%s', (_name, item) => {
    const q = device.tensor(item.q, { shape: item.shapeQ });
    const k = device.tensor(item.k, { shape: item.shapeKv });
    const v = device.tensor(item.v, { shape: item.shapeKv });
    const mask = item.mask && maskOf(item.mask, item.name.startsWith('blocks') ? [2, 3] : undefined);
    const options = { ...item.options, logSumExp: true } as const;
    const { out, logSumExp } = mask ? sparseAttention(q, k, v, mask, options) : attention(q, k, v, options);
    const [batch, seqQ, heads] = item.shapeQ;
    expect(out.shape).toEqual(item.shapeQ);
    expect(logSumExp.shape).toEqual([batch, heads, seqQ]);
    expect([...out.dataSync()]).toEqual(closeTo(item.out, 6));
    const sums = item.logSumExp.map((value) => value ?? Number.NEGATIVE_INFINITY);
    expect([...logSumExp.dataSync()]).toEqual(closeTo(sums, 6));
  });

  test('the reference before rounding', () => {
    const item = fixtures[0];
    const [batch, seqQ, heads, headDim] = item.shapeQ;
    const rows = attentionRows({
      q: Float64Array.from(item.q),
      k: Float64Array.from(item.k),
      v: Float64Array.from(item.v),
      cumulativeQ: equalLengths(batch, seqQ),
      cumulativeK: equalLengths(batch, item.shapeKv[1]),
      heads,
      kvHeads: item.shapeKv[2],
      headDim,
      scale: 1 / Math.sqrt(headDim),
      softcap: 0,
      left: 99,
      right: 99,
      topLeft: false,
      rows: [7, 2],
    });
    const row = (index: number): number[] => item.out.slice(index * headDim, (index + 1) * headDim);
    expect([...rows.out]).toEqual(closeTo([...row(7), ...row(2)], 10));
    expect([...rows.visible]).toEqual([5, 5]);
  });
});

describe('properties', () => {
  test('weights sum to one: constant values come back', () => {
    const [q, k] = operands([2, 7, 9, 4, 2, 5]);
    const v = device.tensor(new Float32Array(2 * 9 * 2 * 5).fill(3), { shape: [2, 9, 2, 5] });
    for (const value of attention(q, k, v, { causal: true, softcap: 2 }).dataSync()) {
      expect(value).toBeCloseTo(3, 5);
    }
  });

  test('out and log-sum-exp of two halves of the keys merge into the whole', () => {
    const [q, k, v] = operands([1, 4, 10, 1, 1, 6]);
    const parts = [
      [0, 3],
      [3, 10],
    ].map(([from, to]) => {
      const slice = (tensor: Tensor<FloatDType>): Tensor<FloatDType> =>
        tensor
          .reshape([10, 1, 6])
          .slice(from, to)
          .reshape([1, to - from, 1, 6]);
      return attention(q, slice(k), slice(v), { logSumExp: true });
    });
    const whole = attention(q, k, v, { logSumExp: true });
    const sums = parts.map((part) => part.logSumExp.dataSync());
    const outs = parts.map((part) => part.out.dataSync());
    const merged = Array.from({ length: 24 }, (_, index) => {
      const [a, b] = sums.map((sum) => Math.exp(sum[Math.floor(index / 6)]));
      return (a * outs[0][index] + b * outs[1][index]) / (a + b);
    });
    expect(merged).toEqual(closeTo(whole.out.dataSync()));
  });

  test('the order of keys does not matter without a mask', () => {
    const order = [4, 2, 0, 3, 1];
    const [q, k, v] = operands([1, 3, 5, 1, 1, 4]);
    const permuted = (tensor: Tensor<FloatDType>): Tensor<FloatDType> => {
      const data = tensor.dataSync();
      return device.tensor(
        order.flatMap((row) => [...data.slice(row * 4, row * 4 + 4)]),
        { shape: tensor.shape },
      );
    };
    expect([...attention(q, permuted(k), permuted(v)).dataSync()]).toEqual(
      closeTo(attention(q, k, v).dataSync()),
    );
  });

  test('grouped heads are heads with repeated keys', () => {
    const [q, k, v] = operands([1, 3, 5, 4, 2, 4]);
    const repeated = (tensor: Tensor<FloatDType>): Tensor<FloatDType> => {
      const data = tensor.dataSync();
      const rows = Array.from({ length: 10 }, (_, row) => [...data.slice(row * 4, row * 4 + 4)]);
      return device.tensor(
        rows.flatMap((row) => [...row, ...row]),
        { shape: [1, 5, 4, 4] },
      );
    };
    expect([...attention(q, k, v).dataSync()]).toEqual([
      ...attention(q, repeated(k), repeated(v)).dataSync(),
    ]);
  });

  test('packed sequences are the sequences one by one', () => {
    const options = { causal: true, window: [3, 1], logSumExp: true } as const;
    const [lengthsQ, lengthsK] = [
      [3, 0, 5, 1],
      [4, 2, 1, 0],
    ];
    const sum = (lengths: readonly number[]): number[] => {
      const offsets = [0];
      for (const length of lengths) offsets.push(offsets[offsets.length - 1] + length);
      return offsets;
    };
    const [cumulativeQ, cumulativeK] = [sum(lengthsQ), sum(lengthsK)];
    const [q, k, v] = [drawn([9, 4, 6], 'q'), drawn([7, 2, 6], 'k'), drawn([7, 2, 6], 'v')];
    const { out, logSumExp } = attention(q, k, v, { ...options, cumulativeQ, cumulativeK });
    expect(out.shape).toEqual([9, 4, 6]);
    expect(logSumExp.shape).toEqual([4, 9]);
    const prepared = attention(q, k, v, {
      ...options,
      cumulativeQ: device.cumulativeLengths(cumulativeQ),
      cumulativeK: device.cumulativeLengths(Int32Array.from(cumulativeK)),
    });
    expect(prepared.out.dataSync()).toEqual(out.dataSync());
    lengthsQ.forEach((length, index) => {
      const part = (tensor: Tensor<FloatDType>, offsets: readonly number[]): Tensor<FloatDType> => {
        const slice = tensor.slice(offsets[index], offsets[index + 1]);
        return slice.reshape([1, ...slice.shape]);
      };
      const alone = attention(part(q, cumulativeQ), part(k, cumulativeK), part(v, cumulativeK), options);
      expect(alone.out.dataSync()).toEqual(out.slice(cumulativeQ[index], cumulativeQ[index + 1]).dataSync());
      const sums = logSumExp.dataSync();
      const own = [0, 1, 2, 3].flatMap((head) => [
        ...sums.slice(head * 9 + cumulativeQ[index], head * 9 + cumulativeQ[index] + length),
      ]);
      expect([...alone.logSumExp.dataSync()]).toEqual(own);
    });
  });

  test('a sparse mask of the causal window is the causal window', () => {
    fc.assert(
      fc.property(
        fc.nat({ max: 9 }),
        fc.nat({ max: 9 }),
        fc.nat({ max: 4 }),
        fc.nat({ max: 4 }),
        fc.constantFrom(false, true, 'top-left' as const),
        (moreQ, moreK, left, right, causal) => {
          const [seqQ, seqK] = [moreQ + 1, moreK + 1];
          const [q, k, v] = operands([1, seqQ, seqK, 2, 1, 3]);
          const shift = causal === 'top-left' ? 0 : seqK - seqQ;
          const rows = Array.from({ length: seqQ }, (_, i) =>
            Array.from({ length: seqK }, (_, j) => {
              const distance = j - i - shift;
              return distance >= -left && distance <= (causal ? 0 : right) ? 1 : 0;
            }),
          );
          const dense = attention(q, k, v, { causal, window: { left, right }, logSumExp: true });
          const sparse = sparseAttention(q, k, v, maskOf(rows), { logSumExp: true });
          expect(sparse.out.dataSync()).toEqual(dense.out.dataSync());
          expect(sparse.logSumExp.dataSync()).toEqual(dense.logSumExp.dataSync());
        },
      ),
      { numRuns: 60, seed: 5 },
    );
  });

  test('a mask that shows every key is no mask, in any format', () => {
    const [q, k, v] = operands([2, 5, 7, 2, 1, 4]);
    const rows = Array.from({ length: 5 }, () => new Array<number>(7).fill(1));
    const dense = attention(q, k, v).dataSync();
    expect(sparseAttention(q, k, v, maskOf(rows)).dataSync()).toEqual(dense);
    expect(sparseAttention(q, k, v, maskOf(rows, [2, 3])).dataSync()).toEqual(dense);
    expect(sparseAttention(q, k, v, maskOf(rows, [64, 64])).dataSync()).toEqual(dense);
  });
});

describe('edges', () => {
  const ones = (count: number): Float32Array => new Float32Array(count).fill(1);

  test('queries without a visible key give 0 and -Infinity', () => {
    const [q, k, v] = operands([1, 5, 2, 1, 1, 3]);
    const { out, logSumExp } = attention(q, k, v, { causal: true, logSumExp: true });
    expect([...out.dataSync().slice(0, 9)]).toEqual(new Array(9).fill(0));
    expect([...logSumExp.dataSync().slice(0, 3)]).toEqual(new Array(3).fill(Number.NEGATIVE_INFINITY));
    expect(Number.isFinite(logSumExp.dataSync()[3])).toBe(true);
    const none = device.csr({ shape: [5, 2], rowPointers: [0, 0, 0, 0, 0, 0], columnIndices: [] });
    const sparse = sparseAttention(q, k, v, none, { logSumExp: true });
    expect([...sparse.out.dataSync()]).toEqual(new Array(15).fill(0));
    expect([...sparse.logSumExp.dataSync()]).toEqual(new Array(5).fill(Number.NEGATIVE_INFINITY));
  });

  test('no keys at all', () => {
    const [q, k, v] = operands([2, 3, 0, 2, 2, 4]);
    const { out, logSumExp } = attention(q, k, v, { logSumExp: true });
    expect([...out.dataSync()]).toEqual(new Array(48).fill(0));
    expect([...logSumExp.dataSync()]).toEqual(new Array(12).fill(Number.NEGATIVE_INFINITY));
  });

  test.each([
    [0, 3, 4, 2, 1, 5],
    [2, 0, 4, 2, 1, 5],
    [2, 3, 4, 0, 0, 5],
    [2, 3, 4, 0, 3, 5],
  ])('sizes %i %i %i %i %i %i', (...sizes) => {
    const [q, k, v] = operands(sizes);
    const { out, logSumExp } = attention(q, k, v, { logSumExp: true });
    expect(out.shape).toEqual(q.shape);
    expect(out.size).toBe(0);
    expect(logSumExp.size).toBe(0);
  });

  test('a packed batch without sequences', () => {
    const [q, k, v] = [drawn([0, 2, 4], 'q'), drawn([0, 2, 4], 'k'), drawn([0, 2, 4], 'v')];
    expect(attention(q, k, v, { cumulativeQ: [0], cumulativeK: [0] }).shape).toEqual([0, 2, 4]);
  });

  test('a NaN in a hidden key or value stays hidden', () => {
    const q = device.tensor(ones(3), { shape: [1, 3, 1, 1] });
    const [k, v] = [
      [0, 0, Number.NaN],
      [1, 3, Number.NaN],
    ].map((data) => device.tensor(data, { shape: [1, 3, 1, 1] }));
    expect([...attention(q, k, v, { causal: true }).dataSync()]).toEqual([1, 2, Number.NaN]);
  });

  test('float16 values at the largest', () => {
    const [q, k] = operands([1, 2, 5, 1, 1, 3], 'float16');
    const v = device.tensor(new Float32Array(15).fill(65504), { shape: [1, 5, 1, 3], dtype: 'float16' });
    expect([...attention(q, k, v).dataSync()]).toEqual(new Array(6).fill(65504));
  });

  test('outputs that are given are those that are returned', () => {
    const [q, k, v] = operands([1, 2, 3, 2, 1, 4]);
    const out = device.empty([1, 2, 2, 4]);
    const logSumExp = device.empty([1, 2, 2]);
    expect(attention(q, k, v, { out })).toBe(out);
    const result = attention(q, k, v, { out, logSumExp });
    expect(result.out).toBe(out);
    expect(result.logSumExp).toBe(logSumExp);
    expect(attention(q, k, v, { out, logSumExp: false })).toBe(out);
  });

  test('a captured call replays on new contents', () => {
    const [q, k, v] = operands([1, 2, 3, 1, 1, 4]);
    const lengths = device.cumulativeLengths([0, 2]);
    const keys = device.cumulativeLengths([0, 3]);
    const packed = [q.reshape([2, 1, 4]), k.reshape([3, 1, 4]), v.reshape([3, 1, 4])] as const;
    const graph = device.capture(() =>
      attention(...packed, { cumulativeQ: lengths, cumulativeK: keys, causal: true }),
    );
    v.copyFrom(drawn([1, 3, 1, 4], 'other'));
    graph.replay();
    expect(graph.result.dataSync()).toEqual(attention(q, k, v, { causal: true }).dataSync());
  });

  test('a tidy keeps the lengths that it returns', () => {
    const kept = device.tidy(() => device.cumulativeLengths([0, 4, 9]));
    expect([kept.batch, kept.total, kept.longest, kept.disposed]).toEqual([2, 9, 5, false]);
    kept.dispose();
    expect(kept.disposed).toBe(true);
  });

  test('nothing stays allocated', () => {
    const before = device.memory().handles;
    device.tidy(() => {
      const [q, k, v] = [drawn([4, 2, 4], 'q'), drawn([4, 2, 4], 'k'), drawn([4, 2, 4], 'v')];
      attention(q, k, v, { cumulativeQ: [0, 1, 4], cumulativeK: [0, 2, 4] });
      expect(() => attention(q, k, v, { cumulativeQ: [0, 1, 4], cumulativeK: [0, 4] })).toThrow();
      expect(() => attention(q, k, v, { cumulativeQ: [0, 1, 4], cumulativeK: [0, 2, 5] })).toThrow();
    });
    expect(device.memory().handles).toBe(before);
  });
});
