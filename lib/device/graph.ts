import type { BackendGraph } from '../backends/backend.js';
import { WarptileError } from '../errors.js';
import type { Device } from './device.js';

/** Numbers derived from a tensor: out of date once that is written to. Counted, as graphs share them. */
export interface DerivedCopy {
  readonly fresh: boolean;
  /** Enqueues the derivation. */
  refresh(): void;
  retain(): this;
  dispose(): void;
}

/** Recorded operations, made by `device.capture`. */
export class Graph<T = unknown> {
  /** What the recorded function returned: its tensors hold results after each `replay()`. */
  readonly result: T;
  readonly #device: Device;
  readonly #recorded: BackendGraph;
  readonly #copies: readonly DerivedCopy[];
  #disposed = false;

  /** @internal */
  constructor(device: Device, recorded: BackendGraph, result: T, copies: readonly DerivedCopy[]) {
    this.#device = device;
    this.#copies = copies.map((copy) => copy.retain());
    this.#recorded = recorded;
    this.result = result;
  }

  /** Enqueues the recorded operations once more, on the same memory. */
  replay(): void {
    if (this.#disposed) throw new WarptileError('ERR_DISPOSED', 'graph: it has been disposed');
    this.#device.checkOpen();
    // The values may have been written to since, also by the last replay. In the order of their use: one may derive from another.
    for (const copy of this.#copies) if (!copy.fresh) copy.refresh();
    this.#recorded.replay();
  }

  /** Releases the recording and the memory only it held. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#recorded.dispose();
    for (const copy of this.#copies) copy.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
