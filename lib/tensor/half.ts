// IEEE binary16 and bfloat16, rounded to nearest even directly from float64: going through float32
// would round twice and miss the correctly rounded result that kernels are compared with.

const f64 = new Float64Array(1);
const u32 = new Uint32Array(f64.buffer);
const f32 = new Float32Array(1);
const f32Bits = new Uint32Array(f32.buffer);

interface HalfFormat {
  readonly mantissaBits: number;
  readonly minExponent: number;
  readonly maxExponent: number;
}

const binary16: HalfFormat = { mantissaBits: 10, minExponent: -14, maxExponent: 15 };
const bfloat16: HalfFormat = { mantissaBits: 7, minExponent: -126, maxExponent: 127 };

/** The 16-bit pattern nearest to `value`, ties to even; overflow gives Infinity, NaN a quiet NaN. */
function encode(value: number, format: HalfFormat): number {
  const { mantissaBits, minExponent, maxExponent } = format;
  f64[0] = value;
  const sign = (u32[1] >>> 16) & 0x8000;
  const infinity = (2 * maxExponent + 1) << mantissaBits;
  if (Number.isNaN(value)) return infinity | (1 << (mantissaBits - 1));
  const magnitude = Math.abs(value);
  if (magnitude === 0) return sign;
  if (magnitude === Number.POSITIVE_INFINITY) return sign | infinity;
  // Subnormal doubles have exponent field 0 and lie far below both formats' smallest value.
  const exponent = Math.max(((u32[1] >>> 20) & 0x7ff) - 1023, minExponent);
  // `units` counts the last place of the result; scaling by a power of two is exact, and at most
  // mantissaBits + 1 integer bits remain, so rounding it is rounding the significand.
  const units = roundHalfEven(magnitude * 2 ** (mantissaBits - exponent));
  // A carry out of the significand lands in the exponent field by itself, Infinity included.
  const bits = ((exponent - minExponent) << mantissaBits) + units;
  return sign | Math.min(bits, infinity);
}

function roundHalfEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  if (rest > 0.5) return below + 1;
  if (rest < 0.5) return below;
  return below % 2 === 0 ? below : below + 1;
}

/** float64 to binary16 bits, round to nearest even. */
export function float16Bits(value: number): number {
  return encode(value, binary16);
}

/** float64 to bfloat16 bits, round to nearest even. */
export function bfloat16Bits(value: number): number {
  return encode(value, bfloat16);
}

const float16Table = new Float32Array(65536);
for (let bits = 0; bits < 65536; ++bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 0x1f;
  const mantissa = bits & 0x3ff;
  if (exponent === 0x1f) float16Table[bits] = mantissa ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  else if (exponent === 0) float16Table[bits] = sign * mantissa * 2 ** -24;
  else float16Table[bits] = sign * (1024 + mantissa) * 2 ** (exponent - 25);
}

/** binary16 bits to the number they stand for (exact). */
export function float16Value(bits: number): number {
  return float16Table[bits];
}

/** bfloat16 bits to the number they stand for (exact). */
export function bfloat16Value(bits: number): number {
  f32Bits[0] = bits << 16;
  return f32[0];
}
