import type { SpmmCall } from '../calls/spmm.js';
import type { CommandWriter } from './command-writer.js';
import { writePattern } from './sparse-pattern.js';

export function marshalSpmm(command: CommandWriter, call: SpmmCall): void {
  writePattern(command.dtype(call.dtype), call.pattern)
    .number(call.width)
    .number(call.batch)
    .number(call.valuesStride)
    .number(call.ldb)
    .number(call.bStride)
    .number(call.ldc)
    .number(call.cStride)
    .number(call.alpha)
    .number(call.beta)
    .view(call.values)
    .view(call.b)
    .view(call.c);
}
