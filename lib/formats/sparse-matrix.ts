import type { SparsePattern } from '../backends/calls/sparse-pattern.js';
import type { SpmmPlan, SpmmVariant } from '../backends/calls/spmm.js';
import type { Device, TensorOwner } from '../device/device.js';
import { fail, WarptileError } from '../errors.js';
import { type FloatDType, type StorageArray, storageArray } from '../tensor/dtype.js';
import type { HostData } from '../tensor/host-data.js';
import { checkTensor, isTensor, sameShape, type Tensor } from '../tensor/tensor.js';
import { checkedProduct, checkFloatDType, checkInteger } from '../validate.js';
import type { PrepareOptions } from './prepare-spmm.js';
import type { Topology } from './topology.js';

/** The handles of which a sparse matrix is made. The matrix that is given them disposes them. */
export interface SparseParts<D extends FloatDType = FloatDType> {
  readonly shape: readonly [number, number];
  readonly topology: Topology;
  readonly rowPointers: Tensor<'int32'>;
  readonly columnIndices: Tensor<'int32'>;
  readonly values: Tensor<D>;
  /** The table of `topology.bins`, for CSR. */
  readonly bins?: Tensor<'int32'> | undefined;
}

/** @internal The plan of a product and what it was made for. */
export interface RememberedPlan {
  readonly width: number;
  readonly batch: number;
  readonly alignment: number;
  readonly farRows: boolean;
  readonly tiles: object | undefined;
  readonly strips: object | undefined;
  readonly variant: string;
  /** Of the measured choices that were heeded. */
  readonly revision: number | undefined;
  readonly plan: SpmmPlan;
}

const brand = Symbol.for('warptile.SparseMatrix');

/**
 * A matrix in compressed rows on a device: a pattern ("topology"), and values for it, one set or a batch of sets.
 * Immutable pattern; the values are a tensor that operations may overwrite through `out`.
 */
export abstract class SparseMatrix<D extends FloatDType = FloatDType> implements TensorOwner {
  /** [rows, columns] of the matrix. */
  readonly shape: readonly [number, number];
  readonly dtype: D;
  readonly device: Device;
  /** Where each row's entries (or blocks) start: [rows + 1], climbing from 0. */
  readonly rowPointers: Tensor<'int32'>;
  /** The column (or block column) of each entry (or block), ascending within each row. */
  readonly columnIndices: Tensor<'int32'>;
  readonly values: Tensor<D>;
  /** Sets of values over the one pattern; undefined when `values` has no batch dimension. */
  readonly batch: number | undefined;
  /** @internal Shared by every matrix over this pattern. */
  readonly topology: Topology;
  /** @internal The table of `topology.bins`. */
  readonly bins: Tensor<'int32'> | undefined;
  /** @internal How the last product was planned. */
  lastPlan: RememberedPlan | undefined;
  /** @internal What backends read; CSR has 1 x 1 blocks. */
  readonly pattern: SparsePattern;

  /** @internal Takes over the handles in `parts`. */
  protected constructor(
    parts: SparseParts<D>,
    blockRows: number,
    blockColumns: number,
    unbatchedRank: number,
  ) {
    this.shape = Object.freeze([...parts.shape] as const);
    this.topology = parts.topology;
    this.rowPointers = parts.rowPointers;
    this.columnIndices = parts.columnIndices;
    this.rowPointers.freeze();
    this.columnIndices.freeze();
    this.values = parts.values;
    this.bins = parts.bins;
    this.dtype = parts.values.dtype;
    this.device = parts.values.device;
    this.batch = parts.values.shape.length > unbatchedRank ? parts.values.shape[0] : undefined;
    this.pattern = {
      rows: parts.shape[0],
      columns: parts.shape[1],
      blockRows,
      blockColumns,
      stored: parts.topology.stored,
      longestRow: parts.topology.longestRow,
      rowPointers: parts.rowPointers.view,
      columnIndices: parts.columnIndices.view,
    };
  }

  get [brand](): true {
    return true;
  }

  abstract readonly format: 'csr' | 'block-sparse';

  /** Stored elements of one set of values: zeros that are stored count. */
  abstract readonly nnz: number;

  /**
   * A matrix over the same pattern with other values, of any float dtype: of the shape of `values`, with or without a
   * batch dimension in front. Shares memory with this matrix and with the tensor: dispose each of the three by itself.
   * @throws WarptileError ERR_SHAPE, ERR_DTYPE, ERR_DEVICE, ERR_DISPOSED.
   */
  abstract withValues<E extends FloatDType>(values: Tensor<E>): SparseMatrix<E>;

  /** @internal As `withValues`, taking over a handle that is known to fit. */
  abstract adopt<E extends FloatDType>(values: Tensor<E>): SparseMatrix<E>;

  /**
   * Builds ahead what makes products with `n` columns fast: where the planner expects a gain, a copy in dense
   * tiles, or in strips of rows that share columns. The first product works without it. The copy lives as long as this handle's values;
   * when they are written to it falls out of use, and calling `prepare` again brings it up to date.
   * @returns The variant that `spmm` now runs for n columns.
   * @throws WarptileError ERR_ARGUMENT, ERR_DISPOSED, ERR_OUT_OF_MEMORY, ERR_UNSUPPORTED inside a capture and where a variant
   * that is asked for is impossible, ERR_LIMIT where its copy would pass 24 times the matrix's own memory (and 16 MiB).
   */
  abstract prepare(options: PrepareOptions): SpmmVariant;

  /** @internal The shape of one set of values. */
  abstract readonly setShape: readonly number[];

  /**
   * The transposed matrix, with values of its own as they are now: [batch,] each block transposed. Its pattern is shared with every
   * transpose over the same pattern; the first one reads this pattern back, which waits for the device.
   * @throws WarptileError ERR_DISPOSED, ERR_LIMIT, ERR_OUT_OF_MEMORY, ERR_UNSUPPORTED for the first one inside a capture.
   */
  abstract transpose(): SparseMatrix<D>;

  /** @internal A matrix of the transposed blocks, taking over the handles in `parts`. */
  abstract adoptTransposed(parts: SparseParts<D>): SparseMatrix<D>;

  /** A dense tensor of `shape`, or [batch, ...shape]. Goes through host memory. */
  abstract toDense(): Promise<Tensor<D>>;

  /** A copy on `device`. */
  abstract to(device: Device): Promise<SparseMatrix<D>>;

  get disposed(): boolean {
    return this.values.disposed;
  }

  /** Disposes the handles of this matrix. Memory shared with others lives on. */
  dispose(): void {
    for (const tensor of this.ownedTensors()) tensor.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** @internal */
  ownedTensors(): readonly Tensor[] {
    const tensors = [this.rowPointers, this.columnIndices, this.values];
    return this.bins === undefined ? tensors : [...tensors, this.bins];
  }

  /** @internal Throws ERR_DISPOSED when a handle or the device is gone. */
  checkUsable(argument: string): void {
    if (this.rowPointers.disposed || this.columnIndices.disposed || this.values.disposed) {
      throw new WarptileError('ERR_DISPOSED', `${argument}: the matrix has been disposed`);
    }
    this.device.checkOpen();
  }

  /** The parts of a matrix over this pattern that takes over the handle `values`. */
  protected sharing<E extends FloatDType>(values: Tensor<E>): SparseParts<E> {
    return shareParts(this, values);
  }

  /** A checked handle of its own to the memory of `values`. */
  protected viewOf<E extends FloatDType>(values: Tensor<E>, unbatched: readonly number[]): Tensor<E> {
    this.checkUsable('matrix');
    return viewValues(values, this.device, unbatched);
  }

  /** The parts of this matrix on another device. */
  protected async partsOn(device: Device): Promise<SparseParts<D>> {
    this.checkUsable('matrix');
    const { shape, topology } = this;
    const copies = await Promise.allSettled([
      this.rowPointers.to(device),
      this.columnIndices.to(device),
      this.values.to(device),
      this.bins?.to(device),
    ]);
    const failed = copies.find((copy) => copy.status === 'rejected');
    if (failed !== undefined) {
      for (const copy of copies) if (copy.status === 'fulfilled') copy.value?.dispose();
      throw failed.reason;
    }
    const [rowPointers, columnIndices, values, bins] = copies.map(
      (copy) => (copy as PromiseFulfilledResult<Tensor>).value,
    );
    return {
      shape,
      topology,
      rowPointers: rowPointers as Tensor<'int32'>,
      columnIndices: columnIndices as Tensor<'int32'>,
      values: values as Tensor<D>,
      bins: bins as Tensor<'int32'> | undefined,
    };
  }
}

export function isSparseMatrix(value: unknown): value is SparseMatrix {
  return typeof value === 'object' && value !== null && brand in value;
}

/** A live sparse matrix, on `device` where one is given. */
export function checkSparseMatrix(value: unknown, argument: string, device?: Device): SparseMatrix {
  if (!isSparseMatrix(value)) fail('ERR_ARGUMENT', argument, 'a CsrMatrix or BlockSparseMatrix', value);
  value.checkUsable(argument);
  if (device !== undefined && value.device !== device) {
    fail('ERR_DEVICE', argument, `a matrix on ${device.id}`, `one on ${value.device.id}`);
  }
  return value;
}

/** Two positive extents of a matrix or, with `maximum`, of a block. */
export function checkPair(
  value: unknown,
  argument: string,
  minimum: number,
  maximum: number,
): readonly [number, number] {
  if (!Array.isArray(value) || value.length !== 2) fail('ERR_SHAPE', argument, 'two integers', value);
  for (const size of value) {
    if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < minimum || size > maximum) {
      const range =
        maximum === Number.MAX_SAFE_INTEGER ? `of at least ${minimum}` : `from ${minimum} to ${maximum}`;
      fail('ERR_SHAPE', argument, `two integers ${range}`, value);
    }
  }
  return Object.freeze([value[0], value[1]] as const);
}

/** Raw, as they were checked: a copy of millions would be garbage whose collection falls into whatever comes next. */
const checkedIndices = { dtype: 'int32', raw: true } as const;

/** Uploads a checked pattern and its values: all of them or, on an error, none. */
export function uploadParts<D extends FloatDType>(
  device: Device,
  shape: readonly [number, number],
  pattern: { topology: Topology; rowPointers: Int32Array; columnIndices: Int32Array },
  makeValues: () => Tensor<D>,
  withBins = false,
): SparseParts<D> {
  const made: Tensor[] = [];
  const keep = <T extends Tensor>(tensor: T): T => {
    made.push(tensor);
    return tensor;
  };
  try {
    // The values first: their errors are the caller's, and come before any index is uploaded.
    const values = keep(makeValues());
    const rowPointers = keep(device.tensor(pattern.rowPointers, checkedIndices));
    const columnIndices = keep(device.tensor(pattern.columnIndices, checkedIndices));
    const { topology } = pattern;
    const table = withBins ? topology.bins?.table : undefined;
    const bins = table === undefined ? undefined : keep(device.tensor(table, checkedIndices));
    return { shape, topology, rowPointers, columnIndices, values, bins };
  } catch (error) {
    for (const tensor of made) tensor.dispose();
    throw error;
  }
}

/** Values of shape [...unbatched] or [batch, ...unbatched]: host numbers, a tensor to share, or ones. */
export function makeValues<D extends FloatDType>(
  device: Device,
  values: HostData | Tensor<D> | undefined,
  batch: number | undefined,
  unbatched: readonly number[],
  dtype: D,
): Tensor<D> {
  if (batch !== undefined) checkInteger(batch, 'batch');
  if (isTensor(values)) {
    const view = viewValues(values as Tensor<D>, device, unbatched, dtype);
    if (batch !== undefined && (view.shape.length === unbatched.length || view.shape[0] !== batch)) {
      view.dispose();
      fail('ERR_SHAPE', 'values', `[${[batch, ...unbatched]}]`, (values as Tensor).shape);
    }
    return view;
  }
  const shape = batch === undefined ? unbatched : [batch, ...unbatched];
  if (values !== undefined) return device.tensor(values, { shape, dtype });
  return device.tensor(ones(dtype, checkedProduct(shape, 'values')), { shape, dtype, raw: true });
}

function viewValues<D extends FloatDType>(
  values: Tensor<D>,
  device: Device,
  unbatched: readonly number[],
  dtype?: D,
): Tensor<D> {
  const tensor = checkTensor(values, 'values', device) as Tensor<D>;
  if (dtype === undefined) checkFloatDType(tensor.dtype, 'values');
  else if (tensor.dtype !== dtype) fail('ERR_DTYPE', 'values', dtype, tensor.dtype);
  const inner = tensor.shape.length > unbatched.length ? tensor.shape.slice(1) : tensor.shape;
  if (!sameShape(inner, unbatched)) {
    fail('ERR_SHAPE', 'values', `[${unbatched}], or a batch of them`, tensor.shape);
  }
  return tensor.reshape(tensor.shape);
}

function ones(dtype: FloatDType, elements: number): StorageArray {
  const bits = { float32: 1, float16: 0x3c00, bfloat16: 0x3f80 };
  return storageArray(dtype, new ArrayBuffer(elements * (dtype === 'float32' ? 4 : 2))).fill(bits[dtype]);
}

function shareParts<E extends FloatDType>(matrix: SparseMatrix, values: Tensor<E>): SparseParts<E> {
  const { shape, topology, rowPointers, columnIndices, bins } = matrix;
  return {
    shape,
    topology,
    bins: bins?.reshape(bins.shape),
    rowPointers: rowPointers.reshape(rowPointers.shape),
    columnIndices: columnIndices.reshape(columnIndices.shape),
    values,
  };
}
