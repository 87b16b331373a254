// What every attention operation checks in the same way.

import { fail } from '../errors.js';
import { type FloatDType, isFloatDType } from '../tensor/dtype.js';
import { checkNoOverlap, checkTensor, checkTensorLike, isTensor, type Tensor } from '../tensor/tensor.js';
import { maxInt32, own } from '../validate.js';

/** Largest head dimension of the attention kernels. */
export const maxHeadDim = 256;

// Larger magnitudes would overflow float32 once multiplied by log2(e).
const maxScale = 1e30;

export interface HeadShape {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
}

/** Checks q, k and v [..., seq, heads, headDim] of `rank` dimensions on one device and in one float dtype. */
export function checkAttentionOperands(q: unknown, k: unknown, v: unknown, rank: 3 | 4): HeadShape {
  const query = checkTensor(q, 'q');
  const layout = rank === 4 ? '[batch, seq, heads, headDim]' : '[tokens, heads, headDim]';
  if (!isFloatDType(query.dtype)) fail('ERR_DTYPE', 'q', 'float32, float16 or bfloat16', query.dtype);
  if (query.shape.length !== rank) fail('ERR_SHAPE', 'q', layout, query.shape);
  const heads = query.shape[rank - 2];
  const headDim = query.shape[rank - 1];
  if (headDim < 1 || headDim > maxHeadDim) {
    fail('ERR_SHAPE', 'q', `a headDim from 1 to ${maxHeadDim}`, query.shape);
  }
  const key = checkTensor(k, 'k', query.device);
  if (key.dtype !== query.dtype) fail('ERR_DTYPE', 'k', query.dtype, key.dtype);
  if (key.shape.length !== rank) fail('ERR_SHAPE', 'k', layout, key.shape);
  if (key.shape[rank - 1] !== headDim) fail('ERR_SHAPE', 'k', `headDim ${headDim} as in q`, key.shape);
  if (rank === 4 && key.shape[0] !== query.shape[0]) {
    fail('ERR_SHAPE', 'k', `batch ${query.shape[0]} as in q`, key.shape);
  }
  const kvHeads = key.shape[rank - 2];
  if (heads > 0 && (kvHeads === 0 || heads % kvHeads !== 0)) {
    fail('ERR_SHAPE', 'k', `a number of heads that divides the ${heads} of q`, key.shape);
  }
  checkTensorLike(v, 'v', query.device, key.shape, query.dtype);
  return { heads, kvHeads, headDim };
}

/** Kernels count the tokens of one sequence in 32 bits. */
export function checkSequenceLength(length: number, argument: string): void {
  if (length > maxInt32) fail('ERR_LIMIT', argument, 'at most 2^31 - 1 tokens a sequence', length);
}

export function checkScale(value: number | undefined, headDim: number): number {
  if (value === undefined) return 1 / Math.sqrt(headDim);
  if (typeof value !== 'number' || !(Math.abs(value) <= maxScale)) {
    fail('ERR_ARGUMENT', 'scale', `a number of magnitude at most ${maxScale}`, value);
  }
  return value;
}

/** The cap, or 0 for none. */
export function checkSoftcap(value: number | undefined, scale: number): number {
  if (value === undefined) return 0;
  if (typeof value !== 'number' || !(value > 0 && value <= maxScale)) {
    fail('ERR_ARGUMENT', 'softcap', `a positive number of at most ${maxScale}`, value);
  }
  if (!(Math.abs(scale) / value <= maxScale)) {
    fail('ERR_ARGUMENT', 'softcap', `at least |scale| / ${maxScale}`, value);
  }
  return value;
}

export interface AttentionOutputs<D extends FloatDType> {
  readonly out: Tensor<D>;
  readonly logSumExp: Tensor<'float32'> | undefined;
}

/** The given outputs, checked, or new ones: `out` like q, `logSumExp` of the given shape where it was asked for. */
export function attentionOutputs<D extends FloatDType>(
  q: Tensor<D>,
  k: Tensor<D>,
  v: Tensor<D>,
  givenOut: Tensor<D> | undefined,
  givenLogSumExp: boolean | Tensor<'float32'> | undefined,
  logSumExpShape: readonly number[],
): AttentionOutputs<D> {
  const { device } = q;
  if (givenOut !== undefined) {
    checkTensorLike(givenOut, 'out', device, q.shape, q.dtype);
    checkNoOverlap(givenOut, q, 'q');
    checkNoOverlap(givenOut, k, 'k');
    checkNoOverlap(givenOut, v, 'v');
  }
  const wanted = givenLogSumExp !== undefined && givenLogSumExp !== false;
  if (wanted && givenLogSumExp !== true) {
    if (!isTensor(givenLogSumExp)) {
      fail('ERR_ARGUMENT', 'logSumExp', 'true, false or a float32 tensor', givenLogSumExp);
    }
    checkTensorLike(givenLogSumExp, 'logSumExp', device, logSumExpShape, 'float32');
    checkNoOverlap(givenLogSumExp, q, 'q', 'logSumExp');
    checkNoOverlap(givenLogSumExp, k, 'k', 'logSumExp');
    checkNoOverlap(givenLogSumExp, v, 'v', 'logSumExp');
    if (givenOut !== undefined) checkNoOverlap(givenOut, givenLogSumExp, 'logSumExp');
  }
  const out = givenOut ?? device.empty(q.shape, q.dtype);
  if (!wanted) return { out, logSumExp: undefined };
  if (givenLogSumExp !== true) return { out, logSumExp: givenLogSumExp as Tensor<'float32'> };
  try {
    return { out, logSumExp: device.empty(logSumExpShape, 'float32') };
  } catch (error) {
    if (out !== givenOut) out.dispose();
    throw error;
  }
}

/** Disposes those outputs that `attentionOutputs` made: for when enqueueing failed. */
export function releaseOutputs<D extends FloatDType>(
  outputs: AttentionOutputs<D>,
  options: { out?: Tensor<D>; logSumExp?: boolean | Tensor<'float32'> },
): void {
  if (outputs.out !== own(options, 'out')) outputs.out.dispose();
  if (outputs.logSumExp !== own(options, 'logSumExp')) outputs.logSumExp?.dispose();
}
