import { type DType, dtypeInfo } from '../../tensor/dtype.js';
import type { View } from '../backend.js';

/**
 * Marshals one operation's arguments for the addon, as doubles in a fixed order: integers up to
 * 2^53 and device buffers (as id and byte offset) pass exactly, and the addon reads them without a
 * property look-up. cuda/addon/<op>.cc reads the same order back through `CommandReader`, which checks
 * every value, every buffer's bounds and that nothing is left over.
 */
export class CommandWriter {
  readonly #words = new Float64Array(256);
  #length = 0;

  begin(): this {
    this.#length = 0;
    return this;
  }

  /** An integer, exact up to 2^53, or any float. */
  number(value: number): this {
    this.#words[this.#length++] = value;
    return this;
  }

  numbers(values: readonly number[]): this {
    for (const value of values) this.#words[this.#length++] = value;
    return this;
  }

  flag(value: boolean): this {
    this.#words[this.#length++] = value ? 1 : 0;
    return this;
  }

  dtype(value: DType): this {
    this.#words[this.#length++] = dtypeInfo[value].code;
    return this;
  }

  /** A buffer position; `undefined` passes the null id 0. */
  view(view: View | undefined): this {
    this.#words[this.#length++] = view === undefined ? 0 : view.buffer.id;
    this.#words[this.#length++] = view === undefined ? 0 : view.byteOffset;
    return this;
  }

  get words(): Float64Array {
    return this.#words;
  }

  get length(): number {
    return this.#length;
  }
}
