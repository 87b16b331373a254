import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import {
  type Device,
  type HostDType,
  type HostTensor,
  type NumericArray,
  openDevice,
  openSafetensors,
  type QuantizedMatrix,
  w4a16Matmul,
  writeSafetensors,
} from '../lib/index.js';
import { floatDTypes } from '../lib/tensor/dtype.js';
import { float16Value } from '../lib/tensor/half.js';
import { errorOf } from './harness/errors.js';
import { Random } from './harness/random.js';
import { type Fixture, fixtures, loadFixture } from './harness/w4a16-fixtures.js';

let device: Device;
beforeAll(async () => {
  device = await openDevice('cpu');
});
afterAll(() => device.dispose());

describe('checkpoint formats', () => {
  describe.each(fixtures)('$name', (fixture) => {
    test('holds the weights that NumPy packed', async () => {
      using w = loadFixture(device, fixture);
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
      using w = loadFixture(
        device,
        { ...fixture, weight: fixture.weight.map((word) => word >>> 0) },
        { scalesDType: 'float16' },
      );
      expect(w.dequantizeSync()).toEqual(Float32Array.from(fixture.dense));
    });

    test.each(floatDTypes)('gives the product that NumPy computed, in %s', (dtype) => {
      const [n, k] = fixture.shape;
      // Scales of 8 significant bits are exact in every dtype.
      using w = loadFixture(device, fixture, { dtype });
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
