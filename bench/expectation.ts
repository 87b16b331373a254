import { dtypeInfo, type FloatDType } from '../lib/tensor/dtype.js';
import { errorBounds } from '../test/harness/bound.js';

/** What the reference says of some elements: before rounding, and how far a result may be off. */
export interface Expectation {
  readonly values: Float64Array;
  /** Of a routine that sums in float32, as ours do. */
  readonly bound: Float64Array;
  /** Of a routine that rounds its partial sums to the output's own narrower dtype, as some peers do. */
  readonly ownSums?: { readonly bound: Float64Array; readonly nmse: number };
}

// A result that has nothing to do with the right one has about 1.
const largestNmse = 0.1;

/**
 * The expectation of sums of `terms` products. A sum kept in the output's dtype is right within the worst-case bound with that
 * dtype's roundoff u. For long rows that alone says little, so the mean squared error is limited too: n roundings
 * of partial sums add up to less than (n + 2) u^2 of the mean square (random signs: n u^2 / 6; equal signs: n u^2 / 9).
 */
export function expectedSums(
  dtype: FloatDType,
  values: Float64Array,
  terms: (index: number) => number,
  magnitudes: Float64Array,
): Expectation {
  const bound = errorBounds(dtype, values, terms, magnitudes);
  if (dtype === 'float32') return { values, bound };
  let longest = 0;
  for (let i = 0; i < values.length; ++i) longest = Math.max(longest, terms(i));
  const nmse = Math.min(largestNmse, (longest + 2) * dtypeInfo[dtype].unitRoundoff ** 2);
  return {
    values,
    bound,
    ownSums: { bound: errorBounds(dtype, values, terms, magnitudes, 1, dtype), nmse },
  };
}
