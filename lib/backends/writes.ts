// Which memory changes when: copies of a tensor's numbers in another format must not outlive them.

import type { BackendBuffer, Operations, View } from './backend.js';

/** The views that each operation writes: one row each. */
const writtenViews: { readonly [K in keyof Operations]: readonly (keyof Parameters<Operations[K]>[0])[] } = {
  attention: ['out', 'logSumExp'],
  kroneckerMatmul: ['y'],
  neighborhoodAttention: ['out', 'logSumExp'],
  sddmm: ['out'],
  sparseAttention: ['out', 'logSumExp'],
  sparseSoftmax: ['out'],
  spmm: ['c'],
  spmmFillStrips: ['columns', 'stripValues'],
  spmmFillTiles: ['columns', 'tileValues'],
  transposeValues: ['out'],
  w4a16Matmul: ['y'],
};

/** Counts writes into buffers, and remembers those that a graph records. */
export class WriteLog {
  #recorded: Set<BackendBuffer> | undefined;

  wrote(buffer: BackendBuffer): void {
    ++buffer.version;
    this.#recorded?.add(buffer);
  }

  /** `run`, and then the writes of operation `name` counted. */
  logged<C>(name: string, run: (call: C) => void): (call: C) => void {
    const keys = writtenViews[name as keyof Operations] as readonly (keyof C)[];
    return (call) => {
      run(call);
      for (const key of keys) {
        const view = call[key] as View | undefined;
        if (view !== undefined) this.wrote(view.buffer);
      }
    };
  }

  /** What `enqueue` writes: each replay of it writes these again. */
  record(enqueue: () => void): readonly BackendBuffer[] {
    const recorded = new Set<BackendBuffer>();
    this.#recorded = recorded;
    try {
      enqueue();
    } finally {
      this.#recorded = undefined;
    }
    return [...recorded];
  }

  replayed(buffers: readonly BackendBuffer[]): void {
    for (const buffer of buffers) ++buffer.version;
  }
}
