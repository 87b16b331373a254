// Attention in float64, two passes over the visible keys of a row: scores, then weights and their sums.

import type { AttentionCall } from '../calls/attention.js';
import { readFloats, readInts, writeFloats } from './views.js';

// Taken out of the global object once: in a test's sandbox each look-up of a global costs far more than the arithmetic.
const { abs, exp, floor, log, max, min, tanh } = Math;
const infinite = Number.POSITIVE_INFINITY;

/** What every kind of attention shares: heads, and how a score comes from a dot product. */
export interface AttentionScoring {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly scale: number;
  /** 0 stands for none. */
  readonly softcap: number;
}

export interface AttentionInputs {
  /** [queryTokens, heads, headDim] */
  readonly q: Float64Array;
  /** [keyTokens, kvHeads, headDim] */
  readonly k: Float64Array;
  /** [keyTokens, kvHeads, headDim] */
  readonly v: Float64Array;
}

export interface AttentionProblem extends AttentionInputs, AttentionScoring {
  /** int32 [batch + 1]: where the sequences begin among the query tokens. */
  readonly cumulativeQ: ArrayLike<number>;
  /** int32 [batch + 1] */
  readonly cumulativeK: ArrayLike<number>;
  readonly left: number;
  readonly right: number;
  readonly topLeft: boolean;
  /** Rows to compute, as queryToken * heads + head; all in order where not given. */
  readonly rows?: ArrayLike<number>;
}

/** One entry, or headDim entries, for each computed row; the magnitudes are what error bounds need. */
export interface AttentionRows {
  /** [rows, headDim] */
  readonly out: Float64Array;
  /** [rows], natural logarithm; -Infinity where no key is visible. */
  readonly logSumExp: Float64Array;
  /** [rows, headDim]: sum p |v|, the weights p normalised. */
  readonly magnitude: Float64Array;
  /** [rows]: the largest finite |scale| sum |q k| of a visible key, which no finite |score| passes. */
  readonly scoreMagnitude: Float64Array;
  /** [rows]: visible keys. */
  readonly visible: Float64Array;
}

export function newAttentionRows(rows: number, headDim: number): AttentionRows {
  return {
    out: new Float64Array(rows * headDim),
    logSumExp: new Float64Array(rows),
    magnitude: new Float64Array(rows * headDim),
    scoreMagnitude: new Float64Array(rows),
    visible: new Float64Array(rows),
  };
}

/**
 * Computes row `target` of `result`: the query at `queryRow` (token * heads + head) over `count` keys. Key number j is token
 * keyBase + keys[first + j], or keyBase + first + j without `keys`. `scores` is scratch of at least `count` elements.
 */
export function attendRow(
  inputs: AttentionInputs,
  scoring: AttentionScoring,
  queryRow: number,
  keyBase: number,
  keys: ArrayLike<number> | undefined,
  first: number,
  count: number,
  scores: Float64Array,
  result: AttentionRows,
  target: number,
): void {
  const { q, k, v } = inputs;
  const { heads, kvHeads, headDim, scale, softcap } = scoring;
  const keyHead = floor((queryRow % heads) / (heads / kvHeads));
  const queryOffset = queryRow * headDim;
  let maximum = -infinite;
  let largestMagnitude = 0;
  for (let j = 0; j < count; ++j) {
    const token = keyBase + (keys === undefined ? first + j : keys[first + j]);
    const offset = (token * kvHeads + keyHead) * headDim;
    let dot = 0;
    let magnitude = 0;
    for (let c = 0; c < headDim; ++c) {
      const product = q[queryOffset + c] * k[offset + c];
      dot += product;
      magnitude += abs(product);
    }
    const score = softcap === 0 ? scale * dot : softcap * tanh((scale * dot) / softcap);
    scores[j] = score;
    if (score > maximum) maximum = score;
    if (magnitude > largestMagnitude && magnitude < infinite) largestMagnitude = magnitude;
  }
  result.scoreMagnitude[target] = abs(scale) * largestMagnitude;
  result.visible[target] = count;
  result.logSumExp[target] = -infinite;
  // Nothing visible: zeros, not the 0 / 0 of an empty sum.
  if (count === 0) return;
  // Without a shift where every score is -Infinity: then the weights are 0, and 0 / 0 below is the NaN of the definition.
  const shift = maximum === -infinite ? 0 : maximum;
  const { out, magnitude } = result;
  const outOffset = target * headDim;
  let sum = 0;
  for (let j = 0; j < count; ++j) {
    const token = keyBase + (keys === undefined ? first + j : keys[first + j]);
    const offset = (token * kvHeads + keyHead) * headDim;
    const weight = exp(scores[j] - shift);
    sum += weight;
    for (let c = 0; c < headDim; ++c) {
      const product = weight * v[offset + c];
      out[outOffset + c] += product;
      magnitude[outOffset + c] += abs(product);
    }
  }
  for (let c = outOffset; c < outOffset + headDim; ++c) {
    out[c] /= sum;
    magnitude[c] /= sum;
  }
  result.logSumExp[target] = shift + log(sum);
}

/** Dense attention, before rounding. */
export function attentionRows(problem: AttentionProblem): AttentionRows {
  const { q, heads, headDim, cumulativeQ, cumulativeK, left, right, topLeft, rows } = problem;
  const count = rows === undefined ? q.length / headDim : rows.length;
  const result = newAttentionRows(count, headDim);
  let longest = 0;
  for (let b = 0; b + 1 < cumulativeK.length; ++b) {
    longest = max(longest, cumulativeK[b + 1] - cumulativeK[b]);
  }
  const scores = new Float64Array(longest);
  let sequence = 0;
  for (let index = 0; index < count; ++index) {
    const row = rows === undefined ? index : rows[index];
    const token = floor(row / heads);
    // Rows may come in any order; sequences may be empty.
    if (token < cumulativeQ[sequence]) sequence = 0;
    while (token >= cumulativeQ[sequence + 1]) ++sequence;
    const keyBase = cumulativeK[sequence];
    const lengthK = cumulativeK[sequence + 1] - keyBase;
    const lengthQ = cumulativeQ[sequence + 1] - cumulativeQ[sequence];
    const diagonal = token - cumulativeQ[sequence] + (topLeft ? 0 : lengthK - lengthQ);
    const first = max(diagonal - left, 0);
    const last = min(diagonal + right, lengthK - 1);
    const visible = max(last - first + 1, 0);
    attendRow(problem, problem, row, keyBase, undefined, first, visible, scores, result, index);
  }
  return result;
}

/** Where sequences of equal length begin: [0, length, 2 length, ...]. */
export function equalLengths(batch: number, length: number): Float64Array {
  return Float64Array.from({ length: batch + 1 }, (_, index) => index * length);
}

export function runAttention(call: AttentionCall): void {
  const { heads, headDim, batch, totalQ, logSumExp } = call;
  const problem: AttentionProblem = {
    q: readFloats(call.q),
    k: readFloats(call.k),
    v: readFloats(call.v),
    cumulativeQ: call.cumulativeQ ? readInts(call.cumulativeQ) : equalLengths(batch, call.seqQ),
    cumulativeK: call.cumulativeK ? readInts(call.cumulativeK) : equalLengths(batch, call.seqK),
    heads,
    kvHeads: call.kvHeads,
    headDim,
    scale: call.scale,
    softcap: call.softcap,
    left: call.left,
    right: call.right,
    topLeft: call.topLeft,
  };
  const result = attentionRows(problem);
  writeFloats(call.out, result.out);
  if (logSumExp === undefined) return;
  const seqQ = call.cumulativeQ ? totalQ : call.seqQ;
  writeFloats(logSumExp, headMajor(result.logSumExp, seqQ, heads));
}

/** [batch, seq, heads] to [batch, heads, seq], the batch being what remains. */
export function headMajor(values: Float64Array, seq: number, heads: number): Float64Array {
  const moved = new Float64Array(values.length);
  const perBatch = seq * heads;
  for (let start = 0; start < values.length; start += perBatch) {
    for (let i = 0; i < seq; ++i) {
      for (let h = 0; h < heads; ++h) moved[start + h * seq + i] = values[start + i * heads + h];
    }
  }
  return moved;
}
