import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import {
  type Device,
  type HostData,
  type HostDType,
  type HostTensor,
  type NumericArray,
  openDevice,
  openSafetensors,
  type QuantizedMatrix,
  type QuantizeOptions,
  type Tensor,
  w4a16Matmul,
  writeSafetensors,
} from '../lib/index.js';
import { type FloatDType, floatDTypes } from '../lib/tensor/dtype.js';
import { float16Value } from '../lib/tensor/half.js';
import { w4a16Cases } from './cases/w4a16.js';
import { errorOf } from './harness/errors.js';
import { Random } from './harness/random.js';

interface Fixture {
  readonly name: string;
  readonly kind: string;
  readonly shape: [number, number];
  readonly groupSize: number;
  readonly weight: number[];
  readonly scales: number[];
  readonly zeros?: number[];
  readonly groupIndex?: number[];
  readonly dense: number[];
  readonly x: number[];
  readonly y: number[];
}

const fixtures: readonly Fixture[] = JSON.parse(
  readFileSync(path.join(__dirname, 'fixtures/w4a16.json'), 'utf8'),
);

let device: Device;
beforeAll(async () => {
  device = await openDevice('cpu');
});
afterAll(() => device.dispose());

function load(
  fixture: Fixture,
  options: { scalesDType?: FloatDType; dtype?: FloatDType } = {},
): QuantizedMatrix {
  const { shape, groupSize, kind, groupIndex, zeros } = fixture;
  const weight = Int32Array.from(fixture.weight);
  const bits = Uint16Array.from(fixture.scales);
  const scales = options.scalesDType ? bits : Float32Array.from(bits, float16Value);
  const common = { shape, groupSize, ...options };
  if (kind === 'compressed') {
    return device.quantizedFromCompressedTensors({
      ...common,
      weightPacked: weight,
      weightScale: scales,
      ...(zeros && { weightZeroPoint: Int32Array.from(zeros) }),
      ...(groupIndex && { weightGIdx: groupIndex }),
    });
  }
  const integers = { ...common, qweight: weight, scales, ...(zeros && { qzeros: Int32Array.from(zeros) }) };
  if (kind === 'awq') return device.quantizedFromAwq(integers);
  return device.quantizedFromGptq({
    ...integers,
    format: kind as 'gptq' | 'gptq_v2',
    ...(groupIndex && { gIdx: Int32Array.from(groupIndex) }),
  });
}

describe('checkpoint formats', () => {
  describe.each(fixtures)('$name', (fixture) => {
    test('holds the weights that NumPy packed', async () => {
      using w = load(fixture);
      expect(w.shape).toEqual(fixture.shape);
      expect(w.dtype).toBe('float16');
      expect(w.groupSize).toBe(fixture.groupSize === -1 ? fixture.shape[1] : fixture.groupSize);
      expect(w.actOrder).toBe(fixture.groupIndex !== undefined);
      expect(w.parts.columnGroups).toBeUndefined();
      expect(await w.dequantize()).toEqual(Float32Array.from(fixture.dense));
      expect(w.dequantizeSync()).toEqual(Float32Array.from(fixture.dense));
      using dense = await w.toDense('float32');
      expect(dense.shape).toEqual(fixture.shape);
      expect(await dense.data()).toEqual(Float32Array.from(fixture.dense));
    });

    test('takes scales as bit patterns, and unsigned words', () => {
      using w = load(
        { ...fixture, weight: fixture.weight.map((word) => word >>> 0) },
        { scalesDType: 'float16' },
      );
      expect(w.dequantizeSync()).toEqual(Float32Array.from(fixture.dense));
    });

    test.each(floatDTypes)('gives the product that NumPy computed, in %s', (dtype) => {
      const [n, k] = fixture.shape;
      // Scales of 8 significant bits are exact in every dtype.
      using w = load(fixture, { dtype });
      using x = device.tensor(Float32Array.from(fixture.x, float16Value), {
        shape: [3, k],
        dtype: 'float32',
      });
      using typed = device.tensor(x.dataSync(), { shape: [3, k], dtype });
      using y = w4a16Matmul(typed, w);
      expect(y.shape).toEqual([3, n]);
      using expected = device.tensor(fixture.y, { shape: [3, n], dtype });
      expect(y.dataSync()).toEqual(expected.dataSync());
    });
  });

  test('a layer of a safetensors file', async () => {
    const fixture = fixtures.find((item) => item.name === 'gptq, act-order') as Fixture;
    const [n, k] = fixture.shape;
    const folder = await mkdtemp(path.join(tmpdir(), 'warptile-'));
    try {
      const name = path.join(folder, 'model.safetensors');
      const stored = (shape: number[], dtype: HostDType, data: NumericArray): HostTensor => ({
        shape,
        dtype,
        data,
        raw: dtype === 'float16',
      });
      await writeSafetensors(name, {
        qweight: stored([k / 8, n], 'int32', Int32Array.from(fixture.weight)),
        qzeros: stored([4, 2], 'int32', Int32Array.from(fixture.zeros as number[])),
        scales: stored([4, n], 'float16', Uint16Array.from(fixture.scales)),
        g_idx: stored([k], 'int32', Int32Array.from(fixture.groupIndex as number[])),
      });
      await using file = await openSafetensors(name);
      const [qweight, qzeros, scales, gIdx] = await Promise.all(
        ['qweight', 'qzeros', 'scales', 'g_idx'].map((tensor) => file.read(tensor)),
      );
      using w = device.quantizedFromGptq({
        qweight: qweight.data,
        qzeros: qzeros.data,
        scales: scales.data,
        scalesDType: 'float16',
        gIdx: gIdx.data,
        shape: [n, k],
        groupSize: fixture.groupSize,
      });
      expect(w.dequantizeSync()).toEqual(Float32Array.from(fixture.dense));
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  test('GPTQ v1 stores the zero point less one, so 15 stands for 16', () => {
    const options = { qweight: [0x76543210], scales: [2], shape: [1, 8], groupSize: -1 } as const;
    using v1 = device.quantizedFromGptq({ ...options, qzeros: [15] });
    expect([...v1.dequantizeSync()]).toEqual([0, 1, 2, 3, 4, 5, 6, 7].map((u) => 2 * (u - 16)));
    using v2 = device.quantizedFromGptq({ ...options, qzeros: [15], format: 'gptq_v2' });
    expect([...v2.dequantizeSync()]).toEqual([0, 1, 2, 3, 4, 5, 6, 7].map((u) => 2 * (u - 15)));
    using symmetric = device.quantizedFromGptq(options);
    expect([...symmetric.dequantizeSync()]).toEqual([0, 1, 2, 3, 4, 5, 6, 7].map((u) => 2 * (u - 8)));
  });

  test("GPTQ format 'auto' knows symmetric weights by their zero points", () => {
    const make = (zero: number): QuantizedMatrix =>
      device.quantizedFromGptq({
        qweight: new Int32Array(8),
        qzeros: new Uint32Array(1).fill(zero),
        scales: new Float32Array(8).fill(1),
        shape: [8, 8],
        groupSize: 8,
        format: 'auto',
      });
    for (const zero of [0x77777777, 0x88888888]) {
      using w = make(zero);
      expect(w.dequantizeSync()).toEqual(new Float32Array(64).fill(-8));
    }
    const error = errorOf(() => make(0x88888887));
    expect(error.code).toBe('ERR_ARGUMENT');
    expect(error.message).toMatch(/format: 'auto' needs symmetric weights/);
  });

  test('an AWQ word holds its columns in the order 0 2 4 6 1 3 5 7', () => {
    // Nibble i of the word is i; column c is in nibble R[c].
    using w = device.quantizedFromAwq({
      qweight: [0x76543210],
      qzeros: [0],
      scales: new Float32Array(8).fill(1),
      shape: [8, 1],
      groupSize: -1,
    });
    expect([...w.dequantizeSync()]).toEqual([0, 4, 1, 5, 2, 6, 3, 7]);
  });

  test('compressed-tensors: a group index of -1 everywhere is none', () => {
    const options = {
      weightPacked: new Int32Array(2),
      weightScale: [1, 1, 2, 2],
      shape: [2, 8],
      groupSize: 4,
    } as const;
    using w = device.quantizedFromCompressedTensors({ ...options, weightGIdx: new Int32Array(8).fill(-1) });
    expect(w.actOrder).toBe(false);
    const mixed = Int32Array.of(0, 0, 0, 0, -1, 1, 1, 1);
    const error = errorOf(() => device.quantizedFromCompressedTensors({ ...options, weightGIdx: mixed }));
    expect(error.code).toBe('ERR_INDEX');
    expect(error.message).toBe('weightGIdx[4]: expected an integer from 0 to 1, received -1');
  });

  test('groups of any size and order', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 40 }).chain((k) =>
          fc.record({
            k: fc.constant(k),
            groupSize: fc.integer({ min: 1, max: k }),
            seed: fc.nat(),
          }),
        ),
        ({ k, groupSize, seed }) => {
          const random = new Random(`groups ${seed}`);
          const n = 3;
          const groups = Math.ceil(k / groupSize);
          const u = Array.from({ length: n * k }, () => random.integer(0, 15));
          const gIdx = Int32Array.from({ length: k }, () => random.integer(0, groups - 1));
          const scales = Float32Array.from({ length: groups * n }, () => random.integer(1, 100) / 64);
          const qweight = new Int32Array(Math.ceil(k / 8) * n);
          for (let row = 0; row < n; ++row) {
            for (let c = 0; c < k; ++c) qweight[(c >> 3) * n + row] |= u[row * k + c] << (4 * (c & 7));
          }
          using w = device.quantizedFromGptq({ qweight, scales, gIdx, shape: [n, k], groupSize });
          const expected = u.map((value, i) => scales[gIdx[i % k] * n + Math.floor(i / k)] * (value - 8));
          expect([...w.dequantizeSync()]).toEqual(expected.map((value) => value + 0));
          const x = Float32Array.from({ length: 2 * k }, () => random.integer(-8, 8));
          using xTensor = device.tensor(x, { shape: [2, k], dtype: 'float16' });
          using y = w4a16Matmul(xTensor, w);
          using dense = device.tensor(
            Array.from({ length: 2 * n }, (_, i) => {
              let sum = 0;
              for (let c = 0; c < k; ++c) sum += x[Math.floor(i / n) * k + c] * expected[(i % n) * k + c];
              return sum;
            }),
            { shape: [2, n], dtype: 'float16' },
          );
          expect(y.dataSync()).toEqual(dense.dataSync());
        },
      ),
      { numRuns: 150, seed: 1 },
    );
  });
});

describe('quantize', () => {
  const matrix = fc.record({
    n: fc.integer({ min: 1, max: 4 }),
    k: fc.integer({ min: 1, max: 70 }),
    groupSize: fc.constantFrom(-1, 1, 5, 8, 32, 64, 128),
    symmetric: fc.boolean(),
    dtype: fc.constantFrom(...floatDTypes),
    offset: fc.constantFrom(0, 0, 1, -1, 10),
    magnitude: fc.constantFrom(1, 1e-3, 100, 1e-7),
    seed: fc.nat(),
  });

  test('moves no weight by more than half the scale of its group', () => {
    fc.assert(
      fc.property(matrix, ({ n, k, offset, magnitude, seed, ...options }) => {
        const random = new Random(`quantize ${seed}`);
        const weights = Float64Array.from({ length: n * k }, () => magnitude * (offset + random.normal()));
        using w = device.quantize(weights, { shape: [n, k], ...options });
        const dense = w.dequantizeSync();
        const scales = w.parts.scales.dataSync();
        weights.forEach((weight, i) => {
          const scale = scales[Math.floor((i % k) / w.groupSize) * n + Math.floor(i / k)];
          expect(Math.abs(weight - dense[i])).toBeLessThanOrEqual((scale / 2) * (1 + 1e-6));
        });
      }),
      { numRuns: 300, seed: 2 },
    );
  });

  test.each(floatDTypes)('keeps what 16 levels hold, in %s', (dtype) => {
    // Asymmetric groups whose range is exactly 15 steps.
    const random = new Random('levels');
    const [n, k] = [5, 64];
    const weights = Float32Array.from({ length: n * k }, () => 0.25 * random.integer(-6, 9));
    for (let i = 0; i < n * k; i += 16) {
      weights[i] = -1.5;
      weights[i + 1] = 2.25;
    }
    using w = device.quantize(weights, { shape: [n, k], groupSize: 16, symmetric: false, dtype });
    expect(w.dequantizeSync()).toEqual(weights);
    // Rounding what was rounded changes nothing.
    using again = device.quantize(w.dequantizeSync(), {
      shape: [n, k],
      groupSize: 16,
      symmetric: false,
      dtype,
    });
    expect(again.parts.packed.rawDataSync()).toEqual(w.parts.packed.rawDataSync());
    expect(again.parts.scales.rawDataSync()).toEqual(w.parts.scales.rawDataSync());
  });

  test('symmetric: zero point 8, and negated weights but for the ends of the range', () => {
    const random = new Random('symmetric');
    const weights = Float64Array.from({ length: 256 }, () => random.normal());
    using w = device.quantize(weights, { shape: [2, 128], groupSize: 32 });
    using negated = device.quantize(
      weights.map((weight) => -weight),
      { shape: [2, 128], groupSize: 32 },
    );
    expect(new Set(w.parts.zeroPoints.dataSync())).toEqual(new Set([8]));
    expect(negated.parts.scales.dataSync()).toEqual(w.parts.scales.dataSync());
    const [a, b, scales] = [w.dequantizeSync(), negated.dequantizeSync(), w.parts.scales.dataSync()];
    a.forEach((value, i) => {
      const scale = scales[Math.floor((i % 128) / 32) * 2 + Math.floor(i / 128)];
      if (Math.abs(value) < 6.5 * scale) expect(b[i] + value).toBe(0);
    });
  });

  test('zero stays zero, also far from the range, and a group of zeros', () => {
    for (const symmetric of [true, false]) {
      using w = device.quantize([0, 5, 6, 7, 0, 0, 0, 0, -3, 0, -2, -1], {
        shape: [1, 12],
        groupSize: 4,
        symmetric,
      });
      const dense = w.dequantizeSync();
      for (const i of [0, 4, 5, 6, 7, 9]) expect(dense[i]).toBeCloseTo(0, 12);
    }
  });

  test('defaults: group size 128, symmetric, float16', () => {
    using w = device.quantize(new Float32Array(2 * 300), { shape: [2, 300] });
    expect([w.groupSize, w.groups, w.dtype, w.actOrder]).toEqual([128, 3, 'float16', false]);
    expect(w.byteLength).toBe(2 * 38 * 4 + 3 * 2 * 2 + 3 * 2);
  });

  test('takes half weights as bit patterns', () => {
    const [bits, numbers] = [Uint16Array.of(0x3c00, 0xc000), Float32Array.of(1, -2)];
    using a = device.quantize(bits, { shape: [1, 2], weightsDType: 'float16' });
    using b = device.quantize(numbers, { shape: [1, 2] });
    expect(a.dequantizeSync()).toEqual(b.dequantizeSync());
    using c = device.quantize(Uint16Array.of(0x3f80, 0xc000), { shape: [1, 2], weightsDType: 'bfloat16' });
    expect(c.dequantizeSync()).toEqual(b.dequantizeSync());
  });

  test('scales too small or too large for float16', () => {
    using tiny = device.quantize([1e-9, -1e-9], { shape: [1, 2] });
    expect(tiny.parts.scales.dataSync()[0]).toBe(2 ** -24);
    const error = errorOf(() => device.quantize([0, 0, 1e6, 0], { shape: [2, 2] }));
    expect(error.code).toBe('ERR_ARGUMENT');
    expect(error.message).toMatch(/row 1, group 0 needs a scale of 133333\.\d+, which float16 cannot hold/);
    using wide = device.quantize([0, 0, 1e6, 0], { shape: [2, 2], dtype: 'bfloat16' });
    expect(wide.dtype).toBe('bfloat16');
  });

  const good: QuantizeOptions = { shape: [2, 3] };
  const data = new Float32Array(6);
  test.each<[string, unknown, unknown, string, RegExp]>([
    ['no options', data, undefined, 'ERR_ARGUMENT', /options: expected an object/],
    ['an unknown key', data, { ...good, groupsize: 32 }, 'ERR_ARGUMENT', /unknown key 'groupsize'/],
    ['no shape', data, {}, 'ERR_SHAPE', /shape: expected \[n, k\]/],
    ['three sizes', data, { shape: [1, 2, 3] }, 'ERR_SHAPE', /shape/],
    ['a negative size', data, { shape: [-2, 3] }, 'ERR_SHAPE', /shape/],
    ['a side past 2^31', data, { shape: [2 ** 31, 3] }, 'ERR_LIMIT', /shape/],
    ['too few weights', data, { shape: [2, 4] }, 'ERR_SHAPE', /weights: expected 8 elements.*received 6/],
    ['NaN', [0, 0, 0, 0, Number.NaN, 0], good, 'ERR_ARGUMENT', /weights\[4\]/],
    ['Infinity', [0, 0, 0, Number.NEGATIVE_INFINITY, 0, 0], good, 'ERR_ARGUMENT', /weights\[3\]/],
    ['a string', ['1', 0, 0, 0, 0, 0], good, 'ERR_ARGUMENT', /weights\[0\]/],
    ['group size 0', data, { ...good, groupSize: 0 }, 'ERR_ARGUMENT', /groupSize/],
    ['group size -2', data, { ...good, groupSize: -2 }, 'ERR_ARGUMENT', /groupSize/],
    ['group size 1.5', data, { ...good, groupSize: 1.5 }, 'ERR_ARGUMENT', /groupSize/],
    ['symmetric: 1', data, { ...good, symmetric: 1 }, 'ERR_ARGUMENT', /symmetric/],
    ['an integer dtype', data, { ...good, dtype: 'int8' }, 'ERR_DTYPE', /dtype/],
    ['an unknown dtype', data, { ...good, dtype: 'float8' }, 'ERR_DTYPE', /dtype/],
    ['bit patterns unannounced', new Uint16Array(6), good, 'ERR_DTYPE', /weightsDType/],
    ['bit patterns of another type', data, { ...good, weightsDType: 'float16' }, 'ERR_DTYPE', /Uint16Array/],
    ['bigints', new BigInt64Array(6), good, 'ERR_ARGUMENT', /weights/],
    ['shared memory', new Float32Array(new SharedArrayBuffer(24)), good, 'ERR_ARGUMENT', /SharedArrayBuffer/],
    ['a number', 3, good, 'ERR_ARGUMENT', /weights/],
  ])('refuses %s', (_, weights, options, code, message) => {
    const before = device.memory().handles;
    const error = errorOf(() => device.quantize(weights as HostData, options as QuantizeOptions));
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
    expect(device.memory().handles).toBe(before);
  });
});

describe('checkpoint errors', () => {
  const gptq = {
    qweight: new Int32Array(4 * 16),
    qzeros: new Int32Array(2 * 2),
    scales: new Float32Array(2 * 16),
    shape: [16, 32],
    groupSize: 16,
  };
  const awq = { ...gptq, qweight: new Int32Array(32 * 2) };
  const compressed = {
    weightPacked: new Int32Array(16 * 4),
    weightScale: new Float32Array(16 * 2),
    weightZeroPoint: new Int32Array(2 * 2),
    shape: [16, 32],
    groupSize: 16,
  };
  const index = (change: (values: number[]) => void): number[] => {
    const values = Array.from({ length: 32 }, (_, i) => i >> 4);
    change(values);
    return values;
  };
  test.each<
    [
      string,
      'quantizedFromGptq' | 'quantizedFromAwq' | 'quantizedFromCompressedTensors',
      unknown,
      string,
      RegExp,
    ]
  >([
    ['no options', 'quantizedFromGptq', undefined, 'ERR_ARGUMENT', /options/],
    ['an unknown key', 'quantizedFromGptq', { ...gptq, g_idx: [] }, 'ERR_ARGUMENT', /unknown key 'g_idx'/],
    ['no qweight', 'quantizedFromGptq', { ...gptq, qweight: undefined }, 'ERR_ARGUMENT', /qweight/],
    [
      'a short qweight',
      'quantizedFromGptq',
      { ...gptq, qweight: new Int32Array(63) },
      'ERR_SHAPE',
      /qweight: expected 64 elements for \[4,16\]/,
    ],
    ['float words', 'quantizedFromGptq', { ...gptq, qweight: new Float32Array(64) }, 'ERR_DTYPE', /qweight/],
    [
      'fractional words',
      'quantizedFromGptq',
      { ...gptq, qweight: new Array(64).fill(0.5) },
      'ERR_ARGUMENT',
      /qweight\[0\]/,
    ],
    [
      'words past 32 bits',
      'quantizedFromGptq',
      { ...gptq, qweight: new Array(64).fill(2 ** 32) },
      'ERR_ARGUMENT',
      /qweight\[0\]/,
    ],
    [
      'words of another shape',
      'quantizedFromGptq',
      { ...gptq, shape: [16, 40] },
      'ERR_SHAPE',
      /qweight: expected 80/,
    ],
    ['short qzeros', 'quantizedFromGptq', { ...gptq, qzeros: new Int32Array(3) }, 'ERR_SHAPE', /qzeros/],
    ['short scales', 'quantizedFromGptq', { ...gptq, scales: new Float32Array(31) }, 'ERR_SHAPE', /scales/],
    [
      'NaN scales',
      'quantizedFromGptq',
      { ...gptq, scales: new Float32Array(32).fill(Number.NaN) },
      'ERR_ARGUMENT',
      /scales\[0\]/,
    ],
    [
      'scales past float16',
      'quantizedFromGptq',
      { ...gptq, scales: new Float32Array(32).fill(1e6) },
      'ERR_ARGUMENT',
      /scales\[0\]: expected a finite number that float16 holds/,
    ],
    [
      'bit patterns unannounced',
      'quantizedFromGptq',
      { ...gptq, scales: new Uint16Array(32) },
      'ERR_DTYPE',
      /scalesDType/,
    ],
    [
      'bit patterns of another type',
      'quantizedFromGptq',
      { ...gptq, scalesDType: 'bfloat16' },
      'ERR_DTYPE',
      /scales/,
    ],
    [
      'an unknown format',
      'quantizedFromGptq',
      { ...gptq, format: 'v2' },
      'ERR_ARGUMENT',
      /format: expected one of 'gptq', 'gptq_v2', 'auto'/,
    ],
    ['no group size', 'quantizedFromGptq', { ...gptq, groupSize: undefined }, 'ERR_ARGUMENT', /groupSize/],
    ['a short group index', 'quantizedFromGptq', { ...gptq, gIdx: [0, 1] }, 'ERR_SHAPE', /gIdx/],
    [
      'a group past the last',
      'quantizedFromGptq',
      {
        ...gptq,
        gIdx: index((v) => {
          v[7] = 2;
        }),
      },
      'ERR_INDEX',
      /gIdx\[7\]: expected an integer from 0 to 1, received 2/,
    ],
    [
      'a negative group',
      'quantizedFromGptq',
      {
        ...gptq,
        gIdx: index((v) => {
          v[9] = -1;
        }),
      },
      'ERR_INDEX',
      /gIdx\[9\]/,
    ],
    [
      'a fractional group',
      'quantizedFromGptq',
      {
        ...gptq,
        gIdx: index((v) => {
          v[0] = 0.5;
        }),
      },
      'ERR_INDEX',
      /gIdx\[0\]/,
    ],
    [
      'NaN as a group',
      'quantizedFromGptq',
      {
        ...gptq,
        gIdx: index((v) => {
          v[31] = Number.NaN;
        }),
      },
      'ERR_INDEX',
      /gIdx\[31\]/,
    ],
    [
      'GPTQ words',
      'quantizedFromAwq',
      { ...awq, shape: [16, 40] },
      'ERR_SHAPE',
      /qweight: expected 80 elements/,
    ],
    [
      'act-order, which AWQ has not',
      'quantizedFromAwq',
      { ...awq, gIdx: index(() => {}) },
      'ERR_ARGUMENT',
      /unknown key 'gIdx'/,
    ],
    ['short AWQ zero points', 'quantizedFromAwq', { ...awq, qzeros: [] }, 'ERR_SHAPE', /qzeros/],
    [
      'a short weight',
      'quantizedFromCompressedTensors',
      { ...compressed, weightPacked: new Int32Array(63) },
      'ERR_SHAPE',
      /weightPacked/,
    ],
    [
      'short scales',
      'quantizedFromCompressedTensors',
      { ...compressed, weightScale: [1] },
      'ERR_SHAPE',
      /weightScale: expected 32 elements for \[16,2\]/,
    ],
    [
      'short zero points',
      'quantizedFromCompressedTensors',
      { ...compressed, weightZeroPoint: [1] },
      'ERR_SHAPE',
      /weightZeroPoint/,
    ],
    [
      'a group past the last',
      'quantizedFromCompressedTensors',
      {
        ...compressed,
        weightGIdx: index((v) => {
          v[1] = 9;
        }),
      },
      'ERR_INDEX',
      /weightGIdx\[1\]/,
    ],
    ['a polluted prototype', 'quantizedFromAwq', Object.create(awq), 'ERR_SHAPE', /shape/],
  ])('%s: %s', (_, method, options, code, message) => {
    const before = device.memory().handles;
    const error = errorOf(() => device[method](options as never));
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
    expect(device.memory().handles).toBe(before);
  });

  test('out of memory keeps nothing', async () => {
    using small = await openDevice('cpu', { memoryLimit: 100 });
    const error = errorOf(() => small.quantize(new Float32Array(16 * 8), { shape: [16, 8] }));
    expect(error.code).toBe('ERR_OUT_OF_MEMORY');
    expect(small.memory().handles).toBe(0);
  });
});

describe('QuantizedMatrix', () => {
  const make = (on: Device = device): QuantizedMatrix =>
    on.quantize([1, 2, 3, 4, 5, 6], { shape: [2, 3], groupSize: 2 });

  test('is disposed once, with all its memory', async () => {
    const before = device.memory();
    const w = make();
    expect(device.memory().handles).toBe(before.handles + 3);
    expect(w.disposed).toBe(false);
    w.dispose();
    w.dispose();
    expect(w.disposed).toBe(true);
    expect(device.memory().used).toBe(before.used);
    for (const body of [() => w.dequantizeSync(), () => w.checkUsable('w')]) {
      expect(errorOf(body).code).toBe('ERR_DISPOSED');
    }
    await expect(w.dequantize()).rejects.toMatchObject({ code: 'ERR_DISPOSED' });
    await expect(w.toDense()).rejects.toMatchObject({ code: 'ERR_DISPOSED' });
    await expect(w.to(device)).rejects.toMatchObject({ code: 'ERR_DISPOSED' });
    using x = device.zeros([1, 3], 'float16');
    expect(errorOf(() => w4a16Matmul(x, w)).code).toBe('ERR_DISPOSED');
  });

  test('tidy keeps what it returns', () => {
    let dropped: QuantizedMatrix | undefined;
    const kept = device.tidy(() => {
      dropped = make();
      return { layer: make() };
    });
    expect(dropped?.disposed).toBe(true);
    expect(kept.layer.disposed).toBe(false);
    kept.layer.dispose();
  });

  test('copies to another device', async () => {
    using other = await openDevice('cpu');
    using w = device.quantizedFromGptq({
      qweight: new Int32Array(2).fill(0x76543210),
      scales: [1, 2, 3, 4],
      gIdx: [0, 1, 0, 0, 1, 1, 0, 1],
      shape: [2, 8],
      groupSize: 4,
    });
    using copy = await w.to(other);
    expect(copy.device).toBe(other);
    expect(copy.actOrder).toBe(true);
    expect(copy.dequantizeSync()).toEqual(w.dequantizeSync());
    using x = device.zeros([1, 8], 'float16');
    expect(errorOf(() => w4a16Matmul(x, copy)).code).toBe('ERR_DEVICE');
  });

  test('is unusable once its device is gone', async () => {
    const other = await openDevice('cpu');
    const w = make(other);
    other.dispose();
    expect(errorOf(() => w.dequantizeSync()).code).toBe('ERR_DISPOSED');
    expect(errorOf(() => make(other)).code).toBe('ERR_DISPOSED');
    w.dispose();
  });

  test('cannot be made while a graph is recorded, and leaves nothing behind', () => {
    const before = device.memory().handles;
    expect(errorOf(() => device.capture(() => make())).code).toBe('ERR_UNSUPPORTED');
    expect(device.memory().handles).toBe(before);
  });
});

describe('w4a16Matmul', () => {
  test('there are several hundred cases, with names of their own', () => {
    expect(w4a16Cases.length).toBeGreaterThan(300);
    expect(new Set(w4a16Cases.map((item) => item.name)).size).toBe(w4a16Cases.length);
    expect(w4a16Cases.filter((item) => item.reduced).length).toBeGreaterThanOrEqual(20);
  });

  test('is linear in x, and splits change nothing on the CPU', () => {
    const random = new Random('linear');
    const [m, n, k] = [3, 10, 50];
    const draw = () => Float32Array.from({ length: m * k }, () => random.integer(-20, 20));
    const [a, b] = [draw(), draw()];
    using w = device.quantize(
      Float32Array.from({ length: n * k }, () => random.normal()),
      {
        shape: [n, k],
        groupSize: 32,
        symmetric: false,
        dtype: 'float32',
      },
    );
    const apply = (x: Float32Array, splitK?: number): Float32Array => {
      using xTensor = device.tensor(x, { shape: [m, k] });
      using y = w4a16Matmul(xTensor, w, splitK === undefined ? {} : { splitK }) as Tensor<'float32'>;
      return y.dataSync();
    };
    const [ya, yb, sum] = [apply(a), apply(b), apply(a.map((value, i) => value + b[i]))];
    sum.forEach((value, i) => {
      expect(value).toBeCloseTo(ya[i] + yb[i], 3);
    });
    expect(apply(a, 7)).toEqual(ya);
  });

  test('equals the product with the dense matrix, row by row', () => {
    using w = device.quantize([1, -2, 3, 4, 5, -6], { shape: [2, 3], groupSize: -1, dtype: 'float32' });
    const dense = w.dequantizeSync();
    using identity = device.tensor([1, 0, 0, 0, 1, 0, 0, 0, 1], { shape: [3, 3] });
    using y = w4a16Matmul(identity, w) as Tensor<'float32'>;
    expect([...y.dataSync()]).toEqual([dense[0], dense[3], dense[1], dense[4], dense[2], dense[5]]);
  });

  test('writes into out, adds the bias, keeps leading dimensions', () => {
    using w = device.quantize(new Float32Array(15), { shape: [5, 3] });
    using x = device.zeros([2, 4, 3], 'float16');
    using bias = device.tensor([1, 2, 3, 4, 5], { dtype: 'float16' });
    using out = device.empty([2, 4, 5], 'float16');
    expect(w4a16Matmul(x, w, { out, bias })).toBe(out);
    expect([...out.dataSync()]).toEqual(Array.from({ length: 40 }, (_, i) => (i % 5) + 1));
  });

  test('can be recorded and replayed', () => {
    using w = device.quantize([1, 1, 1, 1], { shape: [2, 2], symmetric: false, dtype: 'float32' });
    using x = device.zeros([1, 2]);
    using out = device.zeros([1, 2]);
    using graph = device.capture(() => w4a16Matmul(x, w, { out }));
    using ones = device.tensor([1, 2], { shape: [1, 2] });
    x.copyFrom(ones);
    expect([...out.dataSync()]).toEqual([0, 0]);
    graph.replay();
    for (const value of out.dataSync()) expect(value).toBeCloseTo(3, 5);
  });

  describe('refuses', () => {
    let w: QuantizedMatrix;
    let x: Tensor;
    beforeAll(() => {
      w = device.quantize(new Float32Array(6), { shape: [2, 3] });
      x = device.zeros([4, 3], 'float16');
    });
    afterAll(() => {
      w.dispose();
      x.dispose();
    });
    const tensor = (shape: readonly number[], dtype: FloatDType = 'float16') => device.zeros(shape, dtype);
    const rows: [string, () => unknown, string, RegExp][] = [
      ['numbers for x', () => w4a16Matmul([1, 2, 3] as never, w), 'ERR_ARGUMENT', /x: expected a Tensor/],
      ['a tensor for w', () => w4a16Matmul(x, x as never), 'ERR_ARGUMENT', /w: expected a QuantizedMatrix/],
      ['a scalar x', () => w4a16Matmul(tensor([]), w), 'ERR_SHAPE', /x: expected \[\.\.\., 3\]/],
      [
        'another k',
        () => w4a16Matmul(tensor([3, 4]), w),
        'ERR_SHAPE',
        /x: expected \[\.\.\., 3\], received \[3, 4\]/,
      ],
      ['another dtype', () => w4a16Matmul(tensor([4, 3], 'bfloat16'), w), 'ERR_DTYPE', /x: expected float16/],
      ['an integer dtype', () => w4a16Matmul(device.zeros([4, 3], 'int32'), w), 'ERR_DTYPE', /x/],
      ['a bias of another length', () => w4a16Matmul(x, w, { bias: tensor([3]) }), 'ERR_SHAPE', /bias/],
      ['a bias of another rank', () => w4a16Matmul(x, w, { bias: tensor([1, 2]) }), 'ERR_SHAPE', /bias/],
      [
        'a bias of another dtype',
        () => w4a16Matmul(x, w, { bias: tensor([2], 'float32') }),
        'ERR_DTYPE',
        /bias/,
      ],
      ['a null bias', () => w4a16Matmul(x, w, { bias: null as never }), 'ERR_ARGUMENT', /bias/],
      [
        'an out of another shape',
        () => w4a16Matmul(x, w, { out: tensor([2, 4]) }),
        'ERR_SHAPE',
        /out: expected \[4,2\]/,
      ],
      [
        'an out of another dtype',
        () => w4a16Matmul(x, w, { out: tensor([4, 2], 'float32') }),
        'ERR_DTYPE',
        /out/,
      ],
      [
        'splitK 0',
        () => w4a16Matmul(x, w, { splitK: 0 }),
        'ERR_ARGUMENT',
        /splitK: expected an integer from 1 to 64/,
      ],
      ['splitK 65', () => w4a16Matmul(x, w, { splitK: 65 }), 'ERR_ARGUMENT', /splitK/],
      ['splitK NaN', () => w4a16Matmul(x, w, { splitK: Number.NaN }), 'ERR_ARGUMENT', /splitK/],
      [
        'an unknown key',
        () => w4a16Matmul(x, w, { splitk: 2 } as never),
        'ERR_ARGUMENT',
        /unknown key 'splitk'/,
      ],
      ['options that are none', () => w4a16Matmul(x, w, 3 as never), 'ERR_ARGUMENT', /options/],
      [
        'out over x',
        () => w4a16Matmul(tensor([4, 3]), w, { out: x.slice(0, 2).reshape([3, 2]) as never }),
        'ERR_SHAPE',
        /out/,
      ],
    ];
    test.each(rows)('%s', (_, body, code, message) => {
      device.tidy(() => {
        const error = errorOf(body);
        expect(error.code).toBe(code);
        expect(error.message).toMatch(message);
      });
    });

    test('an out that shares memory with x or the bias', () => {
      device.tidy(() => {
        const memory = device.zeros([20], 'float16');
        const [xView, out, bias] = [
          memory.slice(0, 12).reshape([4, 3]),
          memory.slice(11, 19).reshape([4, 2]),
          memory.slice(18, 20),
        ];
        expect(errorOf(() => w4a16Matmul(xView, w, { out })).message).toMatch(/out: shares memory with x/);
        expect(errorOf(() => w4a16Matmul(x, w, { out, bias })).message).toMatch(
          /out: shares memory with bias/,
        );
      });
    });

    test('operands of another device, and disposed ones', async () => {
      using other = await openDevice('cpu');
      using foreign = other.zeros([4, 3], 'float16');
      using foreignBias = other.zeros([2], 'float16');
      using foreignOut = other.zeros([4, 2], 'float16');
      expect(errorOf(() => w4a16Matmul(foreign, w)).code).toBe('ERR_DEVICE');
      expect(errorOf(() => w4a16Matmul(x, w, { bias: foreignBias })).code).toBe('ERR_DEVICE');
      expect(errorOf(() => w4a16Matmul(x, w, { out: foreignOut })).code).toBe('ERR_DEVICE');
      const gone = device.zeros([4, 3], 'float16');
      gone.dispose();
      expect(errorOf(() => w4a16Matmul(gone, w)).code).toBe('ERR_DISPOSED');
      expect(errorOf(() => w4a16Matmul(x, w, { bias: gone })).code).toBe('ERR_DISPOSED');
      expect(errorOf(() => w4a16Matmul(x, w, { out: gone })).code).toBe('ERR_DISPOSED');
    });

    test('a result that does not fit, and keeps what was there', async () => {
      using small = await openDevice('cpu', { memoryLimit: 120 });
      using matrix = small.quantize([1, 2], { shape: [1, 2] });
      using input = small.zeros([20, 2], 'float16');
      const { handles } = small.memory();
      expect(errorOf(() => w4a16Matmul(input, matrix)).code).toBe('ERR_OUT_OF_MEMORY');
      expect(small.memory().handles).toBe(handles);
      using rows = input.slice(0, 8);
      using y = w4a16Matmul(rows, matrix);
      expect(y.shape).toEqual([8, 1]);
    });
  });
});
