import type { SddmmCall } from '../calls/sddmm.js';
import { type HostPattern, listRow, readPattern, rowEntries, storedElements } from './sparse-pattern.js';
import { elementsOf, encode, readFloats } from './views.js';

/** Strides are in elements; a stride of 0 shares one operand among the problems of a batch. */
export interface SddmmProblem {
  /** S, [m, n]. */
  readonly pattern: HostPattern;
  readonly depth: number;
  readonly batch: number;
  /** [m, depth] */
  readonly a: Float64Array;
  readonly lda: number;
  readonly aStride: number;
  /** [n, depth] */
  readonly b: Float64Array;
  readonly ldb: number;
  readonly bStride: number;
  /** One factor for each stored element; undefined for none. */
  readonly factors: Float64Array | undefined;
  readonly factorsStride: number;
  readonly alpha: number;
}

export interface SddmmResult {
  /** [batch, stored elements], before rounding; zero outside the matrix and in rows that were not selected. */
  readonly values: Float64Array;
  /** |alpha factor| sum |a b| of each value. */
  readonly magnitudes: Float64Array;
}

/** S = alpha factors .* (A B^T) at the stored elements, in float64; with `selected`, only in these rows. */
export function sddmmReference(problem: SddmmProblem, selected?: ArrayLike<number>): SddmmResult {
  const { pattern, depth, batch, a, b, factors, alpha } = problem;
  const size = storedElements(pattern);
  const result = new Float64Array(batch * size);
  const magnitudes = new Float64Array(batch * size);
  const entries = rowEntries(pattern);
  const rows = selected?.length ?? pattern.rows;
  for (let index = 0; index < rows; ++index) {
    const row = selected === undefined ? index : selected[index];
    listRow(pattern, row, entries);
    for (let set = 0; set < batch; ++set) {
      const startA = set * problem.aStride + row * problem.lda;
      for (let i = 0; i < entries.count; ++i) {
        const startB = set * problem.bStride + entries.columns[i] * problem.ldb;
        const position = entries.positions[i];
        let sum = 0;
        let magnitude = 0;
        for (let x = 0; x < depth; ++x) {
          const product = a[startA + x] * b[startB + x];
          sum += product;
          magnitude += Math.abs(product);
        }
        const factor = factors === undefined ? 1 : factors[set * problem.factorsStride + position];
        result[set * size + position] = alpha * sum * factor;
        magnitudes[set * size + position] = Math.abs(alpha * factor) * magnitude;
      }
    }
  }
  return { values: result, magnitudes };
}

export function runSddmm(call: SddmmCall): void {
  const pattern = readPattern(call.pattern);
  const { values } = sddmmReference({
    ...call,
    pattern,
    a: readFloats(call.a),
    b: readFloats(call.b),
    factors: call.factors === undefined ? undefined : readFloats(call.factors),
  });
  const size = storedElements(pattern);
  const stored = elementsOf(call.out);
  for (let set = 0; set < call.batch; ++set) {
    const target = stored.subarray(set * call.outStride, set * call.outStride + size);
    encode(call.dtype, values.subarray(set * size, (set + 1) * size), target);
  }
}
