import { decode, encode } from '../../lib/backends/reference/views.js';
import type { DType } from '../../lib/tensor/dtype.js';
import { type FloatDType, isFloatDType, type StorageArray, storageArray } from '../../lib/tensor/dtype.js';
import type { Expected, Fill } from './case.js';

export interface Comparison {
  readonly mismatches: number;
  /** Normalised mean squared error over finite elements. */
  readonly nmse: number;
  /** Largest error over its bound: at most 1 passes. */
  readonly worstRatio: number;
  /** The first mismatch, for a person. */
  readonly first?: string;
}

/**
 * Compares stored elements with the reference. In the exact fill every element must have the bits of the rounded
 * reference (0 and -0 count as equal, any NaN equals any NaN). In the random fill each must lie within its bound; NaN must
 * meet NaN, and infinities must agree in sign, where a finite reference within its bound of overflow may have
 * become infinite.
 */
export function compare(dtype: DType, stored: StorageArray, expected: Expected, fill: Fill): Comparison {
  const { values, bound } = expected;
  if (stored.length !== values.length || bound.length !== values.length) {
    throw new Error(`compare: ${stored.length} elements, ${values.length} values, ${bound.length} bounds`);
  }
  const rounded = storageArray(dtype, new ArrayBuffer(stored.byteLength));
  if (isFloatDType(dtype)) encode(dtype, values, rounded);
  else rounded.set(values);
  const got = isFloatDType(dtype) ? decode(dtype as FloatDType, stored) : Float64Array.from(stored);
  const want = isFloatDType(dtype) ? decode(dtype as FloatDType, rounded) : Float64Array.from(rounded);
  let mismatches = 0;
  let worstRatio = 0;
  let errorSquares = 0;
  let valueSquares = 0;
  let first: string | undefined;
  for (let i = 0; i < values.length; ++i) {
    const ratio =
      fill === 'exact' ? exactRatio(got[i], want[i]) : boundRatio(got[i], want[i], values[i], bound[i]);
    worstRatio = Math.max(worstRatio, ratio);
    if (!(ratio <= 1)) {
      ++mismatches;
      first ??= `element ${i}: got ${got[i]}, expected ${want[i]} (reference ${values[i]}, bound ${bound[i]})`;
    }
    if (Number.isFinite(got[i]) && Number.isFinite(values[i])) {
      errorSquares += (got[i] - values[i]) ** 2;
      valueSquares += values[i] ** 2;
    }
  }
  const nmse = errorSquares === 0 ? 0 : errorSquares / valueSquares;
  return { mismatches, nmse, worstRatio, ...(first === undefined ? {} : { first }) };
}

function exactRatio(got: number, want: number): number {
  return got === want || (Number.isNaN(got) && Number.isNaN(want)) ? 0 : Number.POSITIVE_INFINITY;
}

function boundRatio(got: number, rounded: number, value: number, bound: number): number {
  if (exactRatio(got, rounded) === 0) return 0;
  if (!Number.isFinite(got) || !Number.isFinite(value)) {
    // Only rounding may turn a finite value into an infinity or back, and only of the same sign.
    const overflows = !Number.isNaN(got) && !Number.isNaN(value) && Math.sign(got) === Math.sign(value);
    const nearest = Number.isFinite(got) ? got : value;
    return overflows && Math.abs(nearest) + bound >= 65504 ? 0 : Number.POSITIVE_INFINITY;
  }
  return Math.abs(got - value) / bound;
}
