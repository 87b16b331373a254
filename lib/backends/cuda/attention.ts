import type { AttentionCall } from '../calls/attention.js';
import type { CommandWriter } from './command-writer.js';

/** In the order of cuda/addon/attention.cc. */
export function marshalAttention(command: CommandWriter, call: AttentionCall): void {
  command
    .dtype(call.q.dtype)
    .number(call.batch)
    .number(call.seqQ)
    .number(call.seqK)
    .number(call.totalQ)
    .number(call.totalK)
    .number(call.heads)
    .number(call.kvHeads)
    .number(call.headDim)
    .number(call.scale)
    .number(call.softcap)
    .number(call.left)
    .number(call.right)
    .flag(call.topLeft)
    .view(call.q)
    .view(call.k)
    .view(call.v)
    .view(call.out)
    .view(call.logSumExp)
    .view(call.cumulativeQ)
    .view(call.cumulativeK);
}
