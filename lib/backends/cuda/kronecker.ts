import type { KroneckerCall } from '../calls/kronecker.js';
import type { CommandWriter } from './command-writer.js';

/** Read back by cuda/addon/kronecker.cc. */
export function marshalKronecker(command: CommandWriter, call: KroneckerCall): void {
  command.dtype(call.y.dtype).number(call.batch).flag(call.batchLast).number(call.factors.length);
  for (const { pattern, values } of call.factors) command.numbers(pattern).view(values);
  command.view(call.x).view(call.bias).view(call.y);
}
