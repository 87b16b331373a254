import type { TransposeValuesCall } from '../calls/transpose-values.js';
import { elementsOf, readInts } from './views.js';

/** Copies stored elements, whatever their type. */
export function transposeValuesReference<A extends { [index: number]: number }>(
  call: Pick<TransposeValuesCall, 'stored' | 'blockRows' | 'blockColumns' | 'batch'>,
  values: ArrayLike<number>,
  order: ArrayLike<number>,
  out: A,
): A {
  const { stored, blockRows, blockColumns, batch } = call;
  let target = 0;
  for (let set = 0; set < batch; ++set) {
    for (let block = 0; block < stored; ++block) {
      const source = (set * stored + order[block]) * blockRows * blockColumns;
      for (let j = 0; j < blockColumns; ++j) {
        for (let i = 0; i < blockRows; ++i) out[target++] = values[source + i * blockColumns + j];
      }
    }
  }
  return out;
}

export function runTransposeValues(call: TransposeValuesCall): void {
  transposeValuesReference(call, elementsOf(call.values), readInts(call.order), elementsOf(call.out));
}
