import { fail } from '../errors.js';
import { checkSparseMatrix, type SparseMatrix } from '../formats/sparse-matrix.js';
import type { FloatDType } from '../tensor/dtype.js';
import type { Tensor } from '../tensor/tensor.js';
import { checkOptions, own } from '../validate.js';
import type { AttentionResult } from './attention.js';
import {
  attentionOutputs,
  checkAttentionOperands,
  checkScale,
  checkSoftcap,
  releaseOutputs,
} from './attention-arguments.js';

export interface SparseAttentionOptions<D extends FloatDType = FloatDType> {
  /** Factor of every score. Default 1 / sqrt(headDim). */
  scale?: number;
  /** Replaces a score s by softcap * tanh(s / softcap). Default none. */
  softcap?: number;
  /** Receives the result instead of a new tensor: shape and dtype of q. */
  out?: Tensor<D>;
  /**
   * Also computes ln(sum exp(score)) for every query, float32 [batch, heads, seqQ]: true for a new tensor, or the
   * tensor that receives it. Default false.
   */
  logSumExp?: boolean | Tensor<'float32'>;
}

const knownOptions = ['scale', 'softcap', 'out', 'logSumExp'] as const;

/**
 * softmax(scale q k^T) v over the keys that a sparse mask shows, fused. Query i sees key j where `mask` [seqQ, seqK] stores an
 * element at (i, j): an entry of a CsrMatrix, or any element of a stored block of a BlockSparseMatrix. The mask's
 * values, their dtype and batch have no say. All batch entries and heads share the mask.
 *
 * q [batch, seqQ, heads, headDim], k and v [batch, seqK, kvHeads, headDim], in one float dtype; headDim from 1 to 256; kvHeads
 * divides heads. A query that sees no key gives zeros and a log-sum-exp of -Infinity. Hidden keys and values are
 * never read into the result, NaN or not; visible ones propagate as in IEEE arithmetic. Scores and sums are float32,
 * in a fixed order.
 *
 * @returns a tensor like q, or { out, logSumExp } when `logSumExp` is true or a tensor.
 * @throws WarptileError ERR_SHAPE, ERR_DTYPE, ERR_DEVICE, ERR_DISPOSED, ERR_ARGUMENT (options, shared memory), ERR_OUT_OF_MEMORY.
 * @see FlashAttention-2 (arXiv 2307.08691), algorithm 1, here over lists of keys.
 */
export function sparseAttention<D extends FloatDType>(
  q: Tensor<D>,
  k: Tensor<D>,
  v: Tensor<D>,
  mask: SparseMatrix,
  options: SparseAttentionOptions<D> & { logSumExp: true | Tensor<'float32'> },
): AttentionResult<D>;
export function sparseAttention<D extends FloatDType>(
  q: Tensor<D>,
  k: Tensor<D>,
  v: Tensor<D>,
  mask: SparseMatrix,
  options?: SparseAttentionOptions<D> & { logSumExp?: false },
): Tensor<D>;
export function sparseAttention<D extends FloatDType>(
  q: Tensor<D>,
  k: Tensor<D>,
  v: Tensor<D>,
  mask: SparseMatrix,
  options?: SparseAttentionOptions<D>,
): Tensor<D> | AttentionResult<D>;
export function sparseAttention<D extends FloatDType>(
  q: Tensor<D>,
  k: Tensor<D>,
  v: Tensor<D>,
  mask: SparseMatrix,
  options?: SparseAttentionOptions<D>,
): Tensor<D> | AttentionResult<D> {
  const checked = checkOptions(options, knownOptions);
  const { heads, kvHeads, headDim } = checkAttentionOperands(q, k, v, 4);
  const { device } = q;
  const { pattern } = checkSparseMatrix(mask, 'mask', device);
  const [batch, seqQ] = q.shape;
  if (pattern.rows !== seqQ || pattern.columns !== k.shape[1]) {
    fail('ERR_SHAPE', 'mask', `[${seqQ}, ${k.shape[1]}], a row a query and a column a key`, mask.shape);
  }
  const scale = checkScale(own(checked, 'scale'), headDim);
  const softcap = checkSoftcap(own(checked, 'softcap'), scale);
  const outputs = attentionOutputs(q, k, v, own(checked, 'out'), own(checked, 'logSumExp'), [
    batch,
    heads,
    seqQ,
  ]);
  const { out, logSumExp } = outputs;
  try {
    device.backend.operations.sparseAttention({
      pattern,
      q: q.view,
      k: k.view,
      v: v.view,
      out: out.view,
      logSumExp: logSumExp?.view,
      batch,
      heads,
      kvHeads,
      headDim,
      scale,
      softcap,
    });
  } catch (error) {
    releaseOutputs(outputs, checked);
    throw error;
  }
  return logSumExp === undefined ? out : { out, logSumExp };
}
