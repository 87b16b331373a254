import type { TransposeValuesCall } from '../backends/calls/transpose-values.js';
import type { DerivedCopy } from '../device/graph.js';
import type { FloatDType } from '../tensor/dtype.js';
import type { Tensor } from '../tensor/tensor.js';
import type { SparseMatrix } from './sparse-matrix.js';
import { TransposedPattern } from './transposed-pattern.js';

/**
 * The transpose of a matrix, whose values follow those of the matrix. Belongs to a values tensor and to the graphs that recorded
 * its use; holds handles of its own to everything that a refresh reads.
 */
export class TransposedCopy<D extends FloatDType = FloatDType> implements DerivedCopy {
  readonly matrix: SparseMatrix<D>;
  readonly #source: Tensor<D>;
  readonly #order: Tensor<'int32'>;
  readonly #call: TransposeValuesCall;
  #version = -1;
  #references = 1;

  /** Values that are yet to be copied. */
  constructor(matrix: SparseMatrix<D>) {
    const pattern = TransposedPattern.of(matrix);
    const values = emptyValues(matrix);
    this.matrix = matrix.adoptTransposed(pattern.sharing(values));
    this.#source = matrix.values.reshape(matrix.values.shape);
    this.#order = pattern.order.reshape(pattern.order.shape);
    this.#call = transposeCall(matrix, this.#source, this.#order, values);
  }

  /** False once the values of the matrix were written to. */
  get fresh(): boolean {
    return this.#version === this.#source.view.buffer.version;
  }

  /** Enqueues, or records, the copy of the values as they then are. */
  refresh(): void {
    const { device } = this.matrix;
    device.backend.operations.transposeValues(this.#call);
    // What is recorded has not run.
    if (!device.capturing) this.#version = this.#source.view.buffer.version;
  }

  retain(): this {
    ++this.#references;
    return this;
  }

  dispose(): void {
    if (--this.#references > 0) return;
    this.matrix.dispose();
    this.#source.dispose();
    this.#order.dispose();
  }
}

/** The transpose that is kept with the values of `matrix`, up to date; the caller must not dispose it. */
export function transposedMatrix<D extends FloatDType>(matrix: SparseMatrix<D>): SparseMatrix<D> {
  const { device, values } = matrix;
  values.transposed ??= device.unscoped(() => new TransposedCopy<D>(matrix)) as unknown as TransposedCopy;
  const copy = values.transposed;
  if (copy.fresh) device.uses(copy);
  else copy.refresh();
  return copy.matrix as unknown as SparseMatrix<D>;
}

/** @internal As SparseMatrix.transpose. */
export function transposeMatrix<D extends FloatDType>(matrix: SparseMatrix<D>): SparseMatrix<D> {
  const pattern = TransposedPattern.of(matrix);
  const values = emptyValues(matrix);
  try {
    const call = transposeCall(matrix, matrix.values, pattern.order, values);
    matrix.device.backend.operations.transposeValues(call);
  } catch (error) {
    values.dispose();
    throw error;
  }
  return matrix.adoptTransposed(pattern.sharing(values));
}

function emptyValues<D extends FloatDType>(matrix: SparseMatrix<D>): Tensor<D> {
  const { device, dtype, batch, setShape, pattern, topology } = matrix;
  const set = setShape.length === 1 ? setShape : [topology.stored, pattern.blockColumns, pattern.blockRows];
  return device.empty(batch === undefined ? set : [batch, ...set], dtype);
}

function transposeCall(
  matrix: SparseMatrix,
  values: Tensor,
  order: Tensor,
  out: Tensor,
): TransposeValuesCall {
  const { dtype, pattern, topology, batch } = matrix;
  return {
    dtype,
    stored: topology.stored,
    blockRows: pattern.blockRows,
    blockColumns: pattern.blockColumns,
    batch: batch ?? 1,
    values: values.view,
    order: order.view,
    out: out.view,
  };
}
