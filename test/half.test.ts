import fc from 'fast-check';
import { bfloat16Bits, bfloat16Value, float16Bits, float16Value } from '../lib/tensor/half.js';

const formats = [
  {
    name: 'float16',
    toBits: float16Bits,
    toValue: float16Value,
    infinity: 0x7c00,
    nan: 0x7e00,
    largest: 65504,
  },
  {
    name: 'bfloat16',
    toBits: bfloat16Bits,
    toValue: bfloat16Value,
    infinity: 0x7f80,
    nan: 0x7fc0,
    largest: (2 - 2 ** -7) * 2 ** 127,
  },
] as const;

describe.each(formats)('$name', ({ toBits, toValue, infinity, nan, largest }) => {
  test('every pattern becomes its value and comes back', () => {
    const wrong: string[] = [];
    for (let bits = 0; bits < 65536; ++bits) {
      const value = toValue(bits);
      const notANumber = (bits & 0x7fff) > infinity;
      const back = toBits(value);
      if (notANumber ? !Number.isNaN(value) || back !== nan : back !== bits)
        wrong.push(`${bits} -> ${value} -> ${back}`);
    }
    expect(wrong).toEqual([]);
  });

  test('values ascend with their patterns, in steps of one unit', () => {
    const wrong: number[] = [];
    for (let bits = 0; bits < infinity; ++bits) {
      if (!(toValue(bits + 1) > toValue(bits)) || toValue(0x8000 | bits) !== -toValue(bits)) wrong.push(bits);
    }
    expect(wrong).toEqual([]);
    expect(toValue(infinity)).toBe(Number.POSITIVE_INFINITY);
    expect(toValue(infinity - 1)).toBe(largest);
    expect(Object.is(toValue(0x8000), -0)).toBe(true);
  });

  test('between any two neighbours: ties to even, all else to the nearer', () => {
    const wrong: string[] = [];
    const check = (value: number, bits: number): void => {
      for (const [signed, sign] of [
        [value, 0],
        [-value, 0x8000],
      ]) {
        if (toBits(signed) !== (sign | bits))
          wrong.push(`${signed} -> ${toBits(signed)}, not ${sign | bits}`);
      }
    };
    for (let bits = 0; bits < infinity; ++bits) {
      const low = toValue(bits);
      // The neighbour of the largest value is what its exponent would hold next; from half way there on it is Infinity.
      const high = bits + 1 === infinity ? 2 * low - toValue(bits - 1) : toValue(bits + 1);
      const middle = (low + high) / 2;
      check(middle, bits % 2 === 0 ? bits : bits + 1);
      check(middle * (1 - 2 ** -52), bits);
      check(middle * (1 + 2 ** -52), bits + 1);
    }
    expect(wrong.slice(0, 5)).toEqual([]);
  });

  test('overflow, underflow and what is not a number', () => {
    expect(toBits(Number.NaN)).toBe(nan);
    expect(toBits(Number.POSITIVE_INFINITY)).toBe(infinity);
    expect(toBits(Number.NEGATIVE_INFINITY)).toBe(0x8000 | infinity);
    expect(toBits(Number.MAX_VALUE)).toBe(infinity);
    expect(toBits(-Number.MAX_VALUE)).toBe(0x8000 | infinity);
    expect(toBits(Number.MIN_VALUE)).toBe(0);
    expect(toBits(-Number.MIN_VALUE)).toBe(0x8000);
    expect(toBits(2 ** -1022)).toBe(0);
    expect(toBits(0)).toBe(0);
    expect(toBits(-0)).toBe(0x8000);
  });
});

test('float16: known patterns', () => {
  const known: readonly (readonly [number, number])[] = [
    [1, 0x3c00],
    [-2, 0xc000],
    [0.1, 0x2e66],
    [1 / 3, 0x3555],
    [Math.PI, 0x4248],
    [65504, 0x7bff],
    [65519.99, 0x7bff],
    [65520, 0x7c00],
    [2 ** -14, 0x0400],
    [1023 * 2 ** -24, 0x03ff],
    [2 ** -24, 0x0001],
    [2 ** -25, 0x0000],
    [2 ** -25 * (1 + 2 ** -20), 0x0001],
    // Half way between two halves but for the last bits: through float32 these would round twice, and wrongly.
    [1 + 2 ** -11 + 2 ** -40, 0x3c01],
    [1 + 3 * 2 ** -11 - 2 ** -40, 0x3c01],
    [1 + 2 ** -11, 0x3c00],
    [1 + 3 * 2 ** -11, 0x3c02],
    [2049, 0x6800],
    [2051, 0x6802],
  ];
  for (const [value, bits] of known) expect([value, float16Bits(value)]).toEqual([value, bits]);
});

test('bfloat16 of a float32 is the usual addition on its bits', () => {
  const float = new Float32Array(1);
  const word = new Uint32Array(float.buffer);
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 0xffffffff }), (bits) => {
      word[0] = bits;
      const value = float[0];
      if (Number.isNaN(value)) return;
      const expected = ((bits + 0x7fff + ((bits >>> 16) & 1)) / 65536) | 0;
      expect(bfloat16Bits(value)).toBe(expected & 0xffff);
    }),
    { numRuns: 20000, seed: 3 },
  );
});

test('bfloat16 of a float64 is the nearer neighbour, the even one in a tie', () => {
  fc.assert(
    fc.property(fc.double({ noNaN: true, min: -1e38, max: 1e38 }), (value) => {
      const bits = bfloat16Bits(value);
      const error = Math.abs(bfloat16Value(bits) - value);
      for (const near of [bits - 1, bits + 1]) {
        if ((near & 0x7fff) >= 0x7f80 || near < 0) continue;
        const other = Math.abs(bfloat16Value(near) - value);
        expect(
          error < other ||
            (error === other && bits % 2 === 0) ||
            Math.sign(bfloat16Value(near)) === -Math.sign(value),
        ).toBe(true);
      }
    }),
    { numRuns: 5000, seed: 4 },
  );
});
