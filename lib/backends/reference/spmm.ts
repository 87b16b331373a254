import type { SpmmCall } from '../calls/spmm.js';
import { type HostPattern, listRow, readPattern, rowEntries } from './sparse-pattern.js';
import { valuesInStrips } from './spmm-strips.js';
import { valuesInTiles } from './spmm-tiles.js';
import { decode, elementsOf, encode, readFloats } from './views.js';

/** Strides are in elements; a stride of 0 shares one operand among the problems of a batch. */
export interface SpmmProblem {
  /** A, [m, k]. */
  readonly pattern: HostPattern;
  readonly width: number;
  readonly batch: number;
  readonly values: Float64Array;
  readonly valuesStride: number;
  /** [k, width] */
  readonly b: Float64Array;
  readonly ldb: number;
  readonly bStride: number;
  /** [m, width]; not read where beta is 0. */
  readonly c: Float64Array | undefined;
  readonly ldc: number;
  readonly cStride: number;
  readonly alpha: number;
  readonly beta: number;
}

export interface SpmmResult {
  /** [batch, rows, width], before rounding. */
  readonly values: Float64Array;
  /** |alpha| sum |a b| + |beta c| of each value. */
  readonly magnitudes: Float64Array;
  /** Products summed for each row: [rows]. */
  readonly terms: Float64Array;
}

/** C = alpha A B + beta C in float64; with `selected`, only these rows of C, in this order. */
export function spmmReference(problem: SpmmProblem, selected?: ArrayLike<number>): SpmmResult {
  const { pattern, width, batch, values, b, c, alpha, beta } = problem;
  const rows = selected?.length ?? pattern.rows;
  const result = new Float64Array(batch * rows * width);
  const magnitudes = new Float64Array(batch * rows * width);
  const terms = new Float64Array(rows);
  const entries = rowEntries(pattern);
  for (let index = 0; index < rows; ++index) {
    const row = selected === undefined ? index : selected[index];
    listRow(pattern, row, entries);
    terms[index] = entries.count;
    for (let set = 0; set < batch; ++set) {
      const out = (set * rows + index) * width;
      for (let i = 0; i < entries.count; ++i) {
        const value = values[set * problem.valuesStride + entries.positions[i]];
        const source = set * problem.bStride + entries.columns[i] * problem.ldb;
        for (let j = 0; j < width; ++j) {
          const product = value * b[source + j];
          result[out + j] += product;
          magnitudes[out + j] += Math.abs(product);
        }
      }
      const old = set * problem.cStride + row * problem.ldc;
      for (let j = 0; j < width; ++j) {
        result[out + j] *= alpha;
        magnitudes[out + j] *= Math.abs(alpha);
        if (beta === 0 || c === undefined) continue;
        result[out + j] += beta * c[old + j];
        magnitudes[out + j] += Math.abs(beta * c[old + j]);
      }
    }
  }
  return { values: result, magnitudes, terms };
}

/** As the plan's variant reads them: from a copy where it takes one. */
function valuesOf(call: SpmmCall): Float64Array {
  const { variant } = call.plan;
  if (variant === 'tiles') return decode(call.dtype, valuesInTiles(call));
  return variant === 'strips' ? decode(call.dtype, valuesInStrips(call)) : readFloats(call.values);
}

export function runSpmm(call: SpmmCall): void {
  const { pattern, width, batch, ldc, cStride, dtype } = call;
  const { values } = spmmReference({
    ...call,
    pattern: readPattern(pattern),
    values: valuesOf(call),
    b: readFloats(call.b),
    c: call.beta === 0 ? undefined : readFloats(call.c),
  });
  const stored = elementsOf(call.c);
  for (let set = 0; set < batch; ++set) {
    for (let row = 0; row < pattern.rows; ++row) {
      const source = (set * pattern.rows + row) * width;
      const target = set * cStride + row * ldc;
      encode(dtype, values.subarray(source, source + width), stored.subarray(target, target + width));
    }
  }
}
