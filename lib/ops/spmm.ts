import type { SpmmCall } from '../backends/calls/spmm.js';
import { WarptileError } from '../errors.js';
import { checkSparseMatrix, type SparseMatrix } from '../formats/sparse-matrix.js';
import type { FloatDType } from '../tensor/dtype.js';
import { checkNoOverlap, checkTensor, checkTensorLike, type Tensor } from '../tensor/tensor.js';
import { checkOptions, checkScalar, own } from '../validate.js';
import { batchOf, checkDense, commonBatch } from './sparse-operands.js';

export interface SpmmOptions<D extends FloatDType = FloatDType> {
  /** C, written, and read where `beta` is not 0: [m, n], or [batch, m, n] where `a` or `b` is batched. */
  out?: Tensor<D>;
  /** Factor of A B, rounded to float32. Default 1. */
  alpha?: number;
  /** Factor of what `out` held before, rounded to float32. 0, the default, never reads it. */
  beta?: number;
}

const optionKeys = ['out', 'alpha', 'beta'];

/**
 * C = alpha A B + beta C for a sparse A [m, k] in CSR or blocks, and a dense B [k, n]. B may be batched ([batch, k, n]), A may have
 * a batch of values over its pattern, or both: what has no batch is shared. All of one float dtype; sums in float32.
 *
 * Empty rows give beta C. Stored zeros are multiplied as IEEE arithmetic has it (0 * NaN is NaN); what is not stored is
 * never read.
 * @returns `out`, or a new tensor. Enqueues and returns at once.
 * @throws WarptileError ERR_SHAPE, ERR_DTYPE, ERR_DEVICE, ERR_DISPOSED, ERR_ARGUMENT (unknown option, scalar that is not finite,
 * `beta` without `out`, `out` sharing memory with an input), ERR_OUT_OF_MEMORY.
 * @see Gale, Zaharia, Young, Elsen, "Sparse GPU Kernels for Deep Learning" (2020), for the row-split kernel.
 */
export function spmm<D extends FloatDType>(
  a: SparseMatrix<D>,
  b: Tensor<D>,
  options?: SpmmOptions<D>,
): Tensor<D> {
  const checked = checkOptions(options, optionKeys);
  const matrix = checkSparseMatrix(a, 'a') as SparseMatrix<D>;
  const { device, dtype, pattern } = matrix;
  const dense = checkTensor(b, 'b', device) as Tensor<D>;
  checkDense(dense, 'b', dtype, pattern.columns, undefined);
  const alpha = checkScalar(own(checked, 'alpha') ?? 1, 'alpha');
  const beta = checkScalar(own(checked, 'beta') ?? 0, 'beta');
  const { rows } = pattern;
  const width = dense.shape[dense.shape.length - 1];
  const batch = commonBatch(matrix.batch, batchOf(dense), 'b');
  const shape = batch === undefined ? [rows, width] : [batch, rows, width];
  const given = own(checked, 'out');
  let out: Tensor<D>;
  if (given === undefined) {
    if (beta !== 0)
      throw new WarptileError('ERR_ARGUMENT', 'beta: expected 0 without out, received another factor');
    out = device.empty(shape, dtype);
  } else {
    out = checkTensorLike(given, 'out', device, shape, dtype);
    checkNoOverlap(out, dense, 'b');
    checkNoOverlap(out, matrix.values, 'the values of a');
  }
  try {
    device.backend.operations.spmm(spmmCall(matrix, dense, out, alpha, beta));
  } catch (error) {
    if (given === undefined) out.dispose();
    throw error;
  }
  return out;
}

/** @internal The call for operands that fit: what the benchmark hands to peers. */
export function spmmCall(a: SparseMatrix, b: Tensor, out: Tensor, alpha: number, beta: number): SpmmCall {
  const { pattern } = a;
  const width = b.shape[b.shape.length - 1];
  return {
    dtype: a.dtype,
    pattern,
    width,
    batch: out.shape.length === 3 ? out.shape[0] : 1,
    values: a.values.view,
    valuesStride: a.batch === undefined ? 0 : a.nnz,
    b: b.view,
    ldb: width,
    bStride: b.shape.length === 3 ? pattern.columns * width : 0,
    c: out.view,
    ldc: width,
    cStride: pattern.rows * width,
    alpha,
    beta,
  };
}
