import type { W4A16MatmulCall } from '../calls/w4a16.js';
import type { CommandWriter } from './command-writer.js';

/** In the order in which cuda/addon/w4a16.cc reads. */
export function marshalW4A16Matmul(command: CommandWriter, call: W4A16MatmulCall): void {
  command
    .dtype(call.x.dtype)
    .number(call.m)
    .number(call.n)
    .number(call.k)
    .number(call.groups)
    .number(call.groupSize)
    .number(call.splitK)
    .view(call.x)
    .view(call.packed)
    .view(call.scales)
    .view(call.zeroPoints)
    .view(call.permutation)
    .view(call.columnGroups)
    .view(call.bias)
    .view(call.y);
}
