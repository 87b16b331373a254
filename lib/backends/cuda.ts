import { types } from 'node:util';
import { WarptileError, type WarptileErrorCode } from '../errors.js';
import type {
  AbsentPeer,
  Backend,
  BackendBuffer,
  BackendGraph,
  DeviceInfo,
  MemoryStatistics,
  Operations,
  PreparedPeer,
} from './backend.js';
import { CommandWriter } from './cuda/command-writer.js';
import { cudaOperations } from './cuda/operations.js';
import { loadAddon } from './load-addon.cjs';
import { WriteLog } from './writes.js';

type Callback = (code: string | undefined, message: string | undefined, value: number | undefined) => void;

interface ProbedDevice {
  readonly name: string;
  readonly major: number;
  readonly minor: number;
  readonly multiprocessors: number;
  readonly totalMemoryBytes: number;
  readonly l2Bytes: number;
  readonly sharedMemoryPerBlockBytes: number;
}

/** The addon's exports, cuda/addon/addon.cc. Devices, buffers, graphs and marks are numbers. */
interface Addon {
  readonly operations: readonly string[];
  probe(): { devices: readonly ProbedDevice[]; driver: string; runtime: string };
  openDevice(ordinal: number, memoryLimit: number): number;
  closeDevice(device: number): void;
  allocate(device: number, bytes: number): number;
  free(device: number, buffer: number): void;
  upload(
    device: number,
    buffer: number,
    offset: number,
    source: ArrayBufferLike,
    sourceOffset: number,
    bytes: number,
  ): void;
  download(device: number, buffer: number, offset: number, target: ArrayBuffer, callback: Callback): void;
  downloadSync(device: number, buffer: number, offset: number, target: ArrayBuffer): void;
  copy(device: number, to: number, toOffset: number, from: number, fromOffset: number, bytes: number): void;
  fill(device: number, buffer: number, offset: number, bytes: number, value: number): void;
  memory(device: number): readonly [number, number, number, number];
  synchronize(device: number, callback: Callback): void;
  synchronizeSync(device: number): void;
  beginCapture(device: number): void;
  endCapture(device: number): number;
  abortCapture(device: number): void;
  replay(device: number, graph: number): void;
  destroyGraph(device: number, graph: number): void;
  mark(device: number): number;
  elapsed(device: number, start: number, end: number, callback: Callback): void;
  run(device: number, operation: number, words: Float64Array, length: number): void;
  placements(device: number, operation: number, words: Float64Array, length: number): readonly number[];
  /** The rows of cuda/addon/peers.cc. */
  readonly peers: readonly { readonly operation: string; readonly name: string }[];
  peerLibraries(): readonly PeerLibrary[];
  preparePeer(device: number, row: number, words: Float64Array, length: number): number;
  runPeer(device: number, peer: number): void;
  disposePeer(device: number, peer: number): void;
  energy(device: number): number;
}

/** @internal A kernel's blocks, threads of each, and blocks that a multiprocessor holds at once. */
export interface Placement {
  readonly blocks: number;
  readonly threads: number;
  readonly resident: number;
}

/** What the search for an addon and a GPU found: for `warptile doctor` and for error messages. */
export interface CudaProbe {
  readonly addonFile?: string;
  readonly driver?: string;
  readonly runtime?: string;
  readonly devices: readonly ProbedDevice[];
  /** One line for each thing that was tried and did not work. */
  readonly problems: readonly string[];
}

/** A vendor library for the benchmark: the file it was found in, or why there is none. */
export interface PeerLibrary {
  readonly name: string;
  readonly file?: string;
  readonly problem?: string;
}

/** Opens the vendor libraries; none without an addon. */
export function probePeers(): readonly PeerLibrary[] {
  const { addon } = loadAddon();
  return addon === undefined ? [] : (addon as Addon).peerLibraries();
}

export function probeCuda(): CudaProbe {
  const { addon, file, attempts } = loadAddon();
  const problems = attempts.map((attempt) => `addon ${attempt.file}: ${attempt.reason}`);
  if (addon === undefined || file === undefined) return { devices: [], problems };
  try {
    const { devices, driver, runtime } = (addon as Addon).probe();
    if (devices.length === 0) problems.push('CUDA: the driver reports no GPU');
    return { addonFile: file, driver, runtime, devices, problems };
  } catch (error) {
    problems.push(`CUDA: ${toWarptileError(error).message}`);
    return { addonFile: file, devices: [], problems };
  }
}

/** A CUDA device through the addon: the only module that uses it. */
export class CudaBackend implements Backend {
  readonly info: DeviceInfo;
  readonly operations: Operations;
  readonly #addon: Addon;
  readonly #device: number;
  readonly #writes = new WriteLog();
  #closed = false;

  /** @throws WarptileError ERR_BACKEND_UNAVAILABLE whose message has one line for each attempt. */
  static open(ordinal: number, options: { memoryLimit?: number }): CudaBackend {
    const probe = probeCuda();
    const device = probe.devices[ordinal];
    if (device === undefined) {
      const lines = [...probe.problems];
      if (probe.devices.length > 0)
        lines.push(`CUDA: there are ${probe.devices.length} GPUs, numbered from 0`);
      throw unavailable(ordinal, lines);
    }
    if (device.major < 8) {
      throw unavailable(ordinal, [
        `CUDA: ${device.name} has compute capability ${device.major}.${device.minor}, the kernels need 8.0 or later`,
      ]);
    }
    return new CudaBackend(probe, ordinal, options.memoryLimit ?? Number.MAX_SAFE_INTEGER);
  }

  private constructor(probe: CudaProbe, ordinal: number, memoryLimit: number) {
    const device = probe.devices[ordinal];
    this.#addon = loadAddon().addon as Addon;
    this.info = {
      kind: 'cuda',
      id: `cuda:${ordinal}`,
      name: device.name,
      computeCapability: [device.major, device.minor],
      multiprocessors: device.multiprocessors,
      totalMemoryBytes: device.totalMemoryBytes,
      l2Bytes: device.l2Bytes,
      sharedMemoryPerBlockBytes: device.sharedMemoryPerBlockBytes,
      driverVersion: probe.driver ?? '',
      runtimeVersion: probe.runtime ?? '',
    };
    this.#device = guard(() => this.#addon.openDevice(ordinal, memoryLimit));
    this.operations = this.#bind();
  }

  allocate(bytes: number): BackendBuffer {
    return { bytes, id: guard(() => this.#addon.allocate(this.#device, bytes)), version: 0 };
  }

  free(buffer: BackendBuffer): void {
    if (!this.#closed) this.#addon.free(this.#device, buffer.id);
  }

  upload(buffer: BackendBuffer, byteOffset: number, source: ArrayBufferView): void {
    const { buffer: memory, byteOffset: start, byteLength } = source;
    guard(() => this.#addon.upload(this.#device, buffer.id, byteOffset, memory, start, byteLength));
    this.#writes.wrote(buffer);
  }

  async download(buffer: BackendBuffer, byteOffset: number, bytes: number): Promise<ArrayBuffer> {
    const target = new ArrayBuffer(bytes);
    if (bytes > 0) {
      await this.#completion((callback) =>
        this.#addon.download(this.#device, buffer.id, byteOffset, target, callback),
      );
    }
    return target;
  }

  downloadSync(buffer: BackendBuffer, byteOffset: number, bytes: number): ArrayBuffer {
    const target = new ArrayBuffer(bytes);
    if (bytes > 0) guard(() => this.#addon.downloadSync(this.#device, buffer.id, byteOffset, target));
    return target;
  }

  copy(
    target: BackendBuffer,
    targetOffset: number,
    source: BackendBuffer,
    sourceOffset: number,
    bytes: number,
  ): void {
    if (bytes === 0) return;
    guard(() => this.#addon.copy(this.#device, target.id, targetOffset, source.id, sourceOffset, bytes));
    this.#writes.wrote(target);
  }

  fill(buffer: BackendBuffer, byteOffset: number, bytes: number, value: number): void {
    guard(() => this.#addon.fill(this.#device, buffer.id, byteOffset, bytes, value));
    this.#writes.wrote(buffer);
  }

  memory(): MemoryStatistics {
    const [used, peak, reserved, handles] = guard(() => this.#addon.memory(this.#device));
    return { used, peak, reserved, handles };
  }

  async synchronize(): Promise<void> {
    await this.#completion((callback) => this.#addon.synchronize(this.#device, callback));
  }

  synchronizeSync(): void {
    guard(() => this.#addon.synchronizeSync(this.#device));
  }

  capture(enqueue: () => void): BackendGraph {
    guard(() => this.#addon.beginCapture(this.#device));
    let finished = false;
    let written: readonly BackendBuffer[] = [];
    try {
      written = this.#writes.record(enqueue);
      finished = true;
    } finally {
      if (!finished) this.#addon.abortCapture(this.#device);
    }
    const graph = guard(() => this.#addon.endCapture(this.#device));
    return {
      replay: () => {
        guard(() => this.#addon.replay(this.#device, graph));
        this.#writes.replayed(written);
      },
      dispose: () => {
        if (!this.#closed) this.#addon.destroyGraph(this.#device, graph);
      },
    };
  }

  async time(enqueue: () => void): Promise<number> {
    const start = guard(() => this.#addon.mark(this.#device));
    try {
      enqueue();
    } catch (error) {
      // A pair of marks is released together.
      this.#addon.elapsed(this.#device, start, this.#addon.mark(this.#device), () => {});
      throw error;
    }
    const end = guard(() => this.#addon.mark(this.#device));
    return this.#completion((callback) => this.#addon.elapsed(this.#device, start, end, callback));
  }

  /**
   * @internal Runs a row of the addon's table with these words, without marshalling: the 'diagnostic...' rows and, for
   * fuzzing, any other. The addon checks sizes and buffers, not the contents of index data.
   */
  runRow(name: string, words: Float64Array): void {
    guard(() => this.#addon.run(this.#device, this.#addon.operations.indexOf(name), words, words.length));
  }

  /**
   * @internal Enqueues a kernel that reads whole 16 bytes of a buffer. `sink` holds 4 bytes, whose value is of no use.
   */
  read(source: BackendBuffer, bytes: number, sink: BackendBuffer): void {
    this.runRow('diagnosticRead', Float64Array.of(bytes, source.id, 0, sink.id, 0));
  }

  /** @internal How the kernels of a call would fill the device, which does not run them. */
  placements<K extends keyof Operations>(operation: K, call: Parameters<Operations[K]>[0]): Placement[] {
    const command = commandOf(operation, call);
    const row = this.#addon.operations.indexOf(operation);
    const numbers = guard(() => this.#addon.placements(this.#device, row, command.words, command.length));
    const found: Placement[] = [];
    for (let at = 0; at < numbers.length; at += 3) {
      found.push({ blocks: numbers[at], threads: numbers[at + 1], resident: numbers[at + 2] });
    }
    return found;
  }

  /** @internal Joules that the card has used since its driver was loaded. @throws WarptileError ERR_UNSUPPORTED without NVML. */
  energy(): number {
    return guard(() => this.#addon.energy(this.#device)) / 1000;
  }

  preparePeers<K extends keyof Operations>(
    operation: K,
    call: Parameters<Operations[K]>[0],
  ): readonly (PreparedPeer | AbsentPeer)[] {
    const command = commandOf(operation, call);
    return this.#addon.peers.flatMap(({ name, operation: owner }, row) =>
      owner === operation ? [this.#preparePeer(name, row, command)] : [],
    );
  }

  #preparePeer(name: string, row: number, command: CommandWriter): PreparedPeer | AbsentPeer {
    try {
      const peer = this.#addon.preparePeer(this.#device, row, command.words, command.length);
      return {
        name,
        run: () => guard(() => this.#addon.runPeer(this.#device, peer)),
        dispose: () => {
          if (!this.#closed) this.#addon.disposePeer(this.#device, peer);
        },
      };
    } catch (error) {
      const { code, message } = toWarptileError(error);
      if (code === 'ERR_UNSUPPORTED') return { name, problem: message };
      throw toWarptileError(error);
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#addon.closeDevice(this.#device);
  }

  /** A promise of what the addon's waiter thread reports to a callback. */
  #completion(start: (callback: Callback) => void): Promise<number> {
    return new Promise((resolve, reject) => {
      const settle: Callback = (code, message, value) => {
        if (code === undefined) resolve(value ?? 0);
        else reject(new WarptileError(code as WarptileErrorCode, message ?? ''));
      };
      guard(() => start(settle));
    });
  }

  /** Each operation as: marshal the call, run it by its row in the addon's table. */
  #bind(): Operations {
    const writer = new CommandWriter();
    const rows = Object.entries(cudaOperations) as [string, (command: CommandWriter, call: never) => void][];
    const bound = rows.map(([name, marshal]) => {
      const row = this.#addon.operations.indexOf(name);
      const run = (call: never): void => {
        if (row < 0)
          throw new WarptileError(
            'ERR_UNSUPPORTED',
            `${name}: this build of the addon has no such operation`,
          );
        marshal(writer.begin(), call);
        try {
          this.#addon.run(this.#device, row, writer.words, writer.length);
        } catch (error) {
          throw toWarptileError(error);
        }
      };
      return [name, this.#writes.logged(name, run)] as const;
    });
    return Object.fromEntries(bound) as unknown as Operations;
  }
}

function commandOf<K extends keyof Operations>(
  operation: K,
  call: Parameters<Operations[K]>[0],
): CommandWriter {
  const command = new CommandWriter();
  const marshal = cudaOperations[operation] as (command: CommandWriter, call: unknown) => void;
  marshal(command.begin(), call);
  return command;
}

function unavailable(ordinal: number, lines: readonly string[]): WarptileError {
  return new WarptileError(
    'ERR_BACKEND_UNAVAILABLE',
    [`cuda:${ordinal} is not available`, ...lines].join('\n'),
  );
}

function guard<T>(body: () => T): T {
  try {
    return body();
  } catch (error) {
    throw toWarptileError(error);
  }
}

/** The addon throws plain errors with a `code`; ours are made here, in the caller's realm. */
function toWarptileError(error: unknown): WarptileError {
  if (error instanceof WarptileError) return error;
  const { code, message } = types.isNativeError(error)
    ? (error as Error & { code?: string })
    : { code: undefined, message: String(error) };
  return new WarptileError((code ?? 'ERR_CUDA') as WarptileErrorCode, message, { cause: error });
}
