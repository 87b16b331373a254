import { types } from 'node:util';
import type { Backend, DeviceInfo, MemoryStatistics } from '../backends/backend.js';
import { fail, WarptileError } from '../errors.js';
import { BlockSparseMatrix, type BlockSparseOptions } from '../formats/block-sparse-matrix.js';
import { CsrMatrix, type CsrOptions } from '../formats/csr-matrix.js';
import { CumulativeLengths } from '../formats/cumulative-lengths.js';
import { KroneckerMatrix, type KroneckerOptions } from '../formats/kronecker-matrix.js';
import type {
  AwqOptions,
  CompressedTensorsOptions,
  GptqOptions,
  QuantizeOptions,
} from '../formats/quantized/checkpoints.js';
import {
  type QuantizedMatrix,
  quantize,
  quantizedFromAwq,
  quantizedFromCompressedTensors,
  quantizedFromGptq,
} from '../formats/quantized-matrix.js';
import type { AutotuneCache } from '../planning/autotune-cache.js';
import { type DType, dtypeInfo, type FloatDType, type StorageArray } from '../tensor/dtype.js';
import { checkHostData, type HostData, toStorage } from '../tensor/host-data.js';
import { deviceBrand, isTensor, Storage, Tensor } from '../tensor/tensor.js';
import {
  checkBoolean,
  checkDType,
  checkedProduct,
  checkFunction,
  checkInteger,
  checkOptions,
  checkShape,
  own,
} from '../validate.js';
import { type DerivedCopy, Graph } from './graph.js';

export interface TensorOptions<D extends DType = DType> {
  /** Defaults to one dimension of the data's length. */
  shape?: readonly number[];
  /** Defaults to float32. */
  dtype?: D;
  /** `data` holds stored elements: for half types a Uint16Array of bit patterns. Default false. */
  raw?: boolean;
}

/**
 * A device: memory, one ordered stream of work, and the place where tensors live. Made by `openDevice`.
 * Operations enqueue and return at once; `await tensor.data()` and `await device.synchronize()` wait.
 */
export class Device {
  readonly info: DeviceInfo;
  /** @internal */
  readonly backend: Backend;
  /** Why 'auto' did not choose a GPU: one line for each attempt. Empty otherwise. */
  readonly fallbackReasons: readonly string[];
  /** The measured choices that operations heed; undefined unless the device was opened with `autotune`. */
  readonly autotune: AutotuneCache | undefined;
  #scopes: Set<Tensor>[] = [];
  #copiesUsed: Set<DerivedCopy> | undefined;
  #closed = false;

  /** @internal */
  constructor(backend: Backend, fallbackReasons: readonly string[] = [], autotune?: AutotuneCache) {
    this.backend = backend;
    this.info = backend.info;
    this.fallbackReasons = fallbackReasons;
    this.autotune = autotune;
  }

  get [deviceBrand](): true {
    return true;
  }

  /** 'cpu' or 'cuda:0'. */
  get id(): string {
    return this.info.id;
  }

  get kind(): 'cpu' | 'cuda' {
    return this.info.kind;
  }

  /** @internal The innermost tidy scope. */
  get scope(): Set<Tensor> | undefined {
    return this.#scopes.at(-1);
  }

  /** @internal True inside `capture`. */
  get capturing(): boolean {
    return this.#copiesUsed !== undefined;
  }

  /** @internal A recorded operation reads `copy`, which its graph must keep and keep up to date. */
  uses(copy: DerivedCopy): void {
    this.#copiesUsed?.add(copy);
  }

  /** @internal Runs `body` outside of all tidy scopes. */
  unscoped<T>(body: () => T): T {
    const scopes = this.#scopes;
    this.#scopes = [];
    try {
      return body();
    } finally {
      this.#scopes = scopes;
    }
  }

  /**
   * Uploads host values. Floats are rounded to nearest even, integers must be integral and in range.
   * The data is copied before the call returns.
   * @throws WarptileError ERR_SHAPE, ERR_DTYPE, ERR_ARGUMENT (values, detached or shared memory), ERR_OUT_OF_MEMORY.
   */
  tensor<D extends DType = 'float32'>(data: HostData | StorageArray, options?: TensorOptions<D>): Tensor<D> {
    this.checkOpen();
    const checked = checkOptions(options, ['shape', 'dtype', 'raw']);
    const dtype = checkDType(own(checked, 'dtype') ?? 'float32', 'dtype') as D;
    const raw = checkBoolean(own(checked, 'raw') ?? false, 'raw');
    const source = checkHostData(data, 'data');
    const shape = checkShape(own(checked, 'shape') ?? [source.length], 'shape', dtype);
    const size = checkedProduct(shape, 'shape');
    if (size !== source.length)
      fail('ERR_SHAPE', 'data', `${size} elements for shape [${shape}]`, `${source.length}`);
    const stored = toStorage(source, dtype, 'data', raw);
    const tensor = this.#allocate(shape, dtype);
    if (size > 0) {
      try {
        this.backend.upload(tensor.view.buffer, 0, stored);
      } catch (error) {
        tensor.dispose();
        throw error;
      }
    }
    return tensor;
  }

  /** A tensor of unspecified contents: write it before reading it. */
  empty<D extends DType = 'float32'>(shape: readonly number[], dtype: D = 'float32' as D): Tensor<D> {
    this.checkOpen();
    checkDType(dtype, 'dtype');
    return this.#allocate(checkShape(shape, 'shape', dtype), dtype);
  }

  /** A tensor of zeros. */
  zeros<D extends DType = 'float32'>(shape: readonly number[], dtype: D = 'float32' as D): Tensor<D> {
    const tensor = this.empty(shape, dtype);
    this.backend.fill(tensor.view.buffer, 0, tensor.byteLength, 0);
    return tensor;
  }

  /**
   * Uploads a sparse matrix in compressed rows. The pattern is checked first: an index that is unsorted, repeated
   * or out of range never reaches the device.
   * @throws WarptileError ERR_INDEX (naming the position), ERR_SHAPE, ERR_DTYPE, ERR_LIMIT (past 2^31 - 1 entries),
   * ERR_ARGUMENT, ERR_OUT_OF_MEMORY.
   */
  csr<D extends FloatDType = 'float32'>(options: CsrOptions<D>): CsrMatrix<D> {
    return CsrMatrix.from(this, options);
  }

  /**
   * Uploads a matrix of dense blocks in compressed block rows, checked as by `csr`.
   * @throws WarptileError as `csr`.
   */
  blockSparse<D extends FloatDType = 'float32'>(options: BlockSparseOptions<D>): BlockSparseMatrix<D> {
    return BlockSparseMatrix.from(this, options);
  }

  /**
   * Uploads a Kronecker-sparse matrix: one factor `{ pattern, values }`, or a chain `{ factors }` written as in the
   * product K1 K2 ... KL, of which the last is applied first.
   * @throws WarptileError ERR_SHAPE (pattern, count of values, or neighbours that do not fit), ERR_DTYPE, ERR_LIMIT,
   * ERR_ARGUMENT, ERR_OUT_OF_MEMORY.
   */
  kronecker<D extends FloatDType = 'float32'>(options: KroneckerOptions<D>): KroneckerMatrix<D> {
    return KroneckerMatrix.from(this, options);
  }

  /**
   * Rounds weights [n, k] to 4 bits, to the nearest of 16 levels a group. No weight moves by more than half its scale.
   * @throws WarptileError ERR_SHAPE, ERR_DTYPE, ERR_ARGUMENT (a weight that is not finite, options), ERR_LIMIT,
   * ERR_OUT_OF_MEMORY.
   */
  quantize(weights: HostData, options: QuantizeOptions): QuantizedMatrix {
    this.checkOpen();
    return quantize(this, weights, options);
  }

  /**
   * A 4-bit matrix from the tensors of a GPTQ checkpoint (v1 or v2, with or without act-order).
   * @throws WarptileError as `quantize`, and ERR_INDEX for a group index out of range.
   */
  quantizedFromGptq(options: GptqOptions): QuantizedMatrix {
    this.checkOpen();
    return quantizedFromGptq(this, options);
  }

  /**
   * A 4-bit matrix from the tensors of an AWQ checkpoint ("gemm" layout).
   * @throws WarptileError as `quantize`.
   */
  quantizedFromAwq(options: AwqOptions): QuantizedMatrix {
    this.checkOpen();
    return quantizedFromAwq(this, options);
  }

  /**
   * A 4-bit matrix from the tensors of a compressed-tensors checkpoint ("pack-quantized").
   * @throws WarptileError as `quantizedFromGptq`.
   */
  quantizedFromCompressedTensors(options: CompressedTensorsOptions): QuantizedMatrix {
    this.checkOpen();
    return quantizedFromCompressedTensors(this, options);
  }

  /**
   * Uploads the cumulative lengths of a packed batch, [0, n0, n0 + n1, ...], checked once for any number of calls.
   * @throws WarptileError ERR_INDEX where they do not start at 0 or fall, ERR_ARGUMENT where they are no integers, ERR_LIMIT past
   * 2^31 - 1 tokens, ERR_OUT_OF_MEMORY.
   */
  cumulativeLengths(offsets: HostData): CumulativeLengths {
    this.checkOpen();
    return new CumulativeLengths(this, offsets, 'offsets');
  }

  /**
   * Runs `body` and disposes every tensor that it made on this device, except those it returns: a tensor, or
   * arrays, plain objects and sparse formats of them.
   */
  tidy<T>(body: () => T): T {
    this.checkOpen();
    checkFunction(body, 'body');
    const scope = new Set<Tensor>();
    this.#scopes.push(scope);
    let kept: ReadonlySet<Tensor> = new Set();
    try {
      const result = runSynchronously(body, 'tidy');
      kept = tensorsIn(result);
      return result;
    } finally {
      this.#scopes.pop();
      for (const tensor of scope) {
        if (!kept.has(tensor)) tensor.dispose();
        else this.scope?.add(tensor);
      }
    }
  }

  /** Bytes used, their peak, bytes reserved from the device, and live buffers. */
  memory(): MemoryStatistics {
    this.checkOpen();
    return this.backend.memory();
  }

  /**
   * Records the operations that `body` enqueues, to run again by `replay()` without their host cost: a CUDA graph,
   * or the recorded calls on the CPU. Nothing runs while recording. Memory that the recorded operations use
   * stays allocated as long as the graph, also when its tensors are disposed.
   * @throws WarptileError ERR_UNSUPPORTED when `body` uploads, reads back, synchronises or replays (the promises of `data()` and
   * `synchronize()` reject with it); ERR_ARGUMENT when it is async.
   */
  capture<T>(body: () => T): Graph<T> {
    this.checkOpen();
    checkFunction(body, 'body');
    let result: T | undefined;
    const outer = this.#copiesUsed;
    const copies = new Set<DerivedCopy>();
    try {
      const recorded = this.backend.capture(() => {
        this.#copiesUsed = copies;
        result = runSynchronously(body, 'capture');
        this.checkOpen();
      });
      return new Graph(this, recorded, result as T, [...copies]);
    } finally {
      this.#copiesUsed = outer;
    }
  }

  /** Resolves when all work enqueued so far is done; rejects with its error. */
  async synchronize(): Promise<void> {
    this.checkOpen();
    await this.backend.synchronize();
  }

  /** Device milliseconds of the work that `body` enqueues, by events on the device. */
  async time(body: () => void): Promise<number> {
    this.checkOpen();
    checkFunction(body, 'body');
    return this.backend.time(() => runSynchronously(body, 'time'));
  }

  /** Closes the device after pending work; its tensors are unusable from here on. */
  dispose(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.backend.close();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** @internal Memory without a handle, which the caller releases. */
  allocate(bytes: number): Storage {
    return new Storage(this.backend, this.backend.allocate(bytes));
  }

  /** @internal */
  checkOpen(): void {
    if (this.#closed) throw new WarptileError('ERR_DISPOSED', `device: ${this.id} has been disposed`);
  }

  #allocate<D extends DType>(shape: readonly number[], dtype: D): Tensor<D> {
    const bytes = checkedProduct(shape, 'shape') * dtypeInfo[dtype].bytes;
    checkInteger(bytes, 'shape');
    return new Tensor(this, this.allocate(bytes), 0, shape, dtype);
  }
}

/** Something made of tensors, such as a sparse matrix: what tidy must keep when it is returned. */
export interface TensorOwner {
  /** @internal */
  ownedTensors(): readonly Tensor[];
}

function isTensorOwner(value: object): value is TensorOwner {
  return typeof (value as Partial<TensorOwner>).ownedTensors === 'function';
}

/** The tensors that `value` is or holds. Each object is visited once, however deep and however often it is referred to. */
function tensorsIn(value: unknown): ReadonlySet<Tensor> {
  const found = new Set<Tensor>();
  const seen = new Set<unknown>();
  const pending: unknown[] = [value];
  while (pending.length > 0) {
    const item = pending.pop();
    if (typeof item !== 'object' || item === null || seen.has(item)) continue;
    seen.add(item);
    if (isTensor(item)) found.add(item);
    else if (isTensorOwner(item)) for (const tensor of item.ownedTensors()) found.add(tensor);
    else if (!ArrayBuffer.isView(item)) for (const inner of Object.values(item)) pending.push(inner);
  }
  return found;
}

/** What `body` returns; ERR_ARGUMENT for a promise, whose work would come after the end of the scope. */
function runSynchronously<T>(body: () => T, caller: string): T {
  const result = body();
  if (types.isPromise(result)) {
    result.catch(() => {});
    throw new WarptileError(
      'ERR_ARGUMENT',
      `${caller}: expected a synchronous function, received an async one`,
    );
  }
  return result;
}
