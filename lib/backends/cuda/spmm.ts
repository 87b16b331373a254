import {
  type SpmmCall,
  type SpmmFillStripsCall,
  type SpmmFillTilesCall,
  spmmVariants,
} from '../calls/spmm.js';
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
  const { plan, bins, tiles, strips } = call;
  command
    .number(spmmVariants.indexOf(plan.variant))
    .number(plan.vector)
    .number(plan.piece)
    .number(plan.lanes)
    .number(plan.splits)
    .number(plan.warps)
    .number(plan.columns)
    .number(plan.cluster)
    .number(plan.blockItems)
    .number(plan.warpItems)
    .number(plan.warpRows)
    .number(plan.bundle)
    .flag(plan.alone)
    .flag(plan.padded)
    .number(bins?.items ?? 0)
    .number(bins?.segments ?? 0)
    .number(bins?.longRows ?? 0)
    .view(bins?.table)
    .view(bins?.steps)
    .number(tiles?.rows ?? 0)
    .number(tiles?.count ?? 0)
    .view(tiles?.panelPointers)
    .view(tiles?.columns)
    .view(tiles?.values)
    .number(tiles?.items ?? 0)
    .number(tiles?.longest ?? 0)
    .number(tiles?.parts ?? 0)
    .number(tiles?.cuts ?? 0)
    .view(tiles?.table)
    .number(strips?.rows ?? 0)
    .number(strips?.count ?? 0)
    .view(strips?.columns)
    .view(strips?.values)
    .number(strips?.items ?? 0)
    .number(strips?.parts ?? 0)
    .number(strips?.cuts ?? 0)
    .view(strips?.table);
}

export function marshalSpmmFillStrips(command: CommandWriter, call: SpmmFillStripsCall): void {
  writePattern(command, call.pattern)
    .number(call.stripRows)
    .number(call.count)
    .view(call.values)
    .view(call.stripPointers)
    .view(call.columns)
    .view(call.stripValues);
}

export function marshalSpmmFillTiles(command: CommandWriter, call: SpmmFillTilesCall): void {
  writePattern(command.dtype(call.dtype), call.pattern)
    .number(call.tileRows)
    .number(call.count)
    .view(call.values)
    .view(call.panelPointers)
    .number(call.items)
    .view(call.table)
    .view(call.columns)
    .view(call.tileValues);
}
