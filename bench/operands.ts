// Operands of problems: seeded, in the dtype's own bits, kept on the host for the reference.

import { decode, encode } from '../lib/backends/reference/views.js';
import type { Device } from '../lib/device/device.js';
import { dtypeInfo, type FloatDType, type StorageArray, storageArray } from '../lib/tensor/dtype.js';
import type { Tensor } from '../lib/tensor/tensor.js';
import { Random } from '../test/harness/random.js';

// Drawing numbers costs more than uploading them: past this many (a prime, so that rows of no usual length repeat
// each other) they repeat.
export const period = 524_287;

// Problems one after another use the same operands: the last few of moderate size are kept.
const keptOperands = 8;
const mostKept = 2 ** 22;
const recent = new Map<string, Operand>();

/** Random values of a shape, on the host. Not to be changed: problems share them. */
export class Operand {
  readonly shape: readonly number[];
  readonly dtype: FloatDType;
  readonly stored: StorageArray;
  /** Past its first `period` elements it is a copy of them: quicker to draw and to decode. */
  readonly #repeats: boolean;
  #values: Float64Array | undefined;

  constructor(shape: readonly number[], dtype: FloatDType, stored: StorageArray, repeats = false) {
    this.shape = shape;
    this.dtype = dtype;
    this.stored = stored;
    this.#repeats = repeats;
  }

  /** The given numbers, rounded. */
  static of(numbers: Float64Array, dtype: FloatDType): Operand {
    const stored = storageArray(dtype, new ArrayBuffer(numbers.length * dtypeInfo[dtype].bytes));
    encode(dtype, numbers, stored);
    return new Operand([numbers.length], dtype, stored);
  }

  /** Normal values with the given deviation. */
  static normal(seed: string, shape: readonly number[], dtype: FloatDType, deviation = 1): Operand {
    return Operand.#drawn(
      `normal ${deviation} ${seed}`,
      seed,
      shape,
      dtype,
      (random) => deviation * random.normal(),
    );
  }

  /** Values spread evenly over [low, high). */
  static uniform(
    seed: string,
    shape: readonly number[],
    dtype: FloatDType,
    low: number,
    high: number,
  ): Operand {
    return Operand.#drawn(`uniform ${low} ${high} ${seed}`, seed, shape, dtype, (random) =>
      random.uniform(low, high),
    );
  }

  static #drawn(
    kind: string,
    seed: string,
    shape: readonly number[],
    dtype: FloatDType,
    next: (random: Random) => number,
  ): Operand {
    const key = `${kind} ${shape} ${dtype}`;
    const known = recent.get(key);
    if (known !== undefined) return known;
    const made = Operand.#draw(seed, shape, dtype, next);
    if (made.stored.length > mostKept) return made;
    recent.set(key, made);
    const [oldest] = recent.keys();
    if (recent.size > keptOperands) recent.delete(oldest);
    return made;
  }

  static #draw(
    seed: string,
    shape: readonly number[],
    dtype: FloatDType,
    next: (random: Random) => number,
  ): Operand {
    const size = shape.reduce((product, extent) => product * extent, 1);
    const stored = storageArray(dtype, new ArrayBuffer(size * dtypeInfo[dtype].bytes));
    const random = new Random(seed);
    const numbers = new Float64Array(Math.min(size, period));
    for (let i = 0; i < numbers.length; ++i) numbers[i] = next(random);
    encode(dtype, numbers, stored.subarray(0, numbers.length));
    repeatFrom(stored, numbers.length);
    return new Operand(shape, dtype, stored, size > period);
  }

  /** The stored values, exactly. */
  get values(): Float64Array {
    this.#values ??= this.#decoded();
    return this.#values;
  }

  #decoded(): Float64Array {
    if (!this.#repeats) return decode(this.dtype, this.stored);
    const values = new Float64Array(this.stored.length);
    values.set(decode(this.dtype, this.stored.subarray(0, period)));
    repeatFrom(values, period);
    return values;
  }

  get bytes(): number {
    return this.stored.byteLength;
  }

  /** The given rows of [rows, length], one after another, exactly. */
  rows(rows: readonly number[]): Float64Array {
    const length = this.stored.length / this.shape[0];
    const chosen = storageArray(
      this.dtype,
      new ArrayBuffer(rows.length * length * dtypeInfo[this.dtype].bytes),
    );
    rows.forEach((row, index) => {
      chosen.set(this.stored.subarray(row * length, (row + 1) * length), index * length);
    });
    return decode(this.dtype, chosen);
  }

  /** The elements at the given places, exactly. */
  elements(indices: ArrayLike<number>): Float64Array {
    const chosen = storageArray(this.dtype, new ArrayBuffer(indices.length * dtypeInfo[this.dtype].bytes));
    for (let i = 0; i < indices.length; ++i) chosen[i] = this.stored[indices[i]];
    return decode(this.dtype, chosen);
  }

  on<D extends FloatDType>(device: Device): Tensor<D> {
    return device.tensor(this.stored, { shape: this.shape, dtype: this.dtype as D, raw: true });
  }
}

/** Fills an array with copies of its first elements. */
export function repeatFrom(array: StorageArray | Float64Array, first: number): void {
  const size = array.length;
  for (let filled = first; filled > 0 && filled < size; filled *= 2) {
    array.copyWithin(filled, 0, Math.min(filled, size - filled));
  }
}
