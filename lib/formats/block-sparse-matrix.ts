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

/** Largest extent of a block. */
export const maxBlockSize = 64;

export interface BlockSparseOptions<D extends FloatDType = FloatDType> {
  /** [rows, columns] in elements; need not be multiples of the block. */
  shape: readonly [number, number];
  /** [rows, columns] of a block, each from 1 to 64. */
  blockShape: readonly [number, number];
  /** [ceil(rows / block rows) + 1], climbing from 0 to the number of blocks. */
  rowPointers: HostData;
  /** [blocks]: block columns, strictly ascending within each block row. */
  columnIndices: HostData;
  /**
   * [blocks, block rows, block columns], or [batch, blocks, ...] with `batch`; host numbers, or a tensor that the matrix
   * then shares. Default: ones.
   */
  values?: HostData | Tensor<D>;
  /** Sets of values over the one pattern. Default: one set, without a batch dimension. */
  batch?: number;
  /** Defaults to float32. */
  dtype?: D;
}

/**
 * A matrix of dense blocks in compressed block rows. Made by `device.blockSparse`. Where the shape is not a multiple of the
 * block, the part of an edge block outside the matrix is stored, never read, and written as zero by operations.
 */
export class BlockSparseMatrix<D extends FloatDType = FloatDType> extends SparseMatrix<D> {
  readonly format = 'block-sparse';
  /** [rows, columns] of a block. */
  readonly blockShape: readonly [number, number];

  /** @internal Takes over the handles in `parts`. */
  constructor(parts: SparseParts<D>, blockShape: readonly [number, number]) {
    super(parts, blockShape[0], blockShape[1], 3);
    this.blockShape = blockShape;
  }

  /** As `device.blockSparse`. */
  static from<D extends FloatDType = 'float32'>(
    device: Device,
    options: BlockSparseOptions<D>,
  ): BlockSparseMatrix<D> {
    device.checkOpen();
    if (options === undefined) fail('ERR_ARGUMENT', 'options', 'an object', options);
    const checked = checkOptions(options, [
      'shape',
      'blockShape',
      'rowPointers',
      'columnIndices',
      'values',
      'batch',
      'dtype',
    ]);
    const dtype = checkFloatDType(own(checked, 'dtype') ?? 'float32', 'dtype') as D;
    const shape = checkPair(own(checked, 'shape'), 'shape', 0, Number.MAX_SAFE_INTEGER);
    const blockShape = checkPair(own(checked, 'blockShape'), 'blockShape', 1, maxBlockSize);
    const pattern = checkTopology(
      own(checked, 'rowPointers'),
      own(checked, 'columnIndices'),
      Math.ceil(shape[0] / blockShape[0]),
      Math.ceil(shape[1] / blockShape[1]),
      { rows: shape[0], columns: shape[1], blockRows: blockShape[0], blockColumns: blockShape[1] },
    );
    const [values, batch] = [own(checked, 'values'), own(checked, 'batch')];
    const parts = uploadParts(device, shape, pattern, () =>
      makeValues(device, values, batch, [pattern.topology.stored, ...blockShape], dtype),
    );
    return new BlockSparseMatrix(parts, blockShape);
  }

  /**
   * Keeps the blocks of a dense row-major matrix that hold an element other than zero.
   * @throws WarptileError ERR_SHAPE, ERR_DTYPE, ERR_ARGUMENT, ERR_LIMIT, ERR_OUT_OF_MEMORY.
   */
  static fromDense<D extends FloatDType = 'float32'>(
    device: Device,
    data: HostData,
    options: { shape: readonly [number, number]; blockShape: readonly [number, number]; dtype?: D },
  ): BlockSparseMatrix<D> {
    const checked = checkOptions(options, ['shape', 'blockShape', 'dtype']);
    const dtype = own(checked, 'dtype');
    const shape = checkPair(own(checked, 'shape'), 'shape', 0, Number.MAX_SAFE_INTEGER);
    const blockShape = checkPair(own(checked, 'blockShape'), 'blockShape', 1, maxBlockSize);
    const dense = checkHostData(data, 'data');
    if (dense.length !== shape[0] * shape[1]) {
      fail('ERR_SHAPE', 'data', `${shape[0] * shape[1]} elements for shape [${shape}]`, dense.length);
    }
    const rowPointers = [0];
    const columnIndices: number[] = [];
    const values: number[] = [];
    for (let blockRow = 0; blockRow * blockShape[0] < shape[0]; ++blockRow) {
      for (let blockColumn = 0; blockColumn * blockShape[1] < shape[1]; ++blockColumn) {
        const block = readBlock(dense, shape, blockShape, blockRow, blockColumn);
        if (block.every((value) => value === 0)) continue;
        columnIndices.push(blockColumn);
        for (const value of block) values.push(value);
      }
      rowPointers.push(columnIndices.length);
    }
    return BlockSparseMatrix.from(device, {
      shape,
      blockShape,
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

  /** Stored blocks. */
  get blocks(): number {
    return this.topology.stored;
  }

  get nnz(): number {
    return this.topology.stored * this.blockShape[0] * this.blockShape[1];
  }

  get setShape(): readonly number[] {
    return [this.blocks, ...this.blockShape];
  }

  override withValues<E extends FloatDType>(values: Tensor<E>): BlockSparseMatrix<E> {
    return this.adopt(this.viewOf(values, this.setShape));
  }

  override adopt<E extends FloatDType>(values: Tensor<E>): BlockSparseMatrix<E> {
    return new BlockSparseMatrix(this.sharing(values), this.blockShape);
  }

  override transpose(): BlockSparseMatrix<D> {
    this.checkUsable('matrix');
    return transposeMatrix(this) as BlockSparseMatrix<D>;
  }

  override adoptTransposed(parts: SparseParts<D>): BlockSparseMatrix<D> {
    return new BlockSparseMatrix(parts, [this.blockShape[1], this.blockShape[0]]);
  }

  override async to(device: Device): Promise<BlockSparseMatrix<D>> {
    return new BlockSparseMatrix(await this.partsOn(device), this.blockShape);
  }

  override async toDense(): Promise<Tensor<D>> {
    this.checkUsable('matrix');
    const [rows, columns] = this.shape;
    const [height, width] = this.blockShape;
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
        const blockRow = Math.floor(row / height);
        for (let block = pointers[blockRow]; block < pointers[blockRow + 1]; ++block) {
          const source = ((set * this.blocks + block) * height + (row % height)) * width;
          const start = indices[block] * width;
          dense.set(stored.subarray(source, source + Math.min(width, columns - start)), base + start);
        }
      }
    }
    const shape = this.batch === undefined ? this.shape : [sets, ...this.shape];
    return this.device.tensor(dense, { shape, dtype: this.dtype, raw: true });
  }
}

/** A block's elements in row-major order, with zeros outside the matrix. */
function readBlock(
  dense: HostData,
  shape: readonly [number, number],
  blockShape: readonly [number, number],
  blockRow: number,
  blockColumn: number,
): readonly number[] {
  const [height, width] = blockShape;
  const block = new Array<number>(height * width).fill(0);
  for (let i = 0; i < height; ++i) {
    const row = blockRow * height + i;
    if (row >= shape[0]) break;
    for (let j = 0; j < width; ++j) {
      const column = blockColumn * width + j;
      if (column < shape[1]) block[i * width + j] = dense[row * shape[1] + column];
    }
  }
  return block;
}
