import type { Device } from '../../lib/device/device.js';
import { dtypeInfo, type StorageArray, storageArray } from '../../lib/tensor/dtype.js';
import type { Tensor } from '../../lib/tensor/tensor.js';
import type { Fill, OperationCase, OutputSpec } from './case.js';
import { type Comparison, compare } from './compare.js';
import { Random } from './random.js';

// Each output lies between guards of this many bytes, which a write out of bounds would change.
const guardBytes = 512;
const guardValue = 0xa5;
// As float16, bfloat16 and float32 alike, all-ones bytes are NaN.
const poisonValue = 0xff;

export interface CaseReport {
  readonly operation: string;
  readonly name: string;
  readonly fill: Fill;
  readonly failures: readonly string[];
  /** One for each output. */
  readonly comparisons: readonly Comparison[];
}

/** Runs one case with one fill on `device` and checks all that DESIGN asks: values, guards, inputs, repeatability. */
export async function runCase(device: Device, operationCase: OperationCase, fill: Fill): Promise<CaseReport> {
  const { operation, name } = operationCase;
  const failures: string[] = [];
  const prepared = operationCase.prepare(fill, new Random(`${operation} ${name} ${fill}`));
  const owned: Tensor[] = [];
  const scope = device.tidy(() => {
    const bound = prepared.bind(device);
    const guarded = prepared.outputs.map((spec) => new GuardedOutput(device, spec));
    owned.push(...bound.inputs, ...guarded.flatMap((output) => output.tensors));
    // tidy keeps what it returns: everything the rest of this function reads.
    return { bound, guarded, owned: [...owned] };
  });
  const { bound, guarded } = scope;
  const outputs = guarded.map((output) => output.tensor);
  const before = await Promise.all(bound.inputs.map((tensor) => tensor.rawData()));
  device.tidy(() => bound.run(outputs));
  const first = await Promise.all(outputs.map((tensor) => tensor.rawData()));
  for (const output of guarded) failures.push(...(await output.check()));
  for (const output of guarded) output.reset();
  device.tidy(() => bound.run(outputs));
  const second = await Promise.all(outputs.map((tensor) => tensor.rawData()));
  const after = await Promise.all(bound.inputs.map((tensor) => tensor.rawData()));
  before.forEach((bytes, index) => {
    if (!sameBits(bytes, after[index])) failures.push(`input ${index} was changed`);
  });
  const expected = prepared.expected();
  const comparisons = prepared.outputs.map((spec, index) => {
    if (!sameBits(first[index], second[index])) failures.push(`${spec.name}: a second run gave other bits`);
    const comparison = compare(
      spec.dtype,
      first[index],
      expected[index],
      expected[index].inexact ? 'random' : fill,
    );
    if (comparison.mismatches > 0) {
      failures.push(
        `${spec.name}: ${comparison.mismatches} of ${first[index].length} wrong, ${comparison.first}`,
      );
    }
    return comparison;
  });
  for (const tensor of new Set(owned)) tensor.dispose();
  return { operation, name, fill, failures, comparisons };
}

/** An output inside a larger allocation, with guards before and after. */
class GuardedOutput {
  readonly tensor: Tensor;
  readonly tensors: readonly Tensor[];
  readonly #whole: Tensor;
  readonly #spec: OutputSpec;
  readonly #contents: Uint8Array;

  constructor(device: Device, spec: OutputSpec) {
    this.#spec = spec;
    const { bytes } = dtypeInfo[spec.dtype];
    const size = spec.shape.reduce((product, dimension) => product * dimension, 1);
    const guard = guardBytes / bytes;
    this.#contents = new Uint8Array(size * bytes + 2 * guardBytes).fill(guardValue);
    const inside = this.#contents.subarray(guardBytes, guardBytes + size * bytes);
    if (spec.initial === undefined) inside.fill(poisonValue);
    else inside.set(new Uint8Array(spec.initial.buffer, spec.initial.byteOffset, spec.initial.byteLength));
    this.#whole = device.tensor(storageArray(spec.dtype, this.#contents.buffer as ArrayBuffer), {
      dtype: spec.dtype,
      raw: true,
    });
    const flat = this.#whole.slice(guard, guard + size);
    this.tensor = flat.reshape(spec.shape);
    this.tensors = [this.#whole, flat, this.tensor];
  }

  /** Restores the contents from before the run. */
  reset(): void {
    const { buffer } = this.#whole.view;
    this.#whole.device.backend.upload(buffer, 0, this.#contents);
  }

  async check(): Promise<string[]> {
    const stored = await this.#whole.rawData();
    const bytes = new Uint8Array(stored.buffer);
    const intact = (part: Uint8Array): boolean => part.every((byte) => byte === guardValue);
    const failures: string[] = [];
    if (!intact(bytes.subarray(0, guardBytes))) failures.push(`${this.#spec.name}: wrote before its start`);
    if (!intact(bytes.subarray(bytes.length - guardBytes)))
      failures.push(`${this.#spec.name}: wrote past its end`);
    return failures;
  }
}

function sameBits(a: StorageArray, b: StorageArray): boolean {
  return Buffer.from(a.buffer, a.byteOffset, a.byteLength).equals(
    Buffer.from(b.buffer, b.byteOffset, b.byteLength),
  );
}
