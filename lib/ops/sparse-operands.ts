// Checks that the sparse operations share.

import { fail, WarptileError } from '../errors.js';
import type { SparseMatrix } from '../formats/sparse-matrix.js';
import { checkSparseMatrix } from '../formats/sparse-matrix.js';
import type { DType } from '../tensor/dtype.js';
import { sameShape, type Tensor } from '../tensor/tensor.js';

/** A dense operand [rows, columns] or [batch, rows, columns]; `rows` or `columns` undefined takes any. */
export function checkDense(
  tensor: Tensor,
  argument: string,
  dtype: DType,
  rows: number | undefined,
  columns: number | undefined,
): void {
  if (tensor.dtype !== dtype) fail('ERR_DTYPE', argument, dtype, tensor.dtype);
  const { shape } = tensor;
  const rank = shape.length;
  const fits =
    (rank === 2 || rank === 3) &&
    (rows === undefined || shape[rank - 2] === rows) &&
    (columns === undefined || shape[rank - 1] === columns);
  if (!fits) {
    const inner = `${rows ?? 'any'}, ${columns ?? 'any'}`;
    fail('ERR_SHAPE', argument, `[${inner}] or [batch, ${inner}]`, shape);
  }
}

/** The batch size of a dense operand; undefined without a batch dimension. */
export function batchOf(tensor: Tensor): number | undefined {
  return tensor.shape.length === 3 ? tensor.shape[0] : undefined;
}

/** The batch size of two operands, where one without a batch is shared by all problems of the other. */
export function commonBatch(
  first: number | undefined,
  second: number | undefined,
  argument: string,
): number | undefined {
  if (first !== undefined && second !== undefined && first !== second) {
    fail('ERR_SHAPE', argument, `a batch of ${first}, or none`, second);
  }
  return first ?? second;
}

/** `out` as a matrix over the very pattern of `matrix`, as `withValues` makes them. */
export function checkOutMatrix(
  out: unknown,
  matrix: SparseMatrix,
  dtype: DType,
  batch: number | undefined,
): SparseMatrix {
  const checked = checkSparseMatrix(out, 'out', matrix.device);
  if (checked.topology !== matrix.topology) {
    throw new WarptileError(
      'ERR_ARGUMENT',
      `out: expected a matrix over the same pattern, made by withValues, received another ${checked.format} matrix`,
    );
  }
  if (checked.dtype !== dtype) fail('ERR_DTYPE', 'out', dtype, checked.dtype);
  const shape = batch === undefined ? matrix.setShape : [batch, ...matrix.setShape];
  if (!sameShape(checked.values.shape, shape)) {
    fail('ERR_SHAPE', 'out', `values of shape [${shape}]`, checked.values.shape);
  }
  return checked;
}
