import { dtypeInfo, type FloatDType } from '../../lib/tensor/dtype.js';

/** Below it a value is subnormal, and its rounding error absolute. */
export const smallestNormal: { readonly [D in FloatDType]: number } = {
  float32: 2 ** -126,
  float16: 2 ** -14,
  bfloat16: 2 ** -126,
};

/**
 * The error bound of one element that a kernel sums in float32 and rounds once:
 * u_out |y| + c (terms + splits) u_32 magnitude, with magnitude = sum |a b| and c = 2 (a multiply and an add each).
 * The absolute part covers rounding in the subnormal range of the output. With another `accumulator` it is the bound of
 * a routine that sums in that dtype, and u_32 is that dtype's.
 */
export function errorBound(
  dtype: FloatDType,
  value: number,
  terms: number,
  magnitude: number,
  splits = 1,
  accumulator: FloatDType = 'float32',
): number {
  const unit = dtypeInfo[dtype].unitRoundoff;
  const accumulated = 2 * (terms + splits) * dtypeInfo[accumulator].unitRoundoff * magnitude;
  return unit * (Math.abs(value) + accumulated) + accumulated + unit * smallestNormal[dtype];
}

/** As `errorBound` for every element of an output. */
export function errorBounds(
  dtype: FloatDType,
  values: Float64Array,
  terms: (index: number) => number,
  magnitudes: Float64Array,
  splits = 1,
  accumulator: FloatDType = 'float32',
): Float64Array {
  return values.map((value, index) =>
    errorBound(dtype, value, terms(index), magnitudes[index], splits, accumulator),
  );
}

/**
 * The error bounds of softmax values from their relative error in units of the float32 roundoff. Such conditions are
 * first-order: half as much again covers the rest, 2^-125 what underflows.
 */
export function softmaxBounds(
  dtype: FloatDType,
  values: Float64Array,
  conditions: Float64Array,
): Float64Array {
  return values.map((value, index) => {
    const error = 1.5 * conditions[index] * dtypeInfo.float32.unitRoundoff * value + 2 ** -125;
    return errorBound(dtype, value + error, 0, 0) + error;
  });
}
