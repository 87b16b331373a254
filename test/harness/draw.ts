import { decode, encode } from '../../lib/backends/reference/views.js';
import { dtypeInfo, type FloatDType, type StorageArray, storageArray } from '../../lib/tensor/dtype.js';
import type { Fill } from './case.js';
import type { Random } from './random.js';

/** Numbers as a device stores them, and as the reference reads them: exactly the same. */
export interface Drawn {
  readonly stored: StorageArray;
  readonly values: Float64Array;
}

/** Rounds host numbers into `dtype`. */
export function roundTo(dtype: FloatDType, numbers: ArrayLike<number>): Drawn {
  const stored = storageArray(dtype, new ArrayBuffer(numbers.length * dtypeInfo[dtype].bytes));
  encode(dtype, numbers, stored);
  return { stored, values: decode(dtype, stored) };
}

/** 'exact': integers from -4 to 4, whose products and sums of up to 2^19 of them are exact in float32. 'random': uniform in [-2, 2). */
export function draw(fill: Fill, random: Random, size: number, dtype: FloatDType): Drawn {
  const numbers = new Float64Array(size);
  for (let i = 0; i < size; ++i)
    numbers[i] = fill === 'exact' ? random.integer(-4, 4) : random.uniform(-2, 2);
  return roundTo(dtype, numbers);
}
