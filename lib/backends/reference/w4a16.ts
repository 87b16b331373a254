import type { W4A16MatmulCall } from '../calls/w4a16.js';
import { elementsOf, readFloats, readInts, writeFloats } from './views.js';

/** A 4-bit matrix as numbers, in the layout of `W4A16MatmulCall`. */
export interface QuantizedValues {
  readonly n: number;
  readonly k: number;
  readonly groupSize: number;
  /** [n, ceil(k / 8)] */
  readonly packed: Int32Array;
  /** [groups, n] */
  readonly scales: Float64Array;
  /** [groups, n] */
  readonly zeroPoints: Uint8Array;
  /** [k] */
  readonly permutation?: Int32Array | undefined;
  /** [k] */
  readonly columnGroups?: Int32Array | undefined;
}

export interface W4A16Problem {
  readonly m: number;
  /** [m, k] */
  readonly x: Float64Array;
  readonly w: QuantizedValues;
  /** [n] */
  readonly bias?: Float64Array | undefined;
  /** Output rows to compute; default all. */
  readonly rows?: ArrayLike<number>;
}

export interface W4A16Result {
  /** [rows, n] before rounding. */
  readonly y: Float64Array;
  /** [rows, n]: sum |x w| + |bias|. */
  readonly magnitudes: Float64Array;
}

/** One row of W in the order of the columns of x, as float64: exact for half scales, and correct to 2^-53 for float32. */
export function dequantizeRow(w: QuantizedValues, row: number, values: Float64Array): void {
  const { n, k, groupSize, packed, scales, zeroPoints, permutation, columnGroups } = w;
  const words = Math.ceil(k / 8);
  for (let j = 0; j < k; ++j) {
    const u = (packed[row * words + (j >> 3)] >>> (4 * (j & 7))) & 15;
    const group = columnGroups === undefined ? Math.floor(j / groupSize) : columnGroups[j];
    const at = group * n + row;
    values[permutation === undefined ? j : permutation[j]] = scales[at] * (u - zeroPoints[at]);
  }
}

/** y = x W^T + bias in float64. */
export function w4a16Reference(problem: W4A16Problem): W4A16Result {
  const { m, x, w, bias } = problem;
  const { n, k } = w;
  const rows = problem.rows ?? Uint32Array.from({ length: m }, (_, index) => index);
  const y = new Float64Array(rows.length * n);
  const magnitudes = new Float64Array(rows.length * n);
  const weights = new Float64Array(k);
  for (let r = 0; r < n; ++r) {
    dequantizeRow(w, r, weights);
    const offset = bias === undefined ? 0 : bias[r];
    for (let i = 0; i < rows.length; ++i) {
      const start = rows[i] * k;
      let sum = 0;
      let magnitude = 0;
      for (let j = 0; j < k; ++j) {
        const product = x[start + j] * weights[j];
        sum += product;
        magnitude += Math.abs(product);
      }
      y[i * n + r] = sum + offset;
      magnitudes[i * n + r] = magnitude + Math.abs(offset);
    }
  }
  return { y, magnitudes };
}

export function runW4A16Matmul(call: W4A16MatmulCall): void {
  const { m, n, k, groupSize, permutation, columnGroups, bias } = call;
  const w: QuantizedValues = {
    n,
    k,
    groupSize,
    packed: readInts(call.packed),
    scales: readFloats(call.scales),
    zeroPoints: elementsOf(call.zeroPoints) as Uint8Array,
    permutation: permutation && readInts(permutation),
    columnGroups: columnGroups && readInts(columnGroups),
  };
  const { y } = w4a16Reference({ m, x: readFloats(call.x), w, bias: bias && readFloats(bias) });
  writeFloats(call.y, y);
}
