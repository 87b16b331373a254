import type { SparseSoftmaxCall } from '../calls/sparse-softmax.js';
import type { CommandWriter } from './command-writer.js';
import { writePattern } from './sparse-pattern.js';

export function marshalSparseSoftmax(command: CommandWriter, call: SparseSoftmaxCall): void {
  writePattern(command.dtype(call.dtype), call.pattern)
    .number(call.batch)
    .number(call.scale)
    .view(call.values)
    .view(call.out);
}
