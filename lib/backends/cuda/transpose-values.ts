import type { TransposeValuesCall } from '../calls/transpose-values.js';
import type { CommandWriter } from './command-writer.js';

export function marshalTransposeValues(command: CommandWriter, call: TransposeValuesCall): void {
  command
    .dtype(call.dtype)
    .number(call.stored)
    .number(call.blockRows)
    .number(call.blockColumns)
    .number(call.batch)
    .view(call.values)
    .view(call.order)
    .view(call.out);
}
