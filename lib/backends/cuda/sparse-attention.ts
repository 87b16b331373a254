import type { SparseAttentionCall } from '../calls/sparse-attention.js';
import type { CommandWriter } from './command-writer.js';
import { writePattern } from './sparse-pattern.js';

/** In the order of cuda/addon/sparse_attention.cc. */
export function marshalSparseAttention(command: CommandWriter, call: SparseAttentionCall): void {
  writePattern(command.dtype(call.q.dtype), call.pattern)
    .number(call.batch)
    .number(call.heads)
    .number(call.kvHeads)
    .number(call.headDim)
    .number(call.scale)
    .number(call.softcap)
    .view(call.q)
    .view(call.k)
    .view(call.v)
    .view(call.out)
    .view(call.logSumExp);
}
