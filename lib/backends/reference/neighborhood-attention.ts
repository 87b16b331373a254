import type { NeighborhoodAttentionCall, PerAxis } from '../calls/neighborhood-attention.js';
import { type AttentionInputs, type AttentionRows, attendRow, newAttentionRows } from './attention.js';
import { neighborhoodWindow } from './neighborhood-window.js';
import { elementsOf, readFloats, writeFloats } from './views.js';

/** The sizes and options of a call, without its memory. */
export type NeighborhoodAttentionProblem = Omit<
  NeighborhoodAttentionCall,
  'q' | 'k' | 'v' | 'additionalKeys' | 'additionalValues' | 'out' | 'logSumExp'
>;

export interface NeighborhoodAttentionInputs extends AttentionInputs {
  /** [batch, additional, kvHeads, headDim]; undefined where additional = 0 */
  readonly additionalKeys?: Float64Array | undefined;
  /** [batch, additional, kvHeads, headDim]; undefined where additional = 0 */
  readonly additionalValues?: Float64Array | undefined;
}

/**
 * softmax(scale q k^T) v over each query's neighbourhood and the additional keys, before rounding. A row is one query of
 * one head, counted along [batch, ...tokens, heads]; with `rows` only those are computed, in that order.
 */
export function neighborhoodAttentionRows(
  problem: NeighborhoodAttentionProblem,
  inputs: NeighborhoodAttentionInputs,
  rows?: ArrayLike<number>,
): AttentionRows {
  const { batch, tokens, heads, headDim, additional } = problem;
  const batchTokens = tokens[0] * tokens[1] * tokens[2];
  const count = rows === undefined ? batch * batchTokens * heads : rows.length;
  const result = newAttentionRows(count, headDim);
  if (count === 0) return result;
  // The additional keys of all batches follow the tokens of all batches.
  const keys = {
    q: inputs.q,
    k: joined(inputs.k, inputs.additionalKeys),
    v: joined(inputs.v, inputs.additionalValues),
  };
  const scoring = { ...problem, softcap: 0 };
  const neighborhood = new Neighborhood(problem);
  const visible = new Float64Array(additional + neighborhood.capacity);
  const scores = new Float64Array(visible.length);
  for (let target = 0; target < count; ++target) {
    const row = rows === undefined ? target : rows[target];
    const token = Math.floor(row / heads);
    const item = Math.floor(token / batchTokens);
    for (let n = 0; n < additional; ++n) visible[n] = batch * batchTokens + item * additional + n;
    const nearby = neighborhood.of(token % batchTokens);
    for (let n = 0; n < nearby; ++n) visible[additional + n] = item * batchTokens + neighborhood.tokens[n];
    attendRow(keys, scoring, row, 0, visible, 0, additional + nearby, scores, result, target);
  }
  return result;
}

function joined(first: Float64Array, second: Float64Array | undefined): Float64Array {
  if (second === undefined) return first;
  const both = new Float64Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}

/** Lists the keys of one query after another, with each axis' windows computed once. */
class Neighborhood {
  /** The most keys that a query has. */
  readonly capacity: number;
  /** Token indices of the keys, as the last `of` left them. */
  readonly tokens: Int32Array;
  readonly #extent: PerAxis<number>;
  readonly #begin: Int32Array[] = [];
  readonly #count: Int32Array[] = [];
  readonly #step: PerAxis<number>;

  constructor({ tokens, kernelSize, stride, dilation, causal }: NeighborhoodAttentionProblem) {
    this.#extent = tokens;
    this.#step = dilation;
    this.capacity = kernelSize[0] * kernelSize[1] * kernelSize[2];
    this.tokens = new Int32Array(this.capacity);
    for (let axis = 0; axis < 3; ++axis) {
      const length = tokens[axis];
      const begin = new Int32Array(length);
      const count = new Int32Array(length);
      for (let i = 0; i < length; ++i) {
        const window = neighborhoodWindow(
          i,
          length,
          kernelSize[axis],
          stride[axis],
          dilation[axis],
          causal[axis],
        );
        begin[i] = window.begin;
        count[i] = window.count;
      }
      this.#begin.push(begin);
      this.#count.push(count);
    }
  }

  /** Fills `tokens` for the query at `token` and returns how many there are. */
  of(token: number): number {
    const [, height, width] = this.#extent;
    const x = token % width;
    const y = Math.floor(token / width) % height;
    const z = Math.floor(token / (width * height));
    const [beginZ, beginY, beginX] = [this.#begin[0][z], this.#begin[1][y], this.#begin[2][x]];
    const [countZ, countY, countX] = [this.#count[0][z], this.#count[1][y], this.#count[2][x]];
    const [stepZ, stepY, stepX] = this.#step;
    let n = 0;
    for (let a = 0; a < countZ; ++a) {
      for (let b = 0; b < countY; ++b) {
        const line = ((beginZ + a * stepZ) * height + beginY + b * stepY) * width + beginX;
        for (let c = 0; c < countX; ++c) this.tokens[n++] = line + c * stepX;
      }
    }
    return n;
  }
}

export function runNeighborhoodAttention(call: NeighborhoodAttentionCall): void {
  const { out, logSumExp } = neighborhoodAttentionRows(call, {
    q: readFloats(call.q),
    k: readFloats(call.k),
    v: readFloats(call.v),
    additionalKeys: call.additionalKeys && readFloats(call.additionalKeys),
    additionalValues: call.additionalValues && readFloats(call.additionalValues),
  });
  writeFloats(call.out, out);
  if (call.logSumExp !== undefined) elementsOf(call.logSumExp).set(logSumExp);
}
