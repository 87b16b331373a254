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
    .number(plan.tile)
    .number(plan.bundle)
    .flag(plan.alone)
    .flag(plan.padded);
  const { tiles } = call;
  command
    .number(tiles?.rows ?? 0)
    .number(tiles?.count ?? 0)
    .number(tiles?.everyColumn ?? 0)
    .number(tiles?.unitCount ?? 0)
    .view(tiles?.table)
    .view(tiles?.shifts)
    .view(tiles?.entries)
    .view(tiles?.units);
}
