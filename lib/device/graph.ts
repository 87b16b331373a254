import type { BackendGraph } from '../backends/backend.js';
import { WarptileError } from '../errors.js';
import type { Device } from './device.js';

/** Recorded operations, made by `device.capture`. */
export class Graph<T = unknown> {
  /** What the recorded function returned: its tensors hold results after each `replay()`. */
  readonly result: T;
  readonly #device: Device;
  readonly #recorded: BackendGraph;
  #disposed = false;

  /** @internal */
  constructor(device: Device, recorded: BackendGraph, result: T) {
    this.#device = device;
    this.#recorded = recorded;
    this.result = result;
  }

  /** Enqueues the recorded operations once more, on the same memory. */
  replay(): void {
    if (this.#disposed) throw new WarptileError('ERR_DISPOSED', 'graph: it has been disposed');
    this.#device.checkOpen();
    this.#recorded.replay();
  }

  /** Releases the recording and the memory only it held. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#recorded.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
