import type { SddmmCall } from '../backends/calls/sddmm.js';
import { fail } from '../errors.js';
import type { BlockSparseMatrix } from '../formats/block-sparse-matrix.js';
import type { CsrMatrix } from '../formats/csr-matrix.js';
import { checkSparseMatrix, type SparseMatrix } from '../formats/sparse-matrix.js';
import type { FloatDType } from '../tensor/dtype.js';
import { checkNoOverlap, checkTensor, coincides, type Tensor } from '../tensor/tensor.js';
import { checkBoolean, checkFloatDType, checkOptions, checkScalar, own } from '../validate.js';
import { batchOf, checkDense, checkOutMatrix, commonBatch } from './sparse-operands.js';

export interface SddmmOptions<M extends SparseMatrix = SparseMatrix> {
  /** S: a matrix over the pattern of `mask`, made by `mask.withValues`. Its values are overwritten. */
  out?: M;
  /** Factor, rounded to float32. Default 1. */
  alpha?: number;
  /** Multiply by the mask's values, not only by its pattern. Default false: the mask may then have any dtype and batch. */
  scaleByMask?: boolean;
}

const optionKeys = ['out', 'alpha', 'scaleByMask'];

/**
 * Sampled dense-dense product: S = alpha (A B^T), only at the stored elements of `mask` [m, n], for dense A [m, k] and
 * B [n, k]. With `scaleByMask`, S = alpha mask .* (A B^T). A and B may be batched ([batch, m, k], [batch, n, k]), and so may
 * the mask's values where they scale: what has no batch is shared. A and B of one float dtype; sums in float32.
 *
 * Rows of A and B at which nothing is stored are never read. With k = 0 every stored element is 0.
 * @returns `out`, or a new matrix that shares the mask's pattern: dispose both. Enqueues and returns at once.
 * @throws WarptileError ERR_SHAPE, ERR_DTYPE, ERR_DEVICE, ERR_DISPOSED, ERR_ARGUMENT (unknown option, scalar that is not finite,
 * `out` over another pattern or sharing memory with an input), ERR_OUT_OF_MEMORY.
 * @see Gale, Zaharia, Young, Elsen, "Sparse GPU Kernels for Deep Learning" (2020).
 */
export function sddmm<D extends FloatDType>(
  mask: CsrMatrix,
  a: Tensor<D>,
  b: Tensor<D>,
  options?: SddmmOptions<CsrMatrix<D>>,
): CsrMatrix<D>;
export function sddmm<D extends FloatDType>(
  mask: BlockSparseMatrix,
  a: Tensor<D>,
  b: Tensor<D>,
  options?: SddmmOptions<BlockSparseMatrix<D>>,
): BlockSparseMatrix<D>;
export function sddmm<D extends FloatDType>(
  mask: SparseMatrix,
  a: Tensor<D>,
  b: Tensor<D>,
  options?: SddmmOptions<SparseMatrix<D>>,
): SparseMatrix<D>;
export function sddmm(mask: SparseMatrix, a: Tensor, b: Tensor, options?: SddmmOptions): SparseMatrix {
  const checked = checkOptions(options, optionKeys);
  const matrix = checkSparseMatrix(mask, 'mask');
  const { device, pattern } = matrix;
  const left = checkTensor(a, 'a', device);
  const right = checkTensor(b, 'b', device);
  const dtype = checkFloatDType(left.dtype, 'a');
  checkDense(left, 'a', dtype, pattern.rows, undefined);
  const depth = left.shape[left.shape.length - 1];
  checkDense(right, 'b', dtype, pattern.columns, depth);
  const alpha = checkScalar(own(checked, 'alpha') ?? 1, 'alpha');
  const scaled = checkBoolean(own(checked, 'scaleByMask') ?? false, 'scaleByMask');
  if (scaled && matrix.dtype !== dtype) fail('ERR_DTYPE', 'mask', dtype, matrix.dtype);
  const maskBatch = scaled ? matrix.batch : undefined;
  const batch = commonBatch(maskBatch, commonBatch(batchOf(left), batchOf(right), 'b'), 'a');
  const given = own(checked, 'out');
  let out: SparseMatrix;
  if (given === undefined) {
    const shape = batch === undefined ? matrix.setShape : [batch, ...matrix.setShape];
    out = matrix.adopt(device.empty(shape, dtype));
  } else {
    out = checkOutMatrix(given, matrix, dtype, batch);
    checkNoOverlap(out.values, left, 'a');
    checkNoOverlap(out.values, right, 'b');
    // Each element is read where it is written: scaling in place is safe, a shifted overlap is not.
    if (scaled && !coincides(out.values, matrix.values)) {
      checkNoOverlap(out.values, matrix.values, 'the values of mask');
    }
  }
  try {
    device.backend.operations.sddmm(sddmmCall(left, right, out, alpha, scaled ? matrix : undefined));
  } catch (error) {
    if (given === undefined) out.dispose();
    throw error;
  }
  return out;
}

/** @internal The call for operands that fit: what the benchmark hands to peers. */
export function sddmmCall(
  a: Tensor,
  b: Tensor,
  out: SparseMatrix,
  alpha: number,
  factors: SparseMatrix | undefined,
): SddmmCall {
  const { pattern } = out;
  const depth = a.shape[a.shape.length - 1];
  return {
    dtype: out.dtype,
    pattern,
    depth,
    batch: out.batch ?? 1,
    a: a.view,
    lda: depth,
    aStride: a.shape.length === 3 ? pattern.rows * depth : 0,
    b: b.view,
    ldb: depth,
    bStride: b.shape.length === 3 ? pattern.columns * depth : 0,
    factors: factors?.values.view,
    factorsStride: factors?.batch === undefined ? 0 : factors.nnz,
    out: out.values.view,
    outStride: out.nnz,
    alpha,
  };
}
