import type { Device } from '../../lib/device/device.js';
import type { CardNeeds } from '../../lib/planning/plan-device.js';
import type { DType, FloatDType, StorageArray } from '../../lib/tensor/dtype.js';
import type { Tensor } from '../../lib/tensor/tensor.js';
import type { Random } from './random.js';

/**
 * How inputs are drawn. 'exact': small integers, such that every product, partial sum and result is representable
 * in the dtypes involved, so any order of summation gives the same bits. 'random': seeded reals.
 */
export type Fill = 'exact' | 'random';

/** One problem of one operation: shared by the test suite, `warptile check` and, by its name, filters. */
export interface OperationCase {
  /** The public name: 'spmm', 'attention', ... */
  readonly operation: string;
  /** Unique within the operation: 'csr m=64 k=33 n=7 density=0.1 alpha=2 float16'. */
  readonly name: string;
  /** The dtype the numbers are in. */
  readonly dtype: FloatDType;
  /** Small enough for a run under compute-sanitizer, and together covering every kernel: about 20 an operation. */
  readonly reduced?: boolean;
  /** What the kernel needs that it forces, where not every card has that. Elsewhere the case is left out, and counted as such. */
  readonly needs?: CardNeeds | undefined;
  /** Fills that apply; default both. A case of NaN and Infinity may have only 'exact'. */
  readonly fills?: readonly Fill[];
  /** Draws the inputs on the host. Deterministic in `random`. */
  prepare(fill: Fill, random: Random): PreparedCase;
}

export interface OutputSpec {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: DType;
  /** Contents before the run, for outputs that are read (beta != 0). Without it the harness poisons the output with NaN. */
  readonly initial?: StorageArray;
}

export interface PreparedCase {
  readonly outputs: readonly OutputSpec[];
  /** Uploads the inputs. */
  bind(device: Device): BoundCase;
  /** What each output must be, in the order of `outputs`. */
  expected(): readonly Expected[];
}

export interface BoundCase {
  /** Every tensor that the operation reads: the harness proves them unchanged. */
  readonly inputs: readonly Tensor[];
  /** Enqueues the operation, writing into `outputs`. */
  run(outputs: readonly Tensor[]): void;
}

export interface Expected {
  /** The reference in float64, before rounding to the output's dtype. */
  readonly values: Float64Array;
  /**
   * Largest allowed |output - value| for each element of the random fill, the output's rounding included:
   * u_out |y| + c (n + splits) u_acc sum |a b|. See `errorBound`.
   */
  readonly bound: Float64Array;
  /** No input makes this output exact (a logarithm): the bound holds in the exact fill too. Default false. */
  readonly inexact?: boolean;
}
