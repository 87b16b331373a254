import type { SpmmVariant } from '../backends/calls/spmm.js';
import type { Device } from '../device/device.js';
import { fail } from '../errors.js';
import { type FloatDType, storageArray } from '../tensor/dtype.js';
import { checkHostData, type HostData } from '../tensor/host-data.js';
import type { Tensor } from '../tensor/tensor.js';
import { checkFloatDType, checkOptions, own } from '../validate.js';
import { type PrepareOptions, prepareSpmm } from './prepare-spmm.js';
import { checkPair, makeValues, SparseMatrix, type SparseParts, uploadParts } from './sparse-matrix.js';
import { checkTopology } from './topology.js';
import { transposeMatrix } from './transposed-copy.js';

export interface CsrOptions<D extends FloatDType = FloatDType> {
  /** [rows, columns]. */
  shape: readonly [number, number];
  /** [rows + 1], climbing from 0 to the number of stored entries. */
  rowPointers: HostData;
  /** [nnz], strictly ascending within each row. */
  columnIndices: HostData;
  /** [nnz], or [batch, nnz] with `batch`; host numbers, or a tensor that the matrix then shares. Default: ones. */
  values?: HostData | Tensor<D>;
  /** Sets of values over the one pattern. Default: one set, without a batch dimension. */
  batch?: number;
  /** Defaults to float32. */
  dtype?: D;
}

/** A sparse matrix in compressed rows. Made by `device.csr`. */
export class CsrMatrix<D extends FloatDType = FloatDType> extends SparseMatrix<D> {
  readonly format = 'csr';

  /** @internal Takes over the handles in `parts`. */
  constructor(parts: SparseParts<D>) {
    super(parts, 1, 1, 1);
  }

  /** As `device.csr`. */
  static from<D extends FloatDType = 'float32'>(device: Device, options: CsrOptions<D>): CsrMatrix<D> {
    device.checkOpen();
    if (options === undefined) fail('ERR_ARGUMENT', 'options', 'an object', options);
    const checked = checkOptions(options, [
      'shape',
      'rowPointers',
      'columnIndices',
      'values',
      'batch',
      'dtype',
    ]);
    const dtype = checkFloatDType(own(checked, 'dtype') ?? 'float32', 'dtype') as D;
    const shape = checkPair(own(checked, 'shape'), 'shape', 0, Number.MAX_SAFE_INTEGER);
    const pattern = checkTopology(
      own(checked, 'rowPointers'),
      own(checked, 'columnIndices'),
      shape[0],
      shape[1],
    );
    const [values, batch] = [own(checked, 'values'), own(checked, 'batch')];
    return new CsrMatrix(
      uploadParts(
        device,
        shape,
        pattern,
        () => makeValues(device, values, batch, [pattern.topology.stored], dtype),
        true,
      ),
    );
  }

  /**
   * Keeps the elements of a dense row-major matrix that are not zero (NaN is not zero).
   * @throws WarptileError ERR_SHAPE, ERR_DTYPE, ERR_ARGUMENT, ERR_LIMIT, ERR_OUT_OF_MEMORY.
   */
  static fromDense<D extends FloatDType = 'float32'>(
    device: Device,
    data: HostData,
    options: { shape: readonly [number, number]; dtype?: D },
  ): CsrMatrix<D> {
    const checked = checkOptions(options, ['shape', 'dtype']);
    const dtype = own(checked, 'dtype');
    const shape = checkPair(own(checked, 'shape'), 'shape', 0, Number.MAX_SAFE_INTEGER);
    const dense = checkHostData(data, 'data');
    const [rows, columns] = shape;
    if (dense.length !== rows * columns) {
      fail('ERR_SHAPE', 'data', `${rows * columns} elements for shape [${shape}]`, dense.length);
    }
    const rowPointers = [0];
    const columnIndices: number[] = [];
    const values: number[] = [];
    for (let row = 0; row < rows; ++row) {
      for (let column = 0; column < columns; ++column) {
        const value = dense[row * columns + column];
        if (value === 0) continue;
        columnIndices.push(column);
        values.push(value);
      }
      rowPointers.push(values.length);
    }
    return CsrMatrix.from(device, {
      shape,
      rowPointers,
      columnIndices,
      values,
      ...(dtype === undefined ? {} : { dtype }),
    });
  }

  override prepare(options: PrepareOptions): SpmmVariant {
    this.checkUsable('matrix');
    return prepareSpmm(this, options);
  }

  get nnz(): number {
    return this.topology.stored;
  }

  get setShape(): readonly number[] {
    return [this.nnz];
  }

  override withValues<E extends FloatDType>(values: Tensor<E>): CsrMatrix<E> {
    return this.adopt(this.viewOf(values, this.setShape));
  }

  override adopt<E extends FloatDType>(values: Tensor<E>): CsrMatrix<E> {
    return new CsrMatrix(this.sharing(values));
  }

  override transpose(): CsrMatrix<D> {
    this.checkUsable('matrix');
    return transposeMatrix(this) as CsrMatrix<D>;
  }

  override adoptTransposed(parts: SparseParts<D>): CsrMatrix<D> {
    return new CsrMatrix(parts);
  }

  override async to(device: Device): Promise<CsrMatrix<D>> {
    return new CsrMatrix(await this.partsOn(device));
  }

  override async toDense(): Promise<Tensor<D>> {
    this.checkUsable('matrix');
    const [rows, columns] = this.shape;
    const sets = this.batch ?? 1;
    const [pointers, indices, stored] = await Promise.all([
      this.rowPointers.data(),
      this.columnIndices.data(),
      this.values.rawData(),
    ]);
    const dense = storageArray(this.dtype, new ArrayBuffer(sets * rows * columns * stored.BYTES_PER_ELEMENT));
    for (let set = 0; set < sets; ++set) {
      for (let row = 0; row < rows; ++row) {
        const base = (set * rows + row) * columns;
        for (let i = pointers[row]; i < pointers[row + 1]; ++i) {
          dense[base + indices[i]] = stored[set * this.nnz + i];
        }
      }
    }
    const shape = this.batch === undefined ? this.shape : [sets, ...this.shape];
    return this.device.tensor(dense, { shape, dtype: this.dtype, raw: true });
  }
}
