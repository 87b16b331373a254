// Ranges of columns of a wider tensor, as operands with a leading dimension.

import type { View } from '../backends/backend.js';
import { fail } from '../errors.js';
import { dtypeInfo } from '../tensor/dtype.js';
import { coincides, type Tensor } from '../tensor/tensor.js';
import { maxInt32 } from '../validate.js';

/** First column and the one past the last. */
export type ColumnRange = readonly [start: number, end: number];

export function lastDimension({ shape }: Tensor): number {
  return shape[shape.length - 1];
}

/** A range within the columns of `tensor`, copied. */
export function checkColumnRange(value: unknown, argument: string, tensor: Tensor): ColumnRange {
  const wide = lastDimension(tensor);
  if (wide > maxInt32) fail('ERR_LIMIT', argument, `a tensor of at most ${maxInt32} columns`, wide);
  if (!Array.isArray(value) || value.length !== 2) {
    fail('ERR_ARGUMENT', argument, '[start, end]', value);
  }
  const [start, end] = value;
  const inside =
    Number.isSafeInteger(start) && Number.isSafeInteger(end) && 0 <= start && start <= end && end <= wide;
  if (!inside) fail('ERR_ARGUMENT', argument, `[start, end] with 0 <= start <= end <= ${wide}`, value);
  return [start, end];
}

/** What an operation reads or writes that begins at column `first`: rows stay as far apart as the tensor is wide. */
export function viewFrom(tensor: Tensor, first: number): View {
  const { view } = tensor;
  if (first === 0 || view.elements === 0) return view;
  return {
    buffer: view.buffer,
    byteOffset: view.byteOffset + first * dtypeInfo[view.dtype].bytes,
    elements: view.elements - first,
    dtype: view.dtype,
  };
}

/** True where two ranges of columns of one tensor have no element in common. */
export function columnsApart(a: Tensor, aRange: ColumnRange, b: Tensor, bRange: ColumnRange): boolean {
  const sameRows = coincides(a, b) && lastDimension(a) === lastDimension(b);
  return sameRows && (aRange[1] <= bRange[0] || bRange[1] <= aRange[0]);
}
