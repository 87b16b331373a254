import type { KroneckerCall } from '../backends/calls/kronecker.js';
import { fail } from '../errors.js';
import { checkKroneckerMatrix, type KroneckerMatrix } from '../formats/kronecker-matrix.js';
import type { FloatDType } from '../tensor/dtype.js';
import { checkNoOverlap, checkTensor, checkTensorLike, type Tensor } from '../tensor/tensor.js';
import { checkOneOf, checkOptions, own } from '../validate.js';

export interface KroneckerMatmulOptions<D extends FloatDType = FloatDType> {
  /**
   * 'batch-first': x is [..., N] and y = x K^T is [..., M]. 'batch-last': x is [N, ...] and y = K x is [M, ...].
   * Default 'batch-first'.
   */
  layout?: 'batch-first' | 'batch-last';
  /** [M], added to every result before it is rounded. */
  bias?: Tensor<D>;
  /** Where the result goes: of its shape and dtype, sharing no memory with an input. Default: a new tensor. */
  out?: Tensor<D>;
}

const optionKeys = ['layout', 'bias', 'out'];
const layouts = ['batch-first', 'batch-last'] as const;

/**
 * Multiplies a batch of vectors by a Kronecker-sparse matrix K of shape [M, N] (one factor or a chain), without forming
 * K: y = x K^T + bias (batch first) or y = K x + bias (batch last). float32, float16 and bfloat16; all operands of one
 * dtype. Sums in float32; between the factors of a chain values stay in float32, and only the result is rounded to
 * the dtype. Zeros outside the pattern are not multiplied: a NaN or Infinity of x reaches the results of its block alone.
 *
 * Source: arXiv 2405.15013.
 * @throws WarptileError ERR_SHAPE, ERR_DTYPE, ERR_DEVICE, ERR_DISPOSED, ERR_ARGUMENT (unknown option, overlapping
 * `out`), ERR_OUT_OF_MEMORY.
 */
export function kroneckerMatmul<D extends FloatDType>(
  x: Tensor<D>,
  k: KroneckerMatrix<D>,
  options?: KroneckerMatmulOptions<D>,
): Tensor<D> {
  const matrix = checkKroneckerMatrix(k, 'k');
  const { device, dtype } = matrix;
  checkTensor(x, 'x', device);
  if (x.dtype !== dtype) fail('ERR_DTYPE', 'x', `${dtype}, as k`, x.dtype);
  const checked = checkOptions(options, optionKeys);
  const batchLast = checkOneOf(own(checked, 'layout') ?? 'batch-first', 'layout', layouts) === 'batch-last';
  const [rows, columns] = matrix.shape;
  const rank = x.shape.length;
  if (rank === 0 || x.shape[batchLast ? 0 : rank - 1] !== columns) {
    fail('ERR_SHAPE', 'x', batchLast ? `[${columns}, ...]` : `[..., ${columns}]`, x.shape);
  }
  const bias = own(checked, 'bias');
  if (bias !== undefined) checkTensorLike(bias, 'bias', device, [rows], dtype);
  const shape = batchLast ? [rows, ...x.shape.slice(1)] : [...x.shape.slice(0, -1), rows];
  const given = own(checked, 'out');
  if (given !== undefined) {
    checkTensorLike(given, 'out', device, shape, dtype);
    checkNoOverlap(given, x, 'x');
    if (bias !== undefined) checkNoOverlap(given, bias, 'bias');
    for (const factor of matrix.factors) checkNoOverlap(given, factor.values, 'k');
  }
  const y = given ?? (device.empty(shape, dtype) as Tensor<D>);
  const call: KroneckerCall = {
    factors: matrix.views,
    batch: x.size / columns,
    batchLast,
    x: x.view,
    bias: bias?.view,
    y: y.view,
  };
  try {
    device.backend.operations.kroneckerMatmul(call);
  } catch (error) {
    if (given === undefined) y.dispose();
    throw error;
  }
  return y;
}
