import { cpus, totalmem } from 'node:os';
import { performance } from 'node:perf_hooks';
import { WarptileError } from '../errors.js';
import type {
  Backend,
  BackendBuffer,
  BackendGraph,
  DeviceInfo,
  MemoryStatistics,
  Operations,
} from './backend.js';
import { referenceOperations } from './reference/operations.js';
import { WriteLog } from './writes.js';

/**
 * The TypeScript reference as a device. Work runs when it is enqueued, except while a graph is recorded: then
 * it is kept as a list of calls, so that a graph behaves as on CUDA (same memory, nothing run by recording).
 */
export class CpuBackend implements Backend {
  readonly info: DeviceInfo;
  readonly operations: Operations;
  readonly #limit: number;
  readonly #live = new Set<BackendBuffer>();
  readonly #writes = new WriteLog();
  #recording: (() => void)[] | undefined;
  #used = 0;
  #peak = 0;

  constructor(options: { memoryLimit?: number } = {}) {
    const name = cpus()[0]?.model.trim() ?? 'CPU';
    this.info = {
      kind: 'cpu',
      id: 'cpu',
      name: `${name} (TypeScript reference)`,
      totalMemoryBytes: totalmem(),
    };
    this.#limit = options.memoryLimit ?? Number.POSITIVE_INFINITY;
    this.operations = this.#recordable(referenceOperations);
  }

  allocate(bytes: number): BackendBuffer {
    if (this.#used + bytes > this.#limit) {
      throw new WarptileError(
        'ERR_OUT_OF_MEMORY',
        `allocation of ${bytes} bytes: ${this.#used} of the limit of ${this.#limit} bytes are in use`,
      );
    }
    let memory: ArrayBuffer;
    try {
      memory = new ArrayBuffer(bytes);
    } catch (cause) {
      throw new WarptileError('ERR_OUT_OF_MEMORY', `allocation of ${bytes} bytes: refused by the host`, {
        cause,
      });
    }
    const buffer = { bytes, id: 0, memory, version: 0 };
    this.#live.add(buffer);
    this.#used += bytes;
    this.#peak = Math.max(this.#peak, this.#used);
    return buffer;
  }

  free(buffer: BackendBuffer): void {
    if (this.#live.delete(buffer)) this.#used -= buffer.bytes;
  }

  upload(buffer: BackendBuffer, byteOffset: number, source: ArrayBufferView): void {
    this.#notRecording('an upload');
    const from = new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
    bytesOf(buffer, byteOffset, source.byteLength).set(from);
    this.#writes.wrote(buffer);
  }

  async download(buffer: BackendBuffer, byteOffset: number, bytes: number): Promise<ArrayBuffer> {
    return this.downloadSync(buffer, byteOffset, bytes);
  }

  downloadSync(buffer: BackendBuffer, byteOffset: number, bytes: number): ArrayBuffer {
    this.#notRecording('a read-back');
    return memoryOf(buffer).slice(byteOffset, byteOffset + bytes);
  }

  copy(
    target: BackendBuffer,
    targetOffset: number,
    source: BackendBuffer,
    sourceOffset: number,
    bytes: number,
  ): void {
    this.#enqueue(() => bytesOf(target, targetOffset, bytes).set(bytesOf(source, sourceOffset, bytes)));
    this.#writes.wrote(target);
  }

  fill(buffer: BackendBuffer, byteOffset: number, bytes: number, value: number): void {
    this.#enqueue(() => bytesOf(buffer, byteOffset, bytes).fill(value));
    this.#writes.wrote(buffer);
  }

  memory(): MemoryStatistics {
    return { used: this.#used, peak: this.#peak, reserved: this.#used, handles: this.#live.size };
  }

  async synchronize(): Promise<void> {
    this.#notRecording('a synchronisation');
  }

  synchronizeSync(): void {
    this.#notRecording('a synchronisation');
  }

  capture(enqueue: () => void): BackendGraph {
    this.#notRecording('a capture');
    const recorded: (() => void)[] = [];
    this.#recording = recorded;
    let written: readonly BackendBuffer[] = [];
    try {
      written = this.#writes.record(enqueue);
    } finally {
      this.#recording = undefined;
    }
    return {
      replay: () => {
        this.#notRecording('a replay');
        for (const call of recorded) call();
        this.#writes.replayed(written);
      },
      dispose: () => {
        recorded.length = 0;
      },
    };
  }

  async time(enqueue: () => void): Promise<number> {
    this.#notRecording('a timing');
    const start = performance.now();
    enqueue();
    return performance.now() - start;
  }

  preparePeers(): readonly [] {
    return [];
  }

  close(): void {
    this.#live.clear();
    this.#used = 0;
  }

  #enqueue(call: () => void): void {
    if (this.#recording) this.#recording.push(call);
    else call();
  }

  #notRecording(what: string): void {
    if (this.#recording) {
      throw new WarptileError(
        'ERR_UNSUPPORTED',
        `capture: ${what} cannot be recorded; do it before or after`,
      );
    }
  }

  #recordable(operations: Operations): Operations {
    const entries = Object.entries(operations) as [string, (call: never) => void][];
    return Object.fromEntries(
      entries.map(([name, run]) => [
        name,
        this.#writes.logged(name, (call: never) => this.#enqueue(() => run(call))),
      ]),
    ) as unknown as Operations;
  }
}

function memoryOf(buffer: BackendBuffer): ArrayBuffer {
  return buffer.memory as ArrayBuffer;
}

function bytesOf(buffer: BackendBuffer, byteOffset: number, bytes: number): Uint8Array {
  return new Uint8Array(memoryOf(buffer), byteOffset, bytes);
}
