import type { Backend, BackendBuffer, View } from '../backends/backend.js';
import type { Device } from '../device/device.js';
import { fail, WarptileError } from '../errors.js';
import type { StripCopy, TiledCopy } from '../formats/packed-copy.js';
import type { TileMap } from '../formats/tile-map.js';
import type { TransposedCopy } from '../formats/transposed-copy.js';
import type { TransposedPattern } from '../formats/transposed-pattern.js';
import { checkedProduct, checkInteger, checkShape } from '../validate.js';
import { type DataOf, type DType, dtypeInfo, type StorageArray, storageArray } from './dtype.js';
import { bfloat16Value, float16Value } from './half.js';

/** Device memory shared by a tensor and its views; freed with the last of them. */
export class Storage {
  readonly backend: Backend;
  readonly buffer: BackendBuffer;
  /** Index data that kernels trust: nothing may write to it once it was checked. */
  readOnly = false;
  /** Of row pointers: the pattern of the transposed matrix, which goes with this memory. */
  transposed: TransposedPattern | undefined;
  /** Of row pointers: where the tiles of the pattern lie, by the rows of a tile. */
  tileMaps: Map<number, TileMap> | undefined;
  #references = 1;

  constructor(backend: Backend, buffer: BackendBuffer) {
    this.backend = backend;
    this.buffer = buffer;
  }

  retain(): this {
    ++this.#references;
    return this;
  }

  release(): void {
    if (--this.#references > 0) return;
    this.backend.free(this.buffer);
    this.transposed?.dispose();
    this.transposed = undefined;
    for (const map of this.tileMaps?.values() ?? []) map.dispose();
    this.tileMaps = undefined;
  }
}

// Only a backstop: memory of a tensor that was dropped without dispose() comes back when it is collected.
const dropped = new FinalizationRegistry<Storage>((storage) => storage.release());

const brand = Symbol.for('warptile.Tensor');

/** @internal Marks devices, which this module cannot import: they import it. */
export const deviceBrand = Symbol.for('warptile.Device');

/**
 * A dense, row-major tensor on a device. Immutable handle, mutable contents: operations write
 * into it through `out`. Made by `device.tensor`, `device.empty`, `device.zeros` and by operations.
 */
export class Tensor<D extends DType = DType> {
  readonly shape: readonly number[];
  readonly dtype: D;
  readonly device: Device;
  /** Number of elements. */
  readonly size: number;
  /** @internal What backends read and write. */
  readonly view: View;
  /** @internal A copy of the elements in another format, which goes with this handle. */
  tiles: TiledCopy | undefined;
  /** @internal Likewise. */
  strips: StripCopy | undefined;
  /** @internal The values of a sparse matrix in the order of its transpose, which go with this handle. */
  transposed: TransposedCopy | undefined;
  readonly #storage: Storage;
  #disposed = false;

  /** @internal Takes over one reference to `storage`. */
  constructor(device: Device, storage: Storage, byteOffset: number, shape: readonly number[], dtype: D) {
    this.device = device;
    this.#storage = storage;
    this.shape = shape;
    this.dtype = dtype;
    this.size = shape.reduce((product, size) => product * size, 1);
    this.view = { buffer: storage.buffer, byteOffset, elements: this.size, dtype };
    dropped.register(this, storage, this);
    device.scope?.add(this);
  }

  get [brand](): true {
    return true;
  }

  /** Bytes of the elements. */
  get byteLength(): number {
    return this.size * dtypeInfo[this.dtype].bytes;
  }

  /** @internal The memory, which other handles may share. */
  get storage(): Storage {
    return this.#storage;
  }

  get disposed(): boolean {
    return this.#disposed;
  }

  /** True for the index data of a sparse matrix, which was checked once and cannot be overwritten. */
  get readOnly(): boolean {
    return this.#storage.readOnly;
  }

  /** @internal From here on nothing writes to this memory, through this handle or another. */
  freeze(): void {
    this.#storage.readOnly = true;
  }

  /** Frees the memory once pending work is done with it. Further use throws ERR_DISPOSED; disposing again does nothing. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    dropped.unregister(this);
    this.device.scope?.delete(this);
    this.#storage.release();
    this.tiles?.dispose();
    this.tiles = undefined;
    this.strips?.dispose();
    this.strips = undefined;
    this.transposed?.dispose();
    this.transposed = undefined;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** The same memory under another shape of equal size. Dispose both handles. One dimension may be -1. */
  reshape(shape: readonly number[]): Tensor<D> {
    this.checkUsable('tensor');
    return this.#sharing(this.view.byteOffset, inferShape(shape, this.size, this.dtype));
  }

  /**
   * Rows `start` to `end` (exclusive) of the leading dimension, sharing memory.
   * @throws WarptileError ERR_SHAPE for a scalar, ERR_ARGUMENT for a range outside the dimension.
   */
  slice(start: number, end: number = this.shape[0]): Tensor<D> {
    this.checkUsable('tensor');
    if (this.shape.length === 0) fail('ERR_SHAPE', 'tensor', 'at least one dimension', this.shape);
    checkInteger(start, 'start', 0, this.shape[0]);
    checkInteger(end, 'end', start, this.shape[0]);
    const rest = this.shape.slice(1);
    const rowBytes = checkedProduct(rest, 'shape') * dtypeInfo[this.dtype].bytes;
    return this.#sharing(this.view.byteOffset + start * rowBytes, Object.freeze([end - start, ...rest]));
  }

  /** The elements as numbers, half types widened exactly, once all work enqueued so far is done. */
  async data(): Promise<DataOf<D>> {
    return widen(this.dtype, await this.rawData());
  }

  /** As `data()`, blocking the event loop. */
  dataSync(): DataOf<D> {
    return widen(this.dtype, this.rawDataSync());
  }

  /** The stored elements: half types as their 16-bit patterns. */
  async rawData(): Promise<StorageArray> {
    this.checkUsable('tensor');
    const { buffer, byteOffset } = this.view;
    return storageArray(this.dtype, await this.device.backend.download(buffer, byteOffset, this.byteLength));
  }

  /** As `rawData()`, blocking the event loop. */
  rawDataSync(): StorageArray {
    this.checkUsable('tensor');
    const { buffer, byteOffset } = this.view;
    return storageArray(this.dtype, this.device.backend.downloadSync(buffer, byteOffset, this.byteLength));
  }

  /** A copy in new memory of the same device. */
  clone(): Tensor<D> {
    this.checkUsable('tensor');
    const copy = this.device.empty(this.shape, this.dtype);
    copy.copyFrom(this);
    return copy;
  }

  /** A copy on `device`; goes through host memory between different devices. */
  async to(device: Device): Promise<Tensor<D>> {
    this.checkUsable('tensor');
    if (typeof device !== 'object' || device === null || !(deviceBrand in device)) {
      fail('ERR_ARGUMENT', 'device', 'a Device', device);
    }
    if (device === this.device) return this.clone();
    return device.tensor(await this.rawData(), { shape: this.shape, dtype: this.dtype, raw: true });
  }

  /** Overwrites the elements with those of `source`: same shape, dtype and device. The two may share memory. */
  copyFrom(source: Tensor<D>): void {
    this.checkUsable('tensor');
    if (this.readOnly) {
      throw new WarptileError(
        'ERR_ARGUMENT',
        'tensor: it is read-only index data; make a matrix of the new pattern',
      );
    }
    checkTensor(source, 'source', this.device);
    if (source.dtype !== this.dtype) fail('ERR_DTYPE', 'source', this.dtype, source.dtype);
    if (!sameShape(source.shape, this.shape)) fail('ERR_SHAPE', 'source', `[${this.shape}]`, source.shape);
    if (overlaps(this, source)) {
      if (this.view.byteOffset === source.view.byteOffset) return;
      // Devices do not say in which order they copy.
      const apart = source.clone();
      this.#copy(apart);
      apart.dispose();
    } else {
      this.#copy(source);
    }
  }

  /** @internal Throws ERR_DISPOSED when the handle or its device is gone. */
  checkUsable(argument: string): void {
    if (this.#disposed) throw new WarptileError('ERR_DISPOSED', `${argument}: the tensor has been disposed`);
    this.device.checkOpen();
  }

  #copy(source: Tensor): void {
    const [to, from] = [this.view, source.view];
    this.device.backend.copy(to.buffer, to.byteOffset, from.buffer, from.byteOffset, this.byteLength);
  }

  #sharing(byteOffset: number, shape: readonly number[]): Tensor<D> {
    return new Tensor(this.device, this.#storage.retain(), byteOffset, shape, this.dtype);
  }
}

export function isTensor(value: unknown): value is Tensor {
  return typeof value === 'object' && value !== null && brand in value;
}

export function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((size, axis) => size === b[axis]);
}

/** A live tensor, on `device` where one is given. */
export function checkTensor(value: unknown, argument: string, device?: Device): Tensor {
  if (!isTensor(value)) fail('ERR_ARGUMENT', argument, 'a Tensor', value);
  value.checkUsable(argument);
  if (device !== undefined && value.device !== device) {
    fail('ERR_DEVICE', argument, `a tensor on ${device.id}`, `one on ${value.device.id}`);
  }
  return value;
}

/** A live tensor of the given dtype and shape: for `out` and other arguments that must fit exactly. */
export function checkTensorLike<D extends DType>(
  value: unknown,
  argument: string,
  device: Device,
  shape: readonly number[],
  dtype: D,
): Tensor<D> {
  const tensor = checkTensor(value, argument, device);
  if (tensor.dtype !== dtype) fail('ERR_DTYPE', argument, dtype, tensor.dtype);
  if (!sameShape(tensor.shape, shape)) fail('ERR_SHAPE', argument, `[${shape}]`, tensor.shape);
  return tensor as Tensor<D>;
}

/** True where two tensors share at least one byte. */
export function overlaps(a: Tensor, b: Tensor): boolean {
  if (a.view.buffer !== b.view.buffer || a.size === 0 || b.size === 0) return false;
  const [startA, startB] = [a.view.byteOffset, b.view.byteOffset];
  return startA < startB + b.byteLength && startB < startA + a.byteLength;
}

/** True where two tensors are the same elements of the same memory. */
export function coincides(a: Tensor, b: Tensor): boolean {
  return (
    a.view.buffer === b.view.buffer &&
    a.view.byteOffset === b.view.byteOffset &&
    a.byteLength === b.byteLength
  );
}

/** Throws ERR_ARGUMENT where the output `name` shares memory with an input that a kernel reads while writing it. */
export function checkNoOverlap(out: Tensor, input: Tensor, argument: string, name = 'out'): void {
  if (overlaps(out, input)) {
    throw new WarptileError(
      'ERR_ARGUMENT',
      `${name}: shares memory with ${argument}; give it memory of its own`,
    );
  }
}

function inferShape(shape: readonly number[], size: number, dtype: DType): readonly number[] {
  const wild = Array.isArray(shape) ? shape.indexOf(-1) : -1;
  const sizes = wild < 0 ? shape : shape.map((value, axis) => (axis === wild ? 1 : value));
  const checked = checkShape(sizes, 'shape', dtype);
  const known = checked.reduce((product, value) => product * value, 1);
  if (wild < 0 ? known !== size : known === 0 || size % known !== 0) {
    fail('ERR_SHAPE', 'shape', `${size} elements`, shape);
  }
  return wild < 0
    ? checked
    : Object.freeze(checked.map((value, axis) => (axis === wild ? size / known : value)));
}

function widen<D extends DType>(dtype: D, stored: StorageArray): DataOf<D> {
  if (dtype !== 'float16' && dtype !== 'bfloat16') return stored as DataOf<D>;
  const value = dtype === 'float16' ? float16Value : bfloat16Value;
  const widened = new Float32Array(stored.length);
  for (let i = 0; i < stored.length; ++i) widened[i] = value(stored[i]);
  return widened as DataOf<D>;
}
