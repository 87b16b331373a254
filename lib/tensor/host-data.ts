import { types } from 'node:util';
import { fail } from '../errors.js';
import { type DType, dtypeInfo, type StorageArray, storageArray } from './dtype.js';
import { bfloat16Bits, float16Bits } from './half.js';

/** Host values for a tensor: numbers, or a typed array. `Float16Array` (Node 24) is taken as numbers. */
export type HostData = readonly number[] | NumericArray;

/** Any typed array of numbers, not of bigints. */
export type NumericArray =
  | Float64Array
  | Float32Array
  | Int32Array
  | Uint32Array
  | Int16Array
  | Uint16Array
  | Int8Array
  | Uint8Array
  | Uint8ClampedArray;

const integerRange: { readonly [name: string]: readonly [number, number] } = {
  int32: [-(2 ** 31), 2 ** 31 - 1],
  int8: [-128, 127],
  uint8: [0, 255],
};

/** Rejects what cannot be read safely: detached buffers, SharedArrayBuffer, DataView, bigint arrays. */
export function checkHostData(data: unknown, argument: string): HostData {
  if (Array.isArray(data)) return data;
  if (!types.isTypedArray(data) || types.isBigInt64Array(data) || types.isBigUint64Array(data)) {
    fail('ERR_ARGUMENT', argument, 'an array of numbers or a typed array of numbers', data);
  }
  if (types.isSharedArrayBuffer(data.buffer)) {
    fail('ERR_ARGUMENT', argument, 'memory of one thread', 'a SharedArrayBuffer; copy it first');
  }
  // A detached buffer reads as empty; so does a new one of length 0, which cannot be transferred again.
  if (isDetached(data.buffer)) fail('ERR_ARGUMENT', argument, 'readable memory', 'a detached ArrayBuffer');
  return data as NumericArray;
}

function isDetached(buffer: ArrayBufferLike): boolean {
  if (buffer.byteLength !== 0) return false;
  try {
    new Uint8Array(buffer as ArrayBuffer);
    return false;
  } catch {
    return true;
  }
}

/**
 * Host numbers as stored elements of `dtype`. Floats are rounded to nearest even; integers must be integral
 * and in range. With `raw`, `data` already holds stored elements (bit patterns for half types).
 */
export function toStorage(data: HostData, dtype: DType, argument: string, raw = false): StorageArray {
  if (raw) return checkRaw(data, dtype, argument);
  const { bytes, float } = dtypeInfo[dtype];
  const stored = storageArray(dtype, new ArrayBuffer(data.length * bytes));
  if (float) {
    if (Array.isArray(data)) checkAllNumbers(data, argument);
    if (dtype === 'float32') stored.set(data as ArrayLike<number>);
    else {
      const bits = dtype === 'float16' ? float16Bits : bfloat16Bits;
      for (let i = 0; i < data.length; ++i) stored[i] = bits(data[i]);
    }
    return stored;
  }
  const [low, high] = integerRange[dtype];
  for (let i = 0; i < data.length; ++i) {
    const value = data[i];
    if (!Number.isInteger(value) || value < low || value > high) {
      fail('ERR_ARGUMENT', `${argument}[${i}]`, `an integer from ${low} to ${high}`, value);
    }
    stored[i] = value;
  }
  return stored;
}

function checkRaw(data: HostData, dtype: DType, argument: string): StorageArray {
  const empty = storageArray(dtype, new ArrayBuffer(0));
  const name = empty[Symbol.toStringTag];
  if (!types.isTypedArray(data) || data[Symbol.toStringTag] !== name) {
    fail('ERR_ARGUMENT', argument, `a ${name} of stored ${dtype} elements`, data);
  }
  return data as StorageArray;
}

function checkAllNumbers(data: readonly unknown[], argument: string): void {
  for (let i = 0; i < data.length; ++i) {
    if (typeof data[i] !== 'number') fail('ERR_ARGUMENT', `${argument}[${i}]`, 'a number', data[i]);
  }
}
