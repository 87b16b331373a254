import { dtypeInfo, type FloatDType } from '../../lib/tensor/dtype.js';
import { smallestNormal } from './bound.js';
import type { Expected } from './case.js';

/** What the reference reports of each computed row: a query of one head. */
export interface AttentionReference {
  /** [rows, headDim] */
  readonly out: Float64Array;
  /** [rows] */
  readonly logSumExp: Float64Array;
  /** [rows, headDim]: sum p |v|, the weights p normalised. */
  readonly magnitude: Float64Array;
  /** [rows]: the largest |scale| sum |q k| of a visible key. */
  readonly scoreMagnitude: Float64Array;
  /** [rows]: visible keys. */
  readonly visible: ArrayLike<number>;
}

const unit = dtypeInfo.float32.unitRoundoff;

/**
 * The relative error of a row's softmax weights, numerator or denominator, in float32 (u its roundoff):
 *
 * - A score's error, and so its weight's relative one, is at most (d + 16) u A with A = |scale| sum |q k|: d for the dot
 *   product; 1 each for the rounding of scale log2(e) and the product with it; 2 for the difference to the maximum
 *   (|s - m| <= 2 A); 2 for the differences of successive maxima, which telescope; 7 for a softcap (a product, tanh
 *   within 2 ulp, a product); the rest for terms of second order.
 * - A weight is one exp2 (2 ulp, so 4 u), and each of its rescales another exp2 and a product. A maximum grows at most
 *   once a visible key, and a rescale by 1 is exact: at most 5 u a key.
 * - Adding it, or its product with v, is 1 u a key.
 */
function weightError(headDim: number, keys: number, scoreMagnitude: number): number {
  return unit * ((headDim + 16) * scoreMagnitude + 6 * keys + 8);
}

/**
 * The reference and bound of `out`: with e = weightError in numerator and denominator,
 * |dy| <= (exp(2 e) - 1) sum p |v|, then a division in float32 and the rounding to `dtype`.
 */
export function expectedAttention(
  dtype: FloatDType,
  reference: AttentionReference,
  headDim: number,
): Expected {
  const { out: values, magnitude, scoreMagnitude, visible } = reference;
  const outputUnit = dtypeInfo[dtype].unitRoundoff;
  const bound = values.map((value, index) => {
    const row = Math.floor(index / headDim);
    const error = Math.expm1(2 * weightError(headDim, visible[row], scoreMagnitude[row]));
    const computed =
      error * magnitude[index] + unit * Math.abs(value) + visible[row] * smallestNormal.float32;
    return computed + outputUnit * (Math.abs(value) + computed + smallestNormal[dtype]);
  });
  return { values, bound };
}

/**
 * The reference and bound of a float32 log-sum-exp, ln 2 (m + log2 sum): the error of m is a score's, that of the sum a weight's;
 * log2 (1 ulp), the addition and the product round 4 u of values up to |lse| + A + ln(keys).
 */
export function expectedLogSumExp(reference: AttentionReference, headDim: number): Expected {
  const { logSumExp: values, scoreMagnitude, visible } = reference;
  const bound = values.map((value, row) => {
    const sizes = Math.abs(value) + scoreMagnitude[row] + Math.log(Math.max(visible[row], 1));
    const error = 2 * weightError(headDim, visible[row], scoreMagnitude[row]) + 8 * unit * sizes;
    // An infinite or NaN value must be met as it is; an infinite bound would let any number pass for it.
    return Number.isFinite(value) ? error : 0;
  });
  return { values, bound };
}
