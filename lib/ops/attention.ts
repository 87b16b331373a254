import { unboundedWindow } from '../backends/calls/attention.js';
import type { Device } from '../device/device.js';
import { fail } from '../errors.js';
import { CumulativeLengths, isCumulativeLengths } from '../formats/cumulative-lengths.js';
import type { FloatDType } from '../tensor/dtype.js';
import type { HostData } from '../tensor/host-data.js';
import type { Tensor } from '../tensor/tensor.js';
import { checkOptions, own } from '../validate.js';
import {
  attentionOutputs,
  checkAttentionOperands,
  checkScale,
  checkSequenceLength,
  checkSoftcap,
  type HeadShape,
  releaseOutputs,
} from './attention-arguments.js';

/** How many keys before and after its own position a query sees; Infinity for all. Left out: all. */
export interface AttentionWindow {
  left?: number;
  right?: number;
}

export interface AttentionOptions<D extends FloatDType = FloatDType> {
  /**
   * Hides keys after a query's position. true and 'bottom-right' align the last query with the last key, 'top-left' the
   * first with the first. Default false.
   */
  causal?: boolean | 'bottom-right' | 'top-left';
  /** Factor of every score. Default 1 / sqrt(headDim). */
  scale?: number;
  /** Keys near a query's position, aligned as `causal` (bottom-right where that is false). Default all. */
  window?: AttentionWindow | readonly [left: number, right: number];
  /** Replaces a score s by softcap * tanh(s / softcap). Default none. */
  softcap?: number;
  /** For packed sequences: where those of q begin, [0, n0, n0 + n1, ...]. Needs cumulativeK. */
  cumulativeQ?: CumulativeLengths | HostData;
  /** Where those of k and v begin. As many sequences as cumulativeQ. */
  cumulativeK?: CumulativeLengths | HostData;
  /** Receives the result instead of a new tensor: shape and dtype of q. */
  out?: Tensor<D>;
  /**
   * Also computes ln(sum exp(score)) for every query, float32 [batch, heads, seqQ], packed [heads, tokens]: true
   * for a new tensor, or the tensor that receives it. Default false.
   */
  logSumExp?: boolean | Tensor<'float32'>;
}

/** What `attention` returns when `logSumExp` was asked for. */
export interface AttentionResult<D extends FloatDType = FloatDType> {
  readonly out: Tensor<D>;
  readonly logSumExp: Tensor<'float32'>;
}

const knownOptions = [
  'causal',
  'scale',
  'window',
  'softcap',
  'cumulativeQ',
  'cumulativeK',
  'out',
  'logSumExp',
] as const;

const knownSides = ['left', 'right'] as const;

/**
 * softmax(scale q k^T) v for every head, fused: the scores are never stored.
 *
 * q [batch, seqQ, heads, headDim], k and v [batch, seqK, kvHeads, headDim], in one float dtype; headDim from 1 to 256; kvHeads
 * divides heads, and query head h reads key head floor(h / (heads / kvHeads)). Packed sequences of unequal length come
 * without the batch dimension, [tokens, heads, headDim], with `cumulativeQ` and `cumulativeK`.
 *
 * Query i sees the keys from p - left to p + right, p = i + seqK - seqQ ('top-left': p = i), and with `causal` none after p. A query
 * that sees no key gives zeros and a log-sum-exp of -Infinity. Hidden keys and values are never read into the result,
 * NaN or not; visible ones propagate as in IEEE arithmetic. Scores and sums are float32, in a fixed order.
 *
 * @returns a tensor like q, or { out, logSumExp } when `logSumExp` is true or a tensor.
 * @throws WarptileError ERR_SHAPE, ERR_DTYPE, ERR_DEVICE, ERR_DISPOSED, ERR_ARGUMENT (options, shared memory), ERR_INDEX
 * (cumulative lengths), ERR_LIMIT (2^31 tokens), ERR_OUT_OF_MEMORY.
 * @see FlashAttention-2 (arXiv 2307.08691), algorithm 1, for the online softmax.
 */
export function attention<D extends FloatDType>(
  q: Tensor<D>,
  k: Tensor<D>,
  v: Tensor<D>,
  options: AttentionOptions<D> & { logSumExp: true | Tensor<'float32'> },
): AttentionResult<D>;
export function attention<D extends FloatDType>(
  q: Tensor<D>,
  k: Tensor<D>,
  v: Tensor<D>,
  options?: AttentionOptions<D> & { logSumExp?: false },
): Tensor<D>;
export function attention<D extends FloatDType>(
  q: Tensor<D>,
  k: Tensor<D>,
  v: Tensor<D>,
  options?: AttentionOptions<D>,
): Tensor<D> | AttentionResult<D>;
export function attention<D extends FloatDType>(
  q: Tensor<D>,
  k: Tensor<D>,
  v: Tensor<D>,
  options?: AttentionOptions<D>,
): Tensor<D> | AttentionResult<D> {
  const checked = checkOptions(options, knownOptions);
  const cumulativeQ = own(checked, 'cumulativeQ');
  const cumulativeK = own(checked, 'cumulativeK');
  if (cumulativeQ === undefined && cumulativeK === undefined) {
    const shape = checkAttentionOperands(q, k, v, 4);
    const [batch, seqQ] = q.shape;
    const seqK = k.shape[1];
    checkSequenceLength(seqQ, 'q');
    checkSequenceLength(seqK, 'k');
    return enqueue(q, k, v, checked, shape, batch, seqQ, seqK, undefined, undefined);
  }
  if (cumulativeQ === undefined)
    fail('ERR_ARGUMENT', 'cumulativeQ', 'lengths, since cumulativeK is given', undefined);
  if (cumulativeK === undefined)
    fail('ERR_ARGUMENT', 'cumulativeK', 'lengths, since cumulativeQ is given', undefined);
  const shape = checkAttentionOperands(q, k, v, 3);
  const lengthsQ = lengthsOf(cumulativeQ, 'cumulativeQ', q.device, q.shape[0]);
  try {
    const lengthsK = lengthsOf(cumulativeK, 'cumulativeK', q.device, k.shape[0]);
    try {
      if (lengthsK.batch !== lengthsQ.batch) {
        fail(
          'ERR_SHAPE',
          'cumulativeK',
          `${lengthsQ.batch} sequences as in cumulativeQ`,
          `${lengthsK.batch}`,
        );
      }
      const { batch, longest } = lengthsQ;
      return enqueue(q, k, v, checked, shape, batch, longest, lengthsK.longest, lengthsQ, lengthsK);
    } finally {
      if (lengthsK !== cumulativeK) lengthsK.dispose();
    }
  } finally {
    if (lengthsQ !== cumulativeQ) lengthsQ.dispose();
  }
}

function enqueue<D extends FloatDType>(
  q: Tensor<D>,
  k: Tensor<D>,
  v: Tensor<D>,
  options: AttentionOptions<D>,
  { heads, kvHeads, headDim }: HeadShape,
  batch: number,
  seqQ: number,
  seqK: number,
  cumulativeQ: CumulativeLengths | undefined,
  cumulativeK: CumulativeLengths | undefined,
): Tensor<D> | AttentionResult<D> {
  const { device } = q;
  const scale = checkScale(own(options, 'scale'), headDim);
  const softcap = checkSoftcap(own(options, 'softcap'), scale);
  const causal = own(options, 'causal') ?? false;
  if (causal !== true && causal !== false && causal !== 'bottom-right' && causal !== 'top-left') {
    fail('ERR_ARGUMENT', 'causal', "true, false, 'bottom-right' or 'top-left'", causal);
  }
  const window = own(options, 'window');
  const left = windowSide(window, 0, 'left');
  const right = windowSide(window, 1, 'right');
  const outputs = attentionOutputs(
    q,
    k,
    v,
    own(options, 'out'),
    own(options, 'logSumExp'),
    cumulativeQ === undefined ? [batch, heads, seqQ] : [heads, q.shape[0]],
  );
  const { out, logSumExp } = outputs;
  try {
    device.backend.operations.attention({
      q: q.view,
      k: k.view,
      v: v.view,
      out: out.view,
      logSumExp: logSumExp?.view,
      cumulativeQ: cumulativeQ?.offsets.view,
      cumulativeK: cumulativeK?.offsets.view,
      batch,
      seqQ,
      seqK,
      totalQ: cumulativeQ?.total ?? batch * seqQ,
      totalK: cumulativeK?.total ?? batch * seqK,
      heads,
      kvHeads,
      headDim,
      scale,
      softcap,
      left,
      right: causal === false ? right : 0,
      topLeft: causal === 'top-left',
    });
  } catch (error) {
    releaseOutputs(outputs, options);
    throw error;
  }
  return logSumExp === undefined ? out : { out, logSumExp };
}

/** The side of a window as a number of keys, unbounded as `unboundedWindow`. */
function windowSide(window: AttentionOptions['window'], index: 0 | 1, side: 'left' | 'right'): number {
  if (window === undefined) return unboundedWindow;
  let value: unknown;
  if (Array.isArray(window)) {
    if (window.length !== 2) fail('ERR_ARGUMENT', 'window', '[left, right]', window);
    value = window[index];
  } else {
    value =
      own(checkOptions(window as AttentionWindow, knownSides, 'window'), side) ?? Number.POSITIVE_INFINITY;
  }
  if (value === Number.POSITIVE_INFINITY) return unboundedWindow;
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
    fail('ERR_ARGUMENT', `window.${side}`, 'a non-negative integer or Infinity', value);
  }
  return Math.min(value, unboundedWindow);
}

/** Cumulative lengths that are ready for the device: those given, or new ones that the caller disposes. */
function lengthsOf(
  given: CumulativeLengths | HostData,
  argument: string,
  device: Device,
  tokens: number,
): CumulativeLengths {
  let lengths: CumulativeLengths;
  if (isCumulativeLengths(given)) {
    given.checkUsable(argument, device);
    lengths = given;
  } else lengths = new CumulativeLengths(device, given, argument);
  if (lengths.total !== tokens) {
    const { total } = lengths;
    if (lengths !== given) lengths.dispose();
    fail('ERR_SHAPE', argument, `a last entry of ${tokens}, the tokens given`, `${total}`);
  }
  return lengths;
}
