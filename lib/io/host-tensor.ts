import { types } from 'node:util';
import { fail, WarptileError } from '../errors.js';
import type { NumericArray } from '../tensor/host-data.js';

/** Element types of files: those of tensors, and wider or unsigned ones that files hold too. */
export type HostDType =
  | 'float64'
  | 'float32'
  | 'float16'
  | 'bfloat16'
  | 'int64'
  | 'int32'
  | 'int16'
  | 'int8'
  | 'uint64'
  | 'uint32'
  | 'uint16'
  | 'uint8'
  | 'bool';

/**
 * A dense array in host memory, row-major. Numbers as they are, half types as their 16-bit patterns: upload with
 * `device.tensor(array.data, { shape: array.shape, dtype: 'float16', raw: array.raw })`.
 */
export interface HostTensor {
  readonly shape: readonly number[];
  readonly dtype: HostDType;
  /** Elements; of 64-bit integers, which must be below 2^53, their values as Float64Array; of bool 0 and 1. */
  readonly data: NumericArray;
  /** True for half types: `data` holds their bit patterns. */
  readonly raw: boolean;
}

const arrayTypes = {
  float64: Float64Array,
  float32: Float32Array,
  float16: Uint16Array,
  bfloat16: Uint16Array,
  int64: BigInt64Array,
  int32: Int32Array,
  int16: Int16Array,
  int8: Int8Array,
  uint64: BigUint64Array,
  uint32: Uint32Array,
  uint16: Uint16Array,
  uint8: Uint8Array,
  bool: Uint8Array,
} as const;

export function hostDTypeBytes(dtype: HostDType): number {
  return arrayTypes[dtype].BYTES_PER_ELEMENT;
}

/** Stored little-endian bytes as a HostTensor; `bytes` starts its buffer, so that it is aligned for any type. */
export function fromStoredBytes(
  bytes: Uint8Array<ArrayBuffer>,
  shape: readonly number[],
  dtype: HostDType,
  name: string,
): HostTensor {
  const stored = new arrayTypes[dtype](bytes.buffer);
  const raw = dtype === 'float16' || dtype === 'bfloat16';
  if (!types.isBigInt64Array(stored) && !types.isBigUint64Array(stored)) {
    return { shape, dtype, data: stored as NumericArray, raw };
  }
  const data = new Float64Array(stored.length);
  for (let i = 0; i < stored.length; ++i) {
    data[i] = Number(stored[i]);
    if (!Number.isSafeInteger(data[i])) {
      throw new WarptileError(
        'ERR_FORMAT',
        `${name}: element ${i}: expected an integer below 2^53, received ${stored[i]}`,
      );
    }
  }
  return { shape, dtype, data, raw };
}

/** The stored bytes of an array to be written. @throws WarptileError ERR_DTYPE where data and dtype do not match. */
export function toStoredBytes(array: HostTensor, argument: string): Uint8Array {
  const { data, dtype } = array;
  if (!Object.hasOwn(arrayTypes, dtype)) {
    fail('ERR_DTYPE', `${argument}.dtype`, `one of ${Object.keys(arrayTypes).join(', ')}`, dtype);
  }
  if (dtype === 'int64' || dtype === 'uint64') {
    const wide = new arrayTypes[dtype](data.length);
    for (let i = 0; i < data.length; ++i) wide[i] = BigInt(data[i]);
    return new Uint8Array(wide.buffer);
  }
  const expected = new arrayTypes[dtype](0)[Symbol.toStringTag];
  if (!types.isTypedArray(data) || data[Symbol.toStringTag] !== expected) {
    fail('ERR_DTYPE', `${argument}.data`, `a ${expected} of ${dtype} elements`, data);
  }
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
