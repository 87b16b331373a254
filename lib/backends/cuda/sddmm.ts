import { type SddmmCall, sddmmVariants } from '../calls/sddmm.js';
import type { CommandWriter } from './command-writer.js';
import { writePattern } from './sparse-pattern.js';

export function marshalSddmm(command: CommandWriter, call: SddmmCall): void {
  writePattern(command.dtype(call.dtype), call.pattern)
    .number(call.depth)
    .number(call.batch)
    .number(call.lda)
    .number(call.aStride)
    .number(call.ldb)
    .number(call.bStride)
    .number(call.factorsStride)
    .number(call.outStride)
    .number(call.alpha)
    .view(call.a)
    .view(call.b)
    .view(call.factors)
    .view(call.out);
  const { plan } = call;
  command
    .number(sddmmVariants.indexOf(plan.variant))
    .number(plan.vector)
    .number(plan.lanes)
    .number(plan.splits)
    .number(plan.tileRows)
    .number(plan.tileColumns)
    .number(plan.walk)
    .flag(plan.banded)
    .number(plan.columnTiles);
}
