import type { SpmmCall } from '../../lib/backends/calls/spmm.js';
import type { Device } from '../../lib/index.js';

/** The calls of spmm that reach the device's backend from here on. */
export function recordSpmmCalls({ backend: { operations } }: Device): readonly SpmmCall[] {
  const calls: SpmmCall[] = [];
  const run = operations.spmm;
  operations.spmm = (call) => {
    calls.push(call);
    run(call);
  };
  return calls;
}
