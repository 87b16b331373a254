import { type FloatDType, type StorageArray, storageArray } from '../../tensor/dtype.js';
import { bfloat16Bits, bfloat16Value, float16Bits, float16Value } from '../../tensor/half.js';
import type { View } from '../backend.js';

/** The stored elements of a CPU view, aliased. */
export function elementsOf(view: View): StorageArray {
  return storageArray(view.dtype, view.buffer.memory as ArrayBuffer, view.byteOffset, view.elements);
}

/** The values of stored elements as float64, exactly. */
export function decode(dtype: FloatDType, stored: StorageArray): Float64Array {
  const values = new Float64Array(stored.length);
  if (dtype === 'float32') values.set(stored);
  else {
    const value = dtype === 'float16' ? float16Value : bfloat16Value;
    for (let i = 0; i < stored.length; ++i) values[i] = value(stored[i]);
  }
  return values;
}

/** Rounds float64 values once, to nearest even, into stored elements. */
export function encode(dtype: FloatDType, values: ArrayLike<number>, stored: StorageArray): void {
  if (dtype === 'float32') stored.set(values);
  else {
    const bits = dtype === 'float16' ? float16Bits : bfloat16Bits;
    for (let i = 0; i < values.length; ++i) stored[i] = bits(values[i]);
  }
}

/** The values of a float view as float64, exactly. */
export function readFloats(view: View): Float64Array {
  return decode(view.dtype as FloatDType, elementsOf(view));
}

/** Rounds float64 values once into a float view. */
export function writeFloats(view: View, values: ArrayLike<number>): void {
  encode(view.dtype as FloatDType, values, elementsOf(view));
}

/** The elements of an int32 view, aliased. */
export function readInts(view: View): Int32Array {
  return elementsOf(view) as Int32Array;
}
