import type { SparseSoftmaxCall } from '../calls/sparse-softmax.js';
import { type HostPattern, listRow, readPattern, rowEntries, storedElements } from './sparse-pattern.js';
import { readFloats, writeFloats } from './views.js';

export interface SparseSoftmaxProblem {
  readonly pattern: HostPattern;
  readonly batch: number;
  /** [batch, stored elements] */
  readonly values: Float64Array;
  readonly scale: number;
}

export interface SparseSoftmaxResult {
  /** [batch, stored elements], before rounding; zero outside the matrix and in rows that were not selected. */
  readonly values: Float64Array;
  /**
   * First-order relative error of each value in units of the float32 roundoff, for an evaluation as
   * exp2((x scale - max) log2 e) / sum: see docs/sparse-softmax.md.
   */
  readonly conditions: Float64Array;
}

/**
 * softmax(scale x) over the stored elements of each row, in float64; with `selected`, only in these rows. A row of only
 * -Infinity gives zeros, a NaN or +Infinity makes its row NaN.
 */
export function sparseSoftmaxReference(
  problem: SparseSoftmaxProblem,
  selected?: ArrayLike<number>,
): SparseSoftmaxResult {
  const { pattern, batch, values, scale } = problem;
  const size = storedElements(pattern);
  const result = new Float64Array(batch * size);
  const conditions = new Float64Array(batch * size);
  const entries = rowEntries(pattern);
  const rows = selected?.length ?? pattern.rows;
  for (let index = 0; index < rows; ++index) {
    listRow(pattern, selected === undefined ? index : selected[index], entries);
    const { count, positions } = entries;
    for (let set = 0; set < batch; ++set) {
      const base = set * size;
      let largest = Number.NEGATIVE_INFINITY;
      for (let i = 0; i < count; ++i) {
        const value = scale * values[base + positions[i]];
        if (value > largest) largest = value;
      }
      // All -Infinity (or NaN): the exponentials are 0 (or NaN) without a shift.
      const shift = largest === Number.NEGATIVE_INFINITY ? 0 : largest;
      let sum = 0;
      let spread = 0;
      for (let i = 0; i < count; ++i) {
        const value = scale * values[base + positions[i]];
        const exponential = Math.exp(value - shift);
        const condition =
          exponential === 0 ? 0 : Math.abs(value) + Math.abs(shift) + 3 * Math.abs(value - shift) + 4;
        result[base + positions[i]] = exponential;
        conditions[base + positions[i]] = condition;
        sum += exponential;
        spread += exponential * condition;
      }
      const common = sum === 0 ? 0 : spread / sum + count + 3;
      for (let i = 0; i < count; ++i) {
        if (sum !== 0) result[base + positions[i]] /= sum;
        conditions[base + positions[i]] += common;
      }
    }
  }
  return { values: result, conditions };
}

export function runSparseSoftmax(call: SparseSoftmaxCall): void {
  const pattern = readPattern(call.pattern);
  const { values } = sparseSoftmaxReference({ ...call, pattern, values: readFloats(call.values) });
  writeFloats(call.out, values);
}
