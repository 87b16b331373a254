// Reads the host arrays that quantised matrices are made of.

import { types } from 'node:util';
import { fail, WarptileError } from '../../errors.js';
import { type FloatDType, storageArray } from '../../tensor/dtype.js';
import { bfloat16Bits, bfloat16Value, float16Bits, float16Value } from '../../tensor/half.js';
import { checkHostData, type HostData } from '../../tensor/host-data.js';
import { checkInteger, maxInt32 } from '../../validate.js';
import type { Words } from './nibbles.js';

export interface MatrixSize {
  readonly n: number;
  readonly k: number;
}

/** A shape [n, k] whose sides 32-bit indices reach. */
export function checkMatrixShape(value: unknown, argument: string): MatrixSize {
  if (!Array.isArray(value) || value.length !== 2) fail('ERR_SHAPE', argument, '[n, k]', value);
  for (const size of value) {
    if (!Number.isSafeInteger(size) || size < 0)
      fail('ERR_SHAPE', argument, 'non-negative integers [n, k]', value);
    if (size > maxInt32) fail('ERR_LIMIT', argument, `sides of at most ${maxInt32}`, value);
  }
  const [n, k] = value as [number, number];
  if (!Number.isSafeInteger(n * k)) fail('ERR_LIMIT', argument, 'at most 2^53 elements', value);
  return { n, k };
}

/** A group size: -1 stands for all of k. */
export function checkGroupSize(value: unknown, k: number): number {
  if (value === -1) return Math.max(k, 1);
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 1 || value > maxInt32) {
    fail('ERR_ARGUMENT', 'groupSize', '-1 or a positive integer', value);
  }
  return value;
}

/** 32-bit words of packed nibbles: an Int32Array or Uint32Array, or integers of either range. */
export function checkWords(data: unknown, argument: string, shape: readonly number[]): Words {
  const source = checkHostData(data, argument);
  checkLength(source.length, argument, shape);
  if (source instanceof Int32Array || source instanceof Uint32Array) return source;
  if (!Array.isArray(source))
    fail('ERR_DTYPE', argument, 'an Int32Array or a Uint32Array of packed words', data);
  const words = new Int32Array(source.length);
  for (let i = 0; i < words.length; ++i) {
    words[i] = checkInteger(source[i], `${argument}[${i}]`, -(2 ** 31), 2 ** 32 - 1);
  }
  return words;
}

/** Small integers in [low, high], such as group indices. */
export function checkIntegers(
  data: unknown,
  argument: string,
  length: number,
  low: number,
  high: number,
): Int32Array {
  const source = checkHostData(data, argument);
  checkLength(source.length, argument, [length]);
  const values = new Int32Array(length);
  for (let i = 0; i < length; ++i) {
    const value = source[i];
    if (!Number.isInteger(value) || value < low || value > high) {
      fail('ERR_INDEX', `${argument}[${i}]`, `an integer from ${low} to ${high}`, value);
    }
    values[i] = value;
  }
  return values;
}

/**
 * Numbers, or with `storedDType` stored elements of that dtype (bit patterns for half types). Without it a Uint16Array
 * is refused: it is nearly always the bit patterns of a checkpoint.
 */
export function checkFloats(
  data: unknown,
  argument: string,
  shape: readonly number[],
  storedDType: FloatDType | undefined,
): HostData | Float64Array {
  const source = checkHostData(data, argument);
  checkLength(source.length, argument, shape);
  if (storedDType === undefined) {
    if (source instanceof Uint16Array) {
      fail('ERR_DTYPE', argument, `numbers, or ${argument}DType for bit patterns`, 'a Uint16Array');
    }
    return source;
  }
  const name = storageArray(storedDType, new ArrayBuffer(0))[Symbol.toStringTag];
  if (!types.isTypedArray(source) || source[Symbol.toStringTag] !== name) {
    fail('ERR_DTYPE', argument, `a ${name} of stored ${storedDType} elements`, data);
  }
  if (storedDType === 'float32') return source;
  const toValue = storedDType === 'float16' ? float16Value : bfloat16Value;
  return Float64Array.from(source, toValue);
}

/** Finite scales rounded to `dtype`, as numbers. */
export function roundScales(source: ArrayLike<number>, dtype: FloatDType, argument: string): Float64Array {
  const scales = new Float64Array(source.length);
  for (let i = 0; i < scales.length; ++i) {
    const value = source[i];
    scales[i] = roundTo(value, dtype);
    if (typeof value !== 'number' || !Number.isFinite(scales[i])) {
      fail('ERR_ARGUMENT', `${argument}[${i}]`, `a finite number that ${dtype} holds`, value);
    }
  }
  return scales;
}

function roundTo(value: number, dtype: FloatDType): number {
  if (dtype === 'float32') return Math.fround(value);
  return dtype === 'float16' ? float16Value(float16Bits(value)) : bfloat16Value(bfloat16Bits(value));
}

function checkLength(length: number, argument: string, shape: readonly number[]): void {
  const expected = shape.reduce((product, size) => product * size, 1);
  if (length !== expected) {
    throw new WarptileError(
      'ERR_SHAPE',
      `${argument}: expected ${expected} elements for [${shape}], received ${length}`,
    );
  }
}
