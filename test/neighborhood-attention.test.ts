import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { neighborhoodAttentionRows } from '../lib/backends/reference/neighborhood-attention.js';
import {
  type Device,
  type FloatDType,
  type NeighborhoodAttentionOptions,
  neighborhoodAttention,
  openDevice,
  type Tensor,
  WarptileError,
} from '../lib/index.js';
import { neighborhoodAttentionCases } from './cases/neighborhood-attention.js';
import { drawnSpecs, problemOf } from './cases/neighborhood-specs.js';
import { Random } from './harness/random.js';

interface Fixture {
  batch: number;
  tokens: number[];
  heads: number;
  kvHeads: number;
  headDim: number;
  additional: number;
  options: NeighborhoodAttentionOptions;
  q: number[];
  k: number[];
  v: number[];
  additionalKeys: number[];
  additionalValues: number[];
  out: number[];
  logSumExp: number[];
}

const fixtures = JSON.parse(
  readFileSync(join(__dirname, 'fixtures', 'neighborhood_attention.json'), 'utf8'),
) as Fixture[];

let device: Device;
beforeAll(async () => {
  device = await openDevice('cpu');
});
afterAll(() => device.dispose());

function drawn(shape: readonly number[], seed: string, dtype: FloatDType = 'float32'): Tensor<FloatDType> {
  const random = new Random(seed);
  const size = shape.reduce((product, length) => product * length, 1);
  const values = Array.from({ length: size }, () => random.normal());
  return device.tensor(values, { shape, dtype });
}

describe('against NumPy', () => {
  test.each(fixtures.map((item, index) => [index, item.tokens.join('x'), item] as const))(
    'fixture %i, %s tokens',
    (_index, _tokens, item) => {
      const { batch, tokens, heads, kvHeads, headDim, additional, options } = item;
      const upload = (data: readonly number[], shape: readonly number[]) => device.tensor(data, { shape });
      const kvShape = [batch, ...tokens, kvHeads, headDim];
      const extraShape = [batch, additional, kvHeads, headDim];
      const { out, logSumExp } = neighborhoodAttention(
        upload(item.q, [batch, ...tokens, heads, headDim]),
        upload(item.k, kvShape),
        upload(item.v, kvShape),
        {
          ...options,
          additionalKeys: upload(item.additionalKeys, extraShape),
          additionalValues: upload(item.additionalValues, extraShape),
          logSumExp: true,
        },
      );
      expect(out.shape).toEqual([batch, ...tokens, heads, headDim]);
      expect(logSumExp.shape).toEqual([batch, ...tokens, heads]);
      const closeTo = (values: readonly number[]) => values.map((value) => expect.closeTo(value, 6));
      expect([...out.dataSync()]).toEqual(closeTo(item.out));
      expect([...logSumExp.dataSync()]).toEqual(closeTo(item.logSumExp));

      // The reference itself, before rounding to float32.
      const problem = problemOf({ ...item, ...options } as Parameters<typeof problemOf>[0]);
      const float64 = (data: readonly number[]) => Float64Array.from(data);
      const rows = neighborhoodAttentionRows(problem, {
        q: float64(item.q),
        k: float64(item.k),
        v: float64(item.v),
        additionalKeys: float64(item.additionalKeys),
        additionalValues: float64(item.additionalValues),
      });
      const worst = (got: Float64Array, want: readonly number[]) =>
        want.reduce((error, value, index) => Math.max(error, Math.abs(got[index] - value)), 0);
      expect(worst(rows.out, item.out)).toBeLessThan(1e-13);
      expect(worst(rows.logSumExp, item.logSumExp)).toBeLessThan(1e-13);
    },
  );
});

describe('properties', () => {
  const run = (
    q: Tensor<FloatDType>,
    k: Tensor<FloatDType>,
    v: Tensor<FloatDType>,
    options: Omit<NeighborhoodAttentionOptions, 'logSumExp'>,
  ): number[] => [...neighborhoodAttention(q, k, v, options).dataSync()];

  test('values of one give one: the weights of a row add up to 1', () => {
    for (const spec of drawnSpecs(12)) {
      const { batch, heads, kvHeads, headDim } = problemOf(spec);
      const shape = [batch, ...spec.tokens, kvHeads, headDim];
      const q = drawn([batch, ...spec.tokens, heads, headDim], 'q');
      const ones = device.tensor(new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(1), { shape });
      const { kernelSize, stride = 1, dilation = 1, causal = false } = spec;
      const out = run(q, drawn(shape, 'k'), ones, { kernelSize, stride, dilation, causal });
      expect(Math.max(...out.map((value) => Math.abs(value - 1)))).toBeLessThan(1e-6);
    }
  });

  test('a window of one key copies the values', () => {
    const [q, k, v] = ['q', 'k', 'v'].map((seed) => drawn([2, 5, 6, 2, 3], seed));
    expect(run(q, k, v, { kernelSize: 1, dilation: [5, 2] })).toEqual([...v.dataSync()]);
  });

  test('a window as long as the axis is dense attention, in any order of the keys', () => {
    const length = 7;
    const [q, k, v] = ['q', 'k', 'v'].map((seed) => drawn([1, length, 1, 4], seed));
    const reversed = (tensor: Tensor<FloatDType>) => {
      const rows = [...tensor.dataSync()];
      const data = Array.from({ length }, (_, row) => rows.slice(4 * (length - 1 - row), 4 * (length - row)));
      return device.tensor(data.flat(), { shape: tensor.shape });
    };
    const forward = run(q, k, v, { kernelSize: length });
    const backward = run(q, reversed(k), reversed(v), { kernelSize: length });
    expect(backward).toEqual(forward.map((value) => expect.closeTo(value, 5)));
  });

  test('blocked attention does not see across blocks', () => {
    const [q, k, v] = ['q', 'k', 'v'].map((seed) => drawn([1, 12, 1, 4], seed));
    const whole = run(q, k, v, { kernelSize: 4, stride: 4 });
    const blocks = [0, 1, 2].flatMap((block) => {
      const part = (tensor: Tensor<FloatDType>) =>
        device.tensor([...tensor.dataSync()].slice(block * 16, block * 16 + 16), { shape: [1, 4, 1, 4] });
      return run(part(q), part(k), part(v), { kernelSize: 4 });
    });
    expect(whole).toEqual(blocks);
  });

  test('dilation t is attention over each residue class', () => {
    const [q, k, v] = ['q', 'k', 'v'].map((seed) => drawn([1, 11, 1, 2], seed));
    const whole = run(q, k, v, { kernelSize: 3, dilation: 2, stride: 2 });
    for (const residue of [0, 1]) {
      const rowsOf = (data: ArrayLike<number>) =>
        Array.from(data).filter((_, index) => Math.floor(index / 2) % 2 === residue);
      const part = (tensor: Tensor<FloatDType>) => {
        const data = rowsOf(tensor.dataSync());
        return device.tensor(data, { shape: [1, data.length / 2, 1, 2] });
      };
      expect(run(part(q), part(k), part(v), { kernelSize: 3, stride: 2 })).toEqual(rowsOf(whole));
    }
  });

  test('a 3-D problem of one token along an axis is the 2-D problem', () => {
    const [q, k, v] = ['q', 'k', 'v'].map((seed) => drawn([1, 6, 7, 2, 4], seed));
    const options = { kernelSize: [3, 4], stride: [2, 1], dilation: [2, 1], causal: [false, true] };
    const want = run(q, k, v, options);
    const lift = (tensor: Tensor<FloatDType>) => tensor.reshape([1, 6, 1, 7, 2, 4]);
    const lifted = {
      kernelSize: [3, 1, 4],
      stride: [2, 1, 1],
      dilation: [2, 1, 1],
      causal: [false, true, true],
    };
    expect(run(lift(q), lift(k), lift(v), lifted)).toEqual(want);
  });

  test('grouped heads read the key head of their group', () => {
    const q = drawn([1, 9, 4, 3], 'q');
    const [k, v] = ['k', 'v'].map((seed) => drawn([1, 9, 2, 3], seed));
    const repeat = (tensor: Tensor<FloatDType>) => {
      const data = tensor.dataSync();
      const head = (row: number) => [...data.subarray(row * 3, row * 3 + 3)];
      const rows = Array.from({ length: 18 }, (_, row) => [...head(row), ...head(row)]);
      return device.tensor(rows.flat(), { shape: [1, 9, 4, 3] });
    };
    expect(run(q, k, v, { kernelSize: 3 })).toEqual(run(q, repeat(k), repeat(v), { kernelSize: 3 }));
  });

  test('a key outside the neighbourhood has no influence, one inside has', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 19 }), fc.integer({ min: 0, max: 19 }), (query, key) => {
        const [q, k, v] = ['q', 'k', 'v'].map((seed) => drawn([1, 20, 1, 2], seed));
        const values = [...v.dataSync()];
        values[2 * key] = Number.NaN;
        const poisoned = device.tensor(values, { shape: [1, 20, 1, 2] });
        const out = run(q, k, poisoned, { kernelSize: 5 });
        const start = Math.min(Math.max(query - 2, 0), 15);
        const inside = key >= start && key < start + 5;
        expect(Number.isNaN(out[2 * query])).toBe(inside);
        expect(Number.isNaN(out[2 * query + 1])).toBe(false);
      }),
      { numRuns: 100, seed: 7 },
    );
  });
});

describe('outputs', () => {
  const inputs = () => ['q', 'k', 'v'].map((seed) => drawn([1, 6, 2, 4], seed, 'float16'));

  test('out and logSumExp receive the result and are returned', () => {
    const [q, k, v] = inputs();
    const out = device.empty([1, 6, 2, 4], 'float16');
    const logSumExp = device.empty([1, 6, 2], 'float32');
    const result = neighborhoodAttention(q, k, v, { kernelSize: 3, out, logSumExp });
    expect(result.out).toBe(out);
    expect(result.logSumExp).toBe(logSumExp);
    const fresh = neighborhoodAttention(q, k, v, { kernelSize: 3, logSumExp: true });
    expect(fresh.out.dataSync()).toEqual(out.dataSync());
    expect(fresh.logSumExp.dataSync()).toEqual(logSumExp.dataSync());
    expect(neighborhoodAttention(q, k, v, { kernelSize: 3, logSumExp: false, out })).toBe(out);
  });

  test('nothing is left allocated when the device is out of memory', async () => {
    const small = await openDevice('cpu', { memoryLimit: 3 * 96 + 64 });
    const make = () => small.zeros([1, 6, 1, 4]);
    const [q, k, v] = [make(), make(), make()];
    const before = small.memory().used;
    expect(() => neighborhoodAttention(q, k, v, { kernelSize: 3 })).toThrow(
      expect.objectContaining({ code: 'ERR_OUT_OF_MEMORY' }),
    );
    expect(small.memory().used).toBe(before);
    small.dispose();
  });

  test('a graph replays on new contents', () => {
    const [q, k, v] = inputs();
    const out = device.empty([1, 6, 2, 4], 'float16');
    const graph = device.capture(() => neighborhoodAttention(q, k, v, { kernelSize: 3, out }));
    v.copyFrom(device.tensor(new Float32Array(48).fill(2), { shape: [1, 6, 2, 4], dtype: 'float16' }));
    graph.replay();
    expect([...out.dataSync()]).toEqual(new Array(48).fill(2));
  });

  test('an axis without tokens gives an empty result', () => {
    const empty = () => device.empty([2, 3, 0, 1, 8]);
    const { out, logSumExp } = neighborhoodAttention(empty(), empty(), empty(), {
      kernelSize: [2, 5],
      logSumExp: true,
    });
    expect(out.shape).toEqual([2, 3, 0, 1, 8]);
    expect(logSumExp.shape).toEqual([2, 3, 0, 1]);
  });
});

describe('errors', () => {
  const good = () => {
    const [q, k, v] = ['q', 'k', 'v'].map((seed) => drawn([2, 6, 8, 4, 5], seed));
    return { q, k, v, options: { kernelSize: 3 } as Record<string, unknown> };
  };
  const extra = (shape: readonly number[] = [2, 3, 4, 5]) => device.zeros(shape);

  const bad: readonly [string, string, RegExp, (arguments_: Record<string, unknown>) => object][] = [
    ['q is no tensor', 'ERR_ARGUMENT', /^q: expected a Tensor/, () => ({ q: [1, 2] })],
    [
      'q of integers',
      'ERR_DTYPE',
      /^q: expected float32/,
      () => ({ q: device.zeros([2, 6, 8, 4, 5], 'int32') }),
    ],
    ['q without tokens', 'ERR_SHAPE', /^q: .*token axes/, () => ({ q: device.zeros([2, 4, 5]) })],
    ['q of four axes', 'ERR_SHAPE', /^q: .*token axes/, () => ({ q: device.zeros([1, 2, 2, 2, 2, 1, 4]) })],
    ['headDim 0', 'ERR_SHAPE', /^q: expected .*headDim/, () => ({ q: device.zeros([2, 6, 8, 4, 0]) })],
    ['headDim 257', 'ERR_SHAPE', /^q: expected .*headDim/, () => ({ q: device.zeros([1, 1, 1, 1, 257]) })],
    [
      'k of another dtype',
      'ERR_DTYPE',
      /^k: expected float32/,
      () => ({ k: drawn([2, 6, 8, 4, 5], 'k', 'float16') }),
    ],
    ['k of other tokens', 'ERR_SHAPE', /^k: expected/, () => ({ k: device.zeros([2, 6, 7, 4, 5]) })],
    ['k of fewer axes', 'ERR_SHAPE', /^k: expected/, () => ({ k: device.zeros([2, 6, 4, 5]) })],
    ['k of more axes', 'ERR_SHAPE', /^k: expected/, () => ({ k: device.zeros([2, 6, 8, 4, 5, 1]) })],
    ['k of another headDim', 'ERR_SHAPE', /^k: expected/, () => ({ k: device.zeros([2, 6, 8, 4, 6]) })],
    [
      '3 key heads for 4',
      'ERR_SHAPE',
      /^k: expected .*divide 4/,
      () => ({ k: device.zeros([2, 6, 8, 3, 5]) }),
    ],
    ['no key heads', 'ERR_SHAPE', /^k: expected/, () => ({ k: device.zeros([2, 6, 8, 0, 5]) })],
    ['v unlike k', 'ERR_SHAPE', /^v: expected \[2,6,8,4,5\]/, () => ({ v: device.zeros([2, 6, 8, 2, 5]) })],
    ['no options', 'ERR_ARGUMENT', /^kernelSize: expected/, () => ({ options: undefined })],
    ['an unknown option', 'ERR_ARGUMENT', /unknown key 'kernel'/, () => ({ options: { kernel: 3 } })],
    ['kernelSize 0', 'ERR_ARGUMENT', /^kernelSize: expected an integer/, () => ({ kernelSize: 0 })],
    ['kernelSize 2.5', 'ERR_ARGUMENT', /^kernelSize\[1\]: expected/, () => ({ kernelSize: [3, 2.5] })],
    ['one kernelSize for two axes', 'ERR_ARGUMENT', /^kernelSize: .*2/, () => ({ kernelSize: [3] })],
    [
      'kernelSize past the axis',
      'ERR_ARGUMENT',
      /^kernelSize: .*at most 6 along token axis 0, received 7/,
      () => ({ kernelSize: 7 }),
    ],
    [
      'kernelSize * dilation past it',
      'ERR_ARGUMENT',
      /^kernelSize: .*at most 8 along token axis 1, received 9/,
      () => ({ dilation: [1, 3] }),
    ],
    [
      'stride past kernelSize',
      'ERR_ARGUMENT',
      /^stride: .*at most kernelSize, 3, .*received 4/,
      () => ({ stride: [1, 4] }),
    ],
    ['stride as text', 'ERR_ARGUMENT', /^stride: expected an integer/, () => ({ stride: '2' })],
    ['dilation -1', 'ERR_ARGUMENT', /^dilation: expected an integer/, () => ({ dilation: -1 })],
    ['causal as a number', 'ERR_ARGUMENT', /^causal: expected true or false/, () => ({ causal: 1 })],
    ['causal of a mixed array', 'ERR_ARGUMENT', /^causal\[1\]: expected/, () => ({ causal: [true, null] })],
    ['causal of three axes', 'ERR_ARGUMENT', /^causal: .*2/, () => ({ causal: [true, true, true] })],
    ['scale NaN', 'ERR_ARGUMENT', /^scale: expected/, () => ({ scale: Number.NaN })],
    ['scale Infinity', 'ERR_ARGUMENT', /^scale: expected/, () => ({ scale: Number.POSITIVE_INFINITY })],
    [
      'keys without values',
      'ERR_ARGUMENT',
      /^additionalValues: expected/,
      () => ({ additionalKeys: extra() }),
    ],
    [
      'values without keys',
      'ERR_ARGUMENT',
      /^additionalKeys: expected/,
      () => ({ additionalValues: extra() }),
    ],
    [
      'additional keys of another batch',
      'ERR_SHAPE',
      /^additionalKeys: expected \[2, additional, 4, 5\]/,
      () => ({ additionalKeys: extra([1, 3, 4, 5]), additionalValues: extra() }),
    ],
    [
      'additional keys of another dtype',
      'ERR_DTYPE',
      /^additionalKeys/,
      () => ({ additionalKeys: device.zeros([2, 3, 4, 5], 'float16'), additionalValues: extra() }),
    ],
    [
      'additional values unlike the keys',
      'ERR_SHAPE',
      /^additionalValues: expected \[2,3,4,5\]/,
      () => ({ additionalKeys: extra(), additionalValues: extra([2, 2, 4, 5]) }),
    ],
    ['out of another shape', 'ERR_SHAPE', /^out: expected/, () => ({ out: device.zeros([2, 6, 8, 5, 4]) })],
    [
      'out of another dtype',
      'ERR_DTYPE',
      /^out: expected/,
      () => ({ out: device.zeros([2, 6, 8, 4, 5], 'float16') }),
    ],
    ['out is q', 'ERR_ARGUMENT', /^out: shares memory with q/, ({ q }) => ({ out: q })],
    [
      'logSumExp of half floats',
      'ERR_DTYPE',
      /^logSumExp: expected float32/,
      () => ({ logSumExp: device.zeros([2, 6, 8, 4], 'float16') }),
    ],
    [
      'logSumExp of another shape',
      'ERR_SHAPE',
      /^logSumExp: expected/,
      () => ({ logSumExp: device.zeros([2, 4, 6, 8]) }),
    ],
    ['logSumExp as text', 'ERR_ARGUMENT', /^logSumExp: expected/, () => ({ logSumExp: 'yes' })],
  ];

  test.each(bad)('%s', (_name, code, message, change) => {
    device.tidy(() => {
      const arguments_ = good();
      const changed = change(arguments_) as Record<string, unknown>;
      const { q, k, v, options } = { ...arguments_, ...pick(changed, ['q', 'k', 'v', 'options'], true) };
      const given = options && { ...options, ...pick(changed, ['q', 'k', 'v', 'options'], false) };
      let thrown: unknown;
      try {
        neighborhoodAttention(q, k, v, given as unknown as NeighborhoodAttentionOptions);
      } catch (error) {
        thrown = error;
      }
      expect(thrown).toBeInstanceOf(WarptileError);
      expect((thrown as WarptileError).message).toMatch(message);
      expect((thrown as WarptileError).code).toBe(code);
    });
  });

  test('outputs that share memory with additional keys', () => {
    const { q, k, v } = good();
    const memory = device.zeros([2 * 6 * 8 * 4 * 5]);
    const additionalKeys = memory.slice(0, 120).reshape([2, 3, 4, 5]);
    const options = { kernelSize: 3, additionalKeys, additionalValues: extra() };
    const call = (more: object) => () => neighborhoodAttention(q, k, v, { ...options, ...more });
    expect(call({ out: memory.reshape([2, 6, 8, 4, 5]) })).toThrow(/^out: shares memory with additionalKeys/);
    const logSumExp = memory.slice(0, 384).reshape([2, 6, 8, 4]);
    expect(call({ logSumExp })).toThrow(/^logSumExp: shares memory with additionalKeys/);
  });

  test('a disposed tensor, another device', async () => {
    const { q, k, v } = good();
    const gone = k.clone();
    gone.dispose();
    const code = (expected: string) => expect.objectContaining({ code: expected });
    expect(() => neighborhoodAttention(q, gone, v, { kernelSize: 3 })).toThrow(code('ERR_DISPOSED'));
    const other = await openDevice('cpu');
    const elsewhere = other.zeros([2, 6, 8, 4, 5]);
    expect(() => neighborhoodAttention(q, k, elsewhere, { kernelSize: 3 })).toThrow(code('ERR_DEVICE'));
    other.dispose();
  });

  function pick(from: Record<string, unknown>, names: readonly string[], listed: boolean): object {
    return Object.fromEntries(Object.entries(from).filter(([name]) => names.includes(name) === listed));
  }
});

test('cases have names of their own, and a reduced suite', () => {
  const names = neighborhoodAttentionCases.map((item) => item.name);
  expect(new Set(names).size).toBe(names.length);
  expect(names.length).toBeGreaterThan(300);
  expect(neighborhoodAttentionCases.filter((item) => item.reduced).length).toBeGreaterThan(15);
});
