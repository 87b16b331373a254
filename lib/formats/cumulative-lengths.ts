import type { Device, TensorOwner } from '../device/device.js';
import { fail, WarptileError } from '../errors.js';
import { checkHostData, type HostData } from '../tensor/host-data.js';
import type { Tensor } from '../tensor/tensor.js';
import { maxInt32 } from '../validate.js';

const brand = Symbol.for('warptile.CumulativeLengths');

/**
 * Where the sequences of a packed batch begin: [0, n0, n0 + n1, ...], one entry more than there are sequences. Checked once, when
 * made by `device.cumulativeLengths`, and immutable: operations that take it need not look at the numbers again.
 */
export class CumulativeLengths implements TensorOwner {
  readonly device: Device;
  /** Sequences. */
  readonly batch: number;
  /** Tokens of all sequences. */
  readonly total: number;
  /** Tokens of the longest sequence. */
  readonly longest: number;
  readonly #offsets: Tensor<'int32'>;

  /**
   * @internal `argument` names the values in errors.
   * @throws WarptileError ERR_INDEX for values that do not start at 0 or that fall, ERR_ARGUMENT for values that are no
   * list of integers, ERR_LIMIT past 2^31 - 1 tokens, ERR_OUT_OF_MEMORY.
   */
  constructor(device: Device, values: HostData, argument = 'values') {
    const offsets = checkOffsets(values, argument);
    let longest = 0;
    for (let i = 1; i < offsets.length; ++i) longest = Math.max(longest, offsets[i] - offsets[i - 1]);
    this.device = device;
    this.batch = offsets.length - 1;
    this.total = offsets[offsets.length - 1];
    this.longest = longest;
    this.#offsets = device.tensor(offsets, { dtype: 'int32' });
  }

  get [brand](): true {
    return true;
  }

  get disposed(): boolean {
    return this.#offsets.disposed;
  }

  /** Frees the device memory. Further use throws ERR_DISPOSED; disposing again does nothing. */
  dispose(): void {
    this.#offsets.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** @internal int32 [batch + 1]. Read it only: its contents are trusted. */
  get offsets(): Tensor<'int32'> {
    return this.#offsets;
  }

  /** @internal */
  ownedTensors(): readonly Tensor[] {
    return [this.#offsets];
  }

  /** @internal Throws ERR_DISPOSED when it or its device is gone, ERR_DEVICE when it lives on another device. */
  checkUsable(argument: string, device: Device): void {
    if (this.disposed) {
      throw new WarptileError('ERR_DISPOSED', `${argument}: the cumulative lengths have been disposed`);
    }
    if (this.device !== device) {
      fail('ERR_DEVICE', argument, `cumulative lengths on ${device.id}`, `some on ${this.device.id}`);
    }
  }
}

export function isCumulativeLengths(value: unknown): value is CumulativeLengths {
  return typeof value === 'object' && value !== null && brand in value;
}

/** A checked copy; each element is read once. */
function checkOffsets(values: unknown, argument: string): Int32Array {
  const source: ArrayLike<unknown> = checkHostData(values, argument);
  if (source.length === 0)
    fail('ERR_INDEX', argument, 'at least the 0 where the first sequence begins', source);
  const offsets = new Int32Array(source.length);
  let previous = 0;
  for (let i = 0; i < offsets.length; ++i) {
    const value = source[i];
    if (typeof value !== 'number' || !Number.isSafeInteger(value)) {
      fail('ERR_ARGUMENT', `${argument}[${i}]`, 'an integer', value);
    }
    if (i === 0 && value !== 0) fail('ERR_INDEX', `${argument}[0]`, '0', value);
    if (value < previous) fail('ERR_INDEX', `${argument}[${i}]`, `at least ${previous}`, value);
    if (value > maxInt32) fail('ERR_LIMIT', `${argument}[${i}]`, 'at most 2^31 - 1 tokens', value);
    previous = offsets[i] = value;
  }
  return offsets;
}
