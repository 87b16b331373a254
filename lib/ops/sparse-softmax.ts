import type { BlockSparseMatrix } from '../formats/block-sparse-matrix.js';
import type { CsrMatrix } from '../formats/csr-matrix.js';
import { checkSparseMatrix, type SparseMatrix } from '../formats/sparse-matrix.js';
import type { FloatDType } from '../tensor/dtype.js';
import { checkNoOverlap, coincides } from '../tensor/tensor.js';
import { checkOptions, checkScalar, own } from '../validate.js';
import { checkOutMatrix } from './sparse-operands.js';

export interface SparseSoftmaxOptions<M extends SparseMatrix = SparseMatrix> {
  /** A matrix over the pattern of `matrix`, made by `withValues`; `matrix` itself for a softmax in place. */
  out?: M;
  /** Multiplies every element before the softmax; rounded to float32. Default 1. */
  scale?: number;
}

const optionKeys = ['out', 'scale'];

/**
 * Softmax over the stored elements of each row: exp(scale x) / sum exp(scale x), in float32 inside, for any float dtype and every
 * set of a batch of values. What is not stored counts as -Infinity.
 *
 * A row whose elements are all -Infinity gives zeros (as a fully masked row of attention); an empty row stays empty; a NaN or
 * +Infinity makes its row NaN.
 * @returns `out`, or a new matrix that shares the pattern: dispose both. Enqueues and returns at once.
 * @throws WarptileError ERR_SHAPE, ERR_DTYPE, ERR_DEVICE, ERR_DISPOSED, ERR_ARGUMENT (unknown option, scale that is not finite,
 * `out` over another pattern or partly sharing memory with `matrix`), ERR_OUT_OF_MEMORY.
 */
export function sparseSoftmax<D extends FloatDType>(
  matrix: CsrMatrix<D>,
  options?: SparseSoftmaxOptions<CsrMatrix<D>>,
): CsrMatrix<D>;
export function sparseSoftmax<D extends FloatDType>(
  matrix: BlockSparseMatrix<D>,
  options?: SparseSoftmaxOptions<BlockSparseMatrix<D>>,
): BlockSparseMatrix<D>;
export function sparseSoftmax<D extends FloatDType>(
  matrix: SparseMatrix<D>,
  options?: SparseSoftmaxOptions<SparseMatrix<D>>,
): SparseMatrix<D>;
export function sparseSoftmax(matrix: SparseMatrix, options?: SparseSoftmaxOptions): SparseMatrix {
  const checked = checkOptions(options, optionKeys);
  const source = checkSparseMatrix(matrix, 'matrix');
  const { device, dtype, batch } = source;
  const scale = checkScalar(own(checked, 'scale') ?? 1, 'scale');
  const given = own(checked, 'out');
  let out: SparseMatrix;
  if (given === undefined) out = source.adopt(device.empty(source.values.shape, dtype));
  else {
    out = checkOutMatrix(given, source, dtype, batch);
    if (!coincides(out.values, source.values)) {
      checkNoOverlap(out.values, source.values, 'the values of matrix');
    }
  }
  try {
    device.backend.operations.sparseSoftmax({
      dtype,
      pattern: source.pattern,
      batch: batch ?? 1,
      values: source.values.view,
      out: out.values.view,
      scale,
    });
  } catch (error) {
    if (given === undefined) out.dispose();
    throw error;
  }
  return out;
}
