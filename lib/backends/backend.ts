import type { DType } from '../tensor/dtype.js';
import type { AttentionCall } from './calls/attention.js';
import type { KroneckerCall } from './calls/kronecker.js';
import type { NeighborhoodAttentionCall } from './calls/neighborhood-attention.js';
import type { SddmmCall } from './calls/sddmm.js';
import type { SparseAttentionCall } from './calls/sparse-attention.js';
import type { SparseSoftmaxCall } from './calls/sparse-softmax.js';
import type { SpmmCall, SpmmFillStripsCall, SpmmFillTilesCall } from './calls/spmm.js';
import type { TransposeValuesCall } from './calls/transpose-values.js';
import type { W4A16MatmulCall } from './calls/w4a16.js';

/**
 * A block of device memory as its backend knows it. `bytes` is the requested size. On the CPU
 * `memory` holds it; on CUDA `id` names it in the addon's table. Opaque to everything above.
 */
export interface BackendBuffer {
  readonly bytes: number;
  readonly id: number;
  readonly memory?: ArrayBuffer;
  /** Climbs with every write that is enqueued, replayed ones included: what was computed from an earlier version is out of date. */
  version: number;
}

/** Contiguous, row-major elements inside a buffer: what an operation reads or writes. */
export interface View {
  readonly buffer: BackendBuffer;
  readonly byteOffset: number;
  readonly elements: number;
  readonly dtype: DType;
}

/** One method per operation. Arguments were validated by lib/ops; a call enqueues and returns. */
export interface Operations {
  attention(call: AttentionCall): void;
  kroneckerMatmul(call: KroneckerCall): void;
  neighborhoodAttention(call: NeighborhoodAttentionCall): void;
  sddmm(call: SddmmCall): void;
  sparseAttention(call: SparseAttentionCall): void;
  sparseSoftmax(call: SparseSoftmaxCall): void;
  spmm(call: SpmmCall): void;
  spmmFillStrips(call: SpmmFillStripsCall): void;
  spmmFillTiles(call: SpmmFillTilesCall): void;
  transposeValues(call: TransposeValuesCall): void;
  w4a16Matmul(call: W4A16MatmulCall): void;
}

/** Operations recorded once and run again by `replay`, on the same memory. */
export interface BackendGraph {
  replay(): void;
  dispose(): void;
}

/**
 * Another implementation of one call (a vendor's routine, say cuSPARSE's), made ready outside of any timing. It reads and writes the
 * memory of the call; keep that alive until `dispose`.
 */
export interface PreparedPeer {
  /** 'cusparse CSR_ALG2' */
  readonly name: string;
  /** Enqueues it once, as an operation does; may be captured into a graph. */
  run(): void;
  dispose(): void;
}

/** A peer that does not take a call, and why. */
export interface AbsentPeer {
  readonly name: string;
  readonly problem: string;
}

export interface MemoryStatistics {
  /** Bytes in live buffers. */
  readonly used: number;
  /** Largest value `used` has had. */
  readonly peak: number;
  /** Bytes taken from the device, the allocator's cache included. */
  readonly reserved: number;
  /** Live buffers. */
  readonly handles: number;
}

export interface DeviceInfo {
  readonly kind: 'cpu' | 'cuda';
  /** 'cpu' or 'cuda:0'. */
  readonly id: string;
  /** The processor's or the card's own name. */
  readonly name: string;
  /** CUDA compute capability, [major, minor]. */
  readonly computeCapability?: readonly [number, number];
  readonly multiprocessors?: number;
  readonly totalMemoryBytes: number;
  readonly l2Bytes?: number;
  readonly sharedMemoryPerBlockBytes?: number;
  readonly driverVersion?: string;
  readonly runtimeVersion?: string;
}

/** One device: memory, ordering and the operations. All work of a backend runs in one order. */
export interface Backend {
  readonly info: DeviceInfo;
  readonly operations: Operations;
  allocate(bytes: number): BackendBuffer;
  /** Returns the memory once the work enqueued before this call is done with it. */
  free(buffer: BackendBuffer): void;
  /** Copies `source` into the buffer; the caller may reuse `source` at once. */
  upload(buffer: BackendBuffer, byteOffset: number, source: ArrayBufferView): void;
  /** The bytes as they are once all work enqueued before this call is done. */
  download(buffer: BackendBuffer, byteOffset: number, bytes: number): Promise<ArrayBuffer>;
  downloadSync(buffer: BackendBuffer, byteOffset: number, bytes: number): ArrayBuffer;
  copy(
    target: BackendBuffer,
    targetOffset: number,
    source: BackendBuffer,
    sourceOffset: number,
    bytes: number,
  ): void;
  /** Sets every byte to `value`. */
  fill(buffer: BackendBuffer, byteOffset: number, bytes: number, value: number): void;
  memory(): MemoryStatistics;
  synchronize(): Promise<void>;
  synchronizeSync(): void;
  /** Records what `enqueue` enqueues, without running it. */
  capture(enqueue: () => void): BackendGraph;
  /** Milliseconds of device time that `enqueue`'s work takes, by events on the device where it has them. */
  time(enqueue: () => void): Promise<number>;
  /** Every peer of an operation on this device, for the benchmark to compare with; none on the CPU. */
  preparePeers<K extends keyof Operations>(
    operation: K,
    call: Parameters<Operations[K]>[0],
  ): readonly (PreparedPeer | AbsentPeer)[];
  close(): void;
}
