// What an operation brings to the benchmark: a list of problems and, for each, its operands, its compulsory work, a
// reference for sampled rows, and peers. Everything else (timing, checks, tables, JSON) is shared.

import type { AbsentPeer, PreparedPeer } from '../lib/backends/backend.js';
import type { Device } from '../lib/device/device.js';
import type { FloatDType } from '../lib/tensor/dtype.js';
import type { Tensor } from '../lib/tensor/tensor.js';
import type { Expectation } from './expectation.js';
import type { NamedMatrix } from './matrices.js';
import type { Row } from './report.js';
import type { TorchProblem } from './torch.js';

/** What the runner asks the families for. */
export interface ProblemContext {
  /** Sizes that suit a processor or a GPU. */
  readonly kind: 'cpu' | 'cuda';
  /** One or two problems a family. */
  readonly quick: boolean;
  /** Every problem that the goals speak of. */
  readonly full: boolean;
  readonly dtypes: readonly FloatDType[];
  /** The sizes asked for by --n, or the family's own. */
  sizes(defaults: readonly number[]): readonly number[];
  readonly matrices: readonly NamedMatrix[];
}

/** The work that no implementation can do without: what the roofline is drawn from. */
export interface Work {
  /** Bytes to read once and write once. */
  readonly bytes: number;
  readonly flops: number;
}

/** One row of the table. A description only: operands are made by `bind`. */
export interface Problem {
  readonly operation: string;
  readonly name: string;
  readonly dtype: FloatDType;
  /** The size that --n sets: columns, batch rows, or sequence length. */
  readonly n: number;
  readonly work: Work;
  /** The same for PyTorch, where its script knows the operation. */
  readonly torch?: TorchProblem;
  /** What the summary puts together. */
  readonly group?: string;
  /** Share of stored elements of a sparse operand. */
  readonly density?: number;
  bind(device: Device): BoundProblem;
}

/** Microseconds on the host's clock: a median of several, and those of the first one, of which no cache held anything. */
export type Preparation = Required<Pick<Row, 'prepareUs' | 'firstPrepareUs'>>;

export interface BoundProblem {
  /** Written by `run`. Its rows are checked against the reference on samples. */
  readonly output: Tensor;
  readonly rows: number;
  /** Where a row starts in the flat output, rows + 1 of them; default: rows of equal length. */
  readonly rowStarts?: ArrayLike<number>;
  /** Where the elements of the given rows lie in the flat output, where rows are not contiguous in it. */
  elements?(rows: readonly number[]): ArrayLike<number>;
  /** Rows to check where the reference takes long for one. */
  readonly samples?: number;
  /** Enqueues the operation, into `output`, allocating nothing. */
  run(): void;
  /** The given rows one after another, before rounding, and how far each element may be off. */
  reference(rows: readonly number[]): Expectation;
  /** Measures the likely plans and remembers the fastest with the device, which was opened with `autotune`. */
  tune?(): Promise<unknown>;
  /** What the operation chooses to run, now. */
  readonly variant?: string;
  /** What building ahead of the first call what the operation runs on took. */
  readonly preparation?: Preparation | undefined;
  /** Peers named 'library variant': of one library the fastest counts. They write into `output`, and are checked as `run` is. */
  peers?(): readonly (PreparedPeer | AbsentPeer)[];
  dispose(): void;
}

/** A list of problems of one operation. */
export interface Family {
  readonly operation: string;
  problems(context: ProblemContext): Iterable<Problem>;
}
