// Checks shared by every public entry point. All of them throw a WarptileError that names the argument.

import { fail, WarptileError } from './errors.js';
import { type DType, dtypeInfo, dtypes, type FloatDType, isDType, isFloatDType } from './tensor/dtype.js';

/** Largest element count that 32-bit indices reach. */
export const maxInt32 = 2 ** 31 - 1;

/** A plain object of options whose own keys are all known. `undefined` stands for no options. */
export function checkOptions<T extends object>(
  options: T | undefined,
  known: readonly string[],
  argument = 'options',
): T {
  if (options === undefined) return {} as T;
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    fail('ERR_ARGUMENT', argument, 'an object', options);
  }
  for (const key of Object.keys(options)) {
    if (!known.includes(key)) {
      throw new WarptileError(
        'ERR_ARGUMENT',
        `${argument}: unknown key '${key}', known keys: ${known.join(', ')}`,
      );
    }
  }
  return options;
}

/** An own property of `options`, so that a polluted prototype has no say. */
export function own<T extends object, K extends keyof T>(options: T, key: K): T[K] | undefined {
  return Object.hasOwn(options, key) ? options[key] : undefined;
}

/** A safe integer in [minimum, maximum]. */
export function checkInteger(
  value: unknown,
  argument: string,
  minimum = 0,
  maximum = Number.MAX_SAFE_INTEGER,
): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < minimum || value > maximum) {
    const range =
      maximum === Number.MAX_SAFE_INTEGER ? `of at least ${minimum}` : `from ${minimum} to ${maximum}`;
    fail('ERR_ARGUMENT', argument, `an integer ${range}`, value);
  }
  return value;
}

/** A number that is not NaN. */
export function checkNumber(value: unknown, argument: string): number {
  if (typeof value !== 'number' || Number.isNaN(value)) fail('ERR_ARGUMENT', argument, 'a number', value);
  return value;
}

/** A finite number, rounded to float32: the type in which kernels take scalars. */
export function checkScalar(value: unknown, argument: string): number {
  const rounded = typeof value === 'number' ? Math.fround(value) : Number.NaN;
  if (!Number.isFinite(rounded)) fail('ERR_ARGUMENT', argument, 'a finite number within float32', value);
  return rounded;
}

export function checkBoolean(value: unknown, argument: string): boolean {
  if (typeof value !== 'boolean') fail('ERR_ARGUMENT', argument, 'true or false', value);
  return value;
}

export function checkFunction(value: unknown, argument: string): void {
  if (typeof value !== 'function') fail('ERR_ARGUMENT', argument, 'a function', value);
}

export function checkOneOf<T extends string>(value: unknown, argument: string, allowed: readonly T[]): T {
  if (typeof value !== 'string' || !allowed.includes(value as T)) {
    fail('ERR_ARGUMENT', argument, `one of ${allowed.map((item) => `'${item}'`).join(', ')}`, value);
  }
  return value as T;
}

export function checkDType(value: unknown, argument: string): DType {
  if (!isDType(value)) fail('ERR_DTYPE', argument, `one of ${dtypes.join(', ')}`, value);
  return value;
}

export function checkFloatDType(value: unknown, argument: string): FloatDType {
  const dtype = checkDType(value, argument);
  if (!isFloatDType(dtype)) fail('ERR_DTYPE', argument, 'float32, float16 or bfloat16', value);
  return dtype;
}

/** The product of sizes; ERR_LIMIT where it is past 2^53, before anything uses it. */
export function checkedProduct(sizes: readonly number[], argument: string): number {
  let product = 1;
  for (const size of sizes) {
    product *= size;
    if (product > Number.MAX_SAFE_INTEGER) fail('ERR_LIMIT', argument, 'at most 2^53 elements', sizes);
  }
  // A zero after a huge prefix: the prefix already threw, so the order of sizes does not matter much.
  return product;
}

/** A list of non-negative integers whose product, in bytes of `dtype`, is a safe integer. */
export function checkShape(value: unknown, argument: string, dtype: DType): readonly number[] {
  if (!Array.isArray(value)) fail('ERR_SHAPE', argument, 'an array of non-negative integers', value);
  if (value.length > 16) fail('ERR_SHAPE', argument, 'at most 16 dimensions', value);
  // What is checked is what is kept: a copy, made once.
  const sizes: unknown[] = [...value];
  for (const size of sizes) {
    if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0 || Object.is(size, -0)) {
      fail('ERR_SHAPE', argument, 'an array of non-negative integers', sizes);
    }
  }
  const checked = sizes as number[];
  checkedProduct([...checked, dtypeInfo[dtype].bytes], argument);
  return Object.freeze(checked);
}
