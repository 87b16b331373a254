// Inputs of neighbourhood attention problems.

import type { NeighborhoodAttentionProblem } from '../../lib/backends/reference/neighborhood-attention.js';
import { neighborhoodWindow } from '../../lib/backends/reference/neighborhood-window.js';
import type { Fill } from '../harness/case.js';
import type { Random } from '../harness/random.js';

/** Values that are not numbers, put into exact inputs: where they may go is exact too. */
export type Special =
  | 'NaN in keys'
  | 'NaN in values'
  | 'NaN in queries'
  | 'NaN in additional values'
  | 'Infinity in keys'
  | 'Infinity in values'
  | 'all scores -Infinity';

export interface NeighborhoodInputs {
  /** [batch, ...tokens, heads, headDim] */
  readonly q: Float64Array;
  /** [batch, ...tokens, kvHeads, headDim] */
  readonly k: Float64Array;
  /** [batch, ...tokens, kvHeads, headDim] */
  readonly v: Float64Array;
  /** [batch, additional, kvHeads, headDim] */
  readonly additionalKeys: Float64Array;
  /** [batch, additional, kvHeads, headDim] */
  readonly additionalValues: Float64Array;
}

export function drawInputs(
  problem: NeighborhoodAttentionProblem,
  fill: Fill,
  random: Random,
  special?: Special,
): NeighborhoodInputs {
  const inputs = fill === 'exact' ? exactInputs(problem, random, special) : randomInputs(problem, random);
  if (special !== undefined) plant(special, problem, inputs, random);
  return inputs;
}

function sizesOf({ batch, tokens, heads, kvHeads, headDim, additional }: NeighborhoodAttentionProblem) {
  const queries = batch * tokens[0] * tokens[1] * tokens[2];
  return {
    q: queries * heads * headDim,
    k: queries * kvHeads * headDim,
    additional: batch * additional * kvHeads * headDim,
  };
}

function randomInputs(problem: NeighborhoodAttentionProblem, random: Random): NeighborhoodInputs {
  const { q, k, additional } = sizesOf(problem);
  const normal = (length: number): Float64Array => Float64Array.from({ length }, () => random.normal());
  return {
    q: normal(q),
    k: normal(k),
    v: normal(k),
    additionalKeys: normal(additional),
    additionalValues: normal(additional),
  };
}

// A unit of rank in a score: far above what the small integers of the other channels add, 4 x 256 either way.
const rankUnit = 2 ** 13;

/**
 * Inputs whose softmax is exact. Every key of a head has a rank of its own, spelled in binary over some channels, and
 * a score of +-rankUnit times its rank plus a little: the weights of all keys but the highest (or lowest) ranked one underflow
 * against any sum, so the output is that key's value. Queries that see 2^n keys may instead be zero: then the output is
 * the mean of small integers over 2^n.
 */
function exactInputs(
  problem: NeighborhoodAttentionProblem,
  random: Random,
  special: Special | undefined,
): NeighborhoodInputs {
  const { batch, tokens, heads, kvHeads, headDim, additional } = problem;
  const batchTokens = tokens[0] * tokens[1] * tokens[2];
  const sizes = sizesOf(problem);
  const small = (length: number, limit: number): Float64Array =>
    Float64Array.from({ length }, () => random.integer(-limit, limit));
  const inputs: NeighborhoodInputs = {
    q: small(sizes.q, 2),
    k: small(sizes.k, 2),
    v: small(sizes.k, 4),
    additionalKeys: small(sizes.additional, 2),
    additionalValues: small(sizes.additional, 4),
  };

  const ranks = batchTokens + additional;
  const bits = Math.max(Math.ceil(Math.log2(ranks)), 1);
  // Few enough bits in one channel that bfloat16 holds any of them.
  const bitsPerChannel = Math.ceil(bits / headDim);
  if (bitsPerChannel > 8) throw new Error(`${ranks} keys are too many ranks for headDim ${headDim}`);
  const firstChannel = random.integer(0, headDim - 1);
  const channelOf = (bit: number): number => (firstChannel + Math.floor(bit / bitsPerChannel)) % headDim;
  const rankChannels = new Set(Array.from({ length: bits }, (_, bit) => channelOf(bit)));

  for (let item = 0; item < batch; ++item) {
    for (let head = 0; head < kvHeads; ++head) {
      const order = shuffled(ranks, random);
      for (let n = 0; n < ranks; ++n) {
        const near = n < batchTokens;
        const target = near ? inputs.k : inputs.additionalKeys;
        const row = near ? item * batchTokens + n : item * additional + n - batchTokens;
        const offset = (row * kvHeads + head) * headDim;
        for (const channel of rankChannels) target[offset + channel] = 0;
        for (let bit = 0; bit < bits; ++bit) target[offset + channelOf(bit)] += order[n] & (1 << bit);
      }
    }
  }
  const counts = visibleCounts(problem);
  for (let row = 0; row < batch * batchTokens * heads; ++row) {
    const count = counts[Math.floor(row / heads) % batchTokens];
    const powerOfTwo = Number.isInteger(Math.log2(count));
    const uniform = special === 'Infinity in values' || (powerOfTwo && random.integer(0, 2) === 0);
    const offset = row * headDim;
    if (uniform) {
      if (!powerOfTwo) throw new Error(`${special} needs a power of two of keys, not ${count}`);
      inputs.q.fill(0, offset, offset + headDim);
    } else {
      const unit = random.pick([-rankUnit, rankUnit]);
      for (const channel of rankChannels) inputs.q[offset + channel] = unit;
    }
  }
  return inputs;
}

/** Keys that each token sees. */
function visibleCounts(problem: NeighborhoodAttentionProblem): number[] {
  const { tokens, kernelSize, stride, dilation, causal, additional } = problem;
  const along = [0, 1, 2].map((axis) =>
    Array.from(
      { length: tokens[axis] },
      (_, i) =>
        neighborhoodWindow(i, tokens[axis], kernelSize[axis], stride[axis], dilation[axis], causal[axis])
          .count,
    ),
  );
  return along[0].flatMap((z) => along[1].flatMap((y) => along[2].map((x) => z * y * x + additional)));
}

function shuffled(length: number, random: Random): number[] {
  const order = Array.from({ length }, (_, index) => index);
  for (let i = length - 1; i > 0; --i) {
    const j = random.integer(0, i);
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

function plant(
  special: Special,
  problem: NeighborhoodAttentionProblem,
  inputs: NeighborhoodInputs,
  random: Random,
): void {
  const somewhere = (values: Float64Array, value: number, times: number): void => {
    for (let n = 0; n < times; ++n) values[random.integer(0, values.length - 1)] = value;
  };
  switch (special) {
    case 'NaN in keys':
      somewhere(inputs.k, Number.NaN, 3);
      break;
    case 'NaN in values':
      somewhere(inputs.v, Number.NaN, 3);
      break;
    case 'NaN in queries':
      somewhere(inputs.q, Number.NaN, 2);
      break;
    case 'NaN in additional values':
      somewhere(inputs.additionalValues, Number.NaN, 1);
      break;
    case 'Infinity in keys':
      somewhere(inputs.k, Number.POSITIVE_INFINITY, 2);
      somewhere(inputs.k, Number.NEGATIVE_INFINITY, 2);
      break;
    case 'Infinity in values':
      somewhere(inputs.v, Number.POSITIVE_INFINITY, 2);
      somewhere(inputs.v, Number.NEGATIVE_INFINITY, 2);
      break;
    case 'all scores -Infinity':
      // Channel 0 alone makes every score -Infinity.
      for (let i = 0; i < inputs.q.length; i += problem.headDim) inputs.q[i] = -1;
      for (let i = 0; i < inputs.k.length; i += problem.headDim) inputs.k[i] = Number.POSITIVE_INFINITY;
      for (let i = 0; i < inputs.additionalKeys.length; i += problem.headDim) {
        inputs.additionalKeys[i] = Number.POSITIVE_INFINITY;
      }
  }
}
