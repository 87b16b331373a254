import type { NeighborhoodAttentionCall } from '../calls/neighborhood-attention.js';
import type { CommandWriter } from './command-writer.js';

export function marshalNeighborhoodAttention(command: CommandWriter, call: NeighborhoodAttentionCall): void {
  command
    .dtype(call.q.dtype)
    .number(call.batch)
    .number(call.heads)
    .number(call.kvHeads)
    .number(call.headDim)
    .number(call.additional);
  for (let axis = 0; axis < 3; ++axis) {
    command
      .number(call.tokens[axis])
      .number(call.kernelSize[axis])
      .number(call.stride[axis])
      .number(call.dilation[axis])
      .flag(call.causal[axis]);
  }
  command
    .number(call.scale)
    .view(call.q)
    .view(call.k)
    .view(call.v)
    .view(call.additionalKeys)
    .view(call.additionalValues)
    .view(call.out)
    .view(call.logSumExp);
}
