import fc from 'fast-check';
import { type Device, type HostData, openDevice, type QuantizeOptions } from '../lib/index.js';
import { floatDTypes } from '../lib/tensor/dtype.js';
import { errorOf } from './harness/errors.js';
import { Random } from './harness/random.js';

let device: Device;
beforeAll(async () => {
  device = await openDevice('cpu');
});
afterAll(() => device.dispose());

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
