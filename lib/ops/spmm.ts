import type { View } from '../backends/backend.js';
import {
  type RowBinsCall,
  type SpmmCall,
  type SpmmPlan,
  type SpmmVariant,
  spmmVariants,
} from '../backends/calls/spmm.js';
import { fail, WarptileError } from '../errors.js';
import { farBytes, featuresOf } from '../formats/prepare-spmm.js';
import { checkSparseMatrix, type SparseMatrix } from '../formats/sparse-matrix.js';
import type { Topology } from '../formats/topology.js';
import { transposedMatrix } from '../formats/transposed-copy.js';
import { type Explanation, explain } from '../planning/choice.js';
import { planDevice } from '../planning/plan-device.js';
import { dtypeInfo, type FloatDType } from '../tensor/dtype.js';
import { checkNoOverlap, checkTensor, checkTensorLike, type Tensor } from '../tensor/tensor.js';
import { checkBoolean, checkOneOf, checkOptions, checkScalar, own } from '../validate.js';
import { type ColumnRange, checkColumnRange, columnsApart, lastDimension, viewFrom } from './column-range.js';
import { batchOf, checkDense, commonBatch } from './sparse-operands.js';
import { describePlan, type SpmmFeatures, selectSpmm } from './spmm-plan.js';
import { tunedSpmmPlan } from './spmm-tuned.js';

export interface SpmmOptions<D extends FloatDType = FloatDType> {
  /** C, written, and read where `beta` is not 0: [m, n], or [batch, m, n] where `a` or `b` is batched. */
  out?: Tensor<D>;
  /** Factor of A B, rounded to float32. Default 1. */
  alpha?: number;
  /** Factor of what `out` held before, rounded to float32. 0, the default, never reads it. */
  beta?: number;
  /**
   * Multiplies by the transpose of A: C = alpha Aᵀ B + beta C for a [k, m]. A transposed copy of the values is kept with `a` and made
   * anew after they were written to; its pattern is built by the first call, which waits for the device. Default false.
   */
  transposeA?: boolean;
  /** Takes these columns of `b`, from the first to before the last, as B. Default: all. */
  bColumns?: ColumnRange;
  /** Takes these columns of `out` as C; the others are neither read nor written. Default: all. */
  outColumns?: ColumnRange;
  /**
   * Runs this variant instead of the one that is expected to be fastest: for tests and measurements. ERR_UNSUPPORTED where the
   * problem, the device or the lack of a prepared copy rules it out. Default 'auto'.
   */
  variant?: SpmmVariant | 'auto';
}

/** What `spmm` would run, and why. */
export type SpmmExplanation = Explanation<SpmmVariant>;

const optionKeys = ['out', 'alpha', 'beta', 'transposeA', 'bColumns', 'outColumns', 'variant'];

/**
 * C = alpha A B + beta C for a sparse A [m, k] in CSR or blocks, and a dense B [k, n]. B may be batched ([batch, k, n]), A may have
 * a batch of values over its pattern, or both: what has no batch is shared. All of one float dtype; sums in float32.
 *
 * Empty rows give beta C. Stored zeros are multiplied as IEEE arithmetic has it (0 * NaN is NaN); what is not stored is
 * never read.
 * @returns `out`, or a new tensor. Enqueues and returns at once.
 * @throws WarptileError ERR_SHAPE, ERR_DTYPE, ERR_DEVICE, ERR_DISPOSED, ERR_ARGUMENT (unknown option, scalar that is not finite,
 * `beta` or `outColumns` without `out`, `out` sharing memory with an input, but for columns of one tensor that are apart),
 * ERR_OUT_OF_MEMORY, ERR_UNSUPPORTED (`variant`; the first `transposeA` inside a capture).
 * @see Gale, Zaharia, Young, Elsen, "Sparse GPU Kernels for Deep Learning" (2020), for the row-split kernel.
 */
export function spmm<D extends FloatDType>(
  a: SparseMatrix<D>,
  b: Tensor<D>,
  options?: SpmmOptions<D>,
): Tensor<D> {
  const checked = checkOptions(options, optionKeys);
  const matrix = checkSparseMatrix(a, 'a') as SparseMatrix<D>;
  const { device, dtype, pattern } = matrix;
  const transposeA = checkBoolean(own(checked, 'transposeA') ?? false, 'transposeA');
  const dense = checkTensor(b, 'b', device) as Tensor<D>;
  checkDense(dense, 'b', dtype, transposeA ? pattern.rows : pattern.columns, undefined);
  const bColumns = own(checked, 'bColumns');
  const bRange = bColumns === undefined ? undefined : checkColumnRange(bColumns, 'bColumns', dense);
  const alpha = checkScalar(own(checked, 'alpha') ?? 1, 'alpha');
  const beta = checkScalar(own(checked, 'beta') ?? 0, 'beta');
  const variant = own(checked, 'variant') ?? 'auto';
  if (variant !== 'auto') checkOneOf(variant, 'variant', ['auto', ...spmmVariants]);
  const rows = transposeA ? pattern.columns : pattern.rows;
  const width = bRange === undefined ? lastDimension(dense) : bRange[1] - bRange[0];
  const batch = commonBatch(matrix.batch, batchOf(dense), 'b');
  const given = own(checked, 'out');
  const outColumns = own(checked, 'outColumns');
  const outRange = outColumns === undefined ? undefined : checkOutColumns(outColumns, given, batch, width);
  const wide = outRange === undefined ? width : lastDimension(given as Tensor);
  const shape = batch === undefined ? [rows, wide] : [batch, rows, wide];
  let out: Tensor<D>;
  if (given === undefined) {
    if (beta !== 0)
      throw new WarptileError('ERR_ARGUMENT', 'beta: expected 0 without out, received another factor');
    out = device.empty(shape, dtype);
  } else {
    out = checkTensorLike(given, 'out', device, shape, dtype);
    if (bRange === undefined || outRange === undefined || !columnsApart(out, outRange, dense, bRange)) {
      checkNoOverlap(out, dense, 'b');
    }
    checkNoOverlap(out, matrix.values, 'the values of a');
  }
  try {
    const operand = transposeA ? transposedMatrix(matrix) : matrix;
    const columns =
      bRange === undefined && outRange === undefined
        ? undefined
        : { width, b: bRange?.[0] ?? 0, out: outRange?.[0] ?? 0 };
    device.backend.operations.spmm(spmmCall(operand, dense, out, alpha, beta, variant, columns));
  } catch (error) {
    if (given === undefined) out.dispose();
    throw error;
  }
  return out;
}

/** The columns of `out` that are C; what else is wrong with `out` is found later. */
function checkOutColumns(
  value: unknown,
  out: unknown,
  batch: number | undefined,
  width: number,
): ColumnRange {
  if (out === undefined) {
    throw new WarptileError('ERR_ARGUMENT', 'outColumns: expected none without out, received a range');
  }
  const tensor = checkTensor(out, 'out');
  const rank = batch === undefined ? 2 : 3;
  if (tensor.shape.length !== rank) fail('ERR_SHAPE', 'out', `${rank} dimensions`, tensor.shape);
  const range = checkColumnRange(value, 'outColumns', tensor);
  if (range[1] - range[0] !== width) fail('ERR_SHAPE', 'outColumns', `${width} columns`, value);
  return range;
}

/**
 * What `spmm(a, b, options)` would run on this device, without running it, for an `out` whose rows begin where B's do. With
 * `transposeA` the first call builds the transposed copy, as `spmm` does.
 * @throws WarptileError as `spmm`.
 */
export function explainSpmm<D extends FloatDType>(
  a: SparseMatrix<D>,
  b: Tensor<D>,
  options?: Pick<SpmmOptions<D>, 'transposeA' | 'bColumns'>,
): SpmmExplanation {
  const { matrix, features } = spmmProblem(a, b, options);
  return explain(
    selectSpmm(features, planDevice(matrix.device)),
    tunedSpmmPlan(features, matrix.device),
    describePlan,
  );
}

/** Checked operands without an `out`. */
export interface SpmmProblem<D extends FloatDType = FloatDType> {
  /** A, or the transposed copy that is kept with it. */
  readonly matrix: SparseMatrix<D>;
  readonly transposeA: boolean;
  readonly dense: Tensor<D>;
  /** First column of B. */
  readonly start: number;
  readonly batch: number | undefined;
  readonly features: SpmmFeatures;
}

/** @internal */
export function spmmProblem<D extends FloatDType>(
  a: SparseMatrix<D>,
  b: Tensor<D>,
  options: Pick<SpmmOptions<D>, 'transposeA' | 'bColumns'> | undefined,
): SpmmProblem<D> {
  const checked = checkOptions(options, ['transposeA', 'bColumns']);
  const given = checkSparseMatrix(a, 'a') as SparseMatrix<D>;
  const transposeA = checkBoolean(own(checked, 'transposeA') ?? false, 'transposeA');
  const dense = checkTensor(b, 'b', given.device) as Tensor<D>;
  const { pattern, dtype } = given;
  checkDense(dense, 'b', dtype, transposeA ? pattern.rows : pattern.columns, undefined);
  const bColumns = own(checked, 'bColumns');
  const all: ColumnRange = [0, lastDimension(dense)];
  const [start, end] = bColumns === undefined ? all : checkColumnRange(bColumns, 'bColumns', dense);
  const batch = commonBatch(given.batch, batchOf(dense), 'b');
  const matrix = transposeA ? transposedMatrix(given) : given;
  const { byteOffset } = viewFrom(dense, start);
  const rowBytes = lastDimension(dense) * dtypeInfo[dtype].bytes;
  const alignment = alignmentOf(byteOffset | rowBytes);
  const features = featuresFor(matrix, end - start, batch ?? 1, alignment, rowBytes >= farBytes);
  return { matrix, transposeA, dense, start, batch, features };
}

/** The largest power of two that divides all offsets, of 16 bytes at most: more makes no difference to a kernel. */
function alignmentOf(offsets: number): number {
  const bits = offsets | 16;
  return bits & -bits;
}

/** The copies of the values that are up to date. */
function freshCopies({ values: { tiles, strips } }: SparseMatrix): Pick<Tensor, 'tiles' | 'strips'> {
  return { tiles: tiles?.fresh ? tiles : undefined, strips: strips?.fresh ? strips : undefined };
}

function featuresFor(
  matrix: SparseMatrix,
  width: number,
  batch: number,
  alignment: number,
  farRows: boolean,
): SpmmFeatures {
  const features = featuresOf(matrix, width);
  const { tiles, strips } = freshCopies(matrix);
  features.batch = batch;
  features.farRows = farRows;
  features.vectors &&= alignment === 16;
  features.pairs &&= alignment >= 2 * dtypeInfo[matrix.dtype].bytes;
  features.tiles = tiles?.shares;
  features.strips = strips?.widths.has(width) ? { ...strips.shares, chosen: true } : strips?.shares;
  return features;
}

/** The plan for a problem; the last one of a matrix is remembered, since calls mostly repeat. */
function planFor(
  a: SparseMatrix,
  width: number,
  batch: number,
  alignment: number,
  farRows: boolean,
  variant: SpmmVariant | 'auto',
): SpmmPlan {
  const { tiles, strips } = freshCopies(a);
  const last = a.lastPlan;
  const revision = a.device.autotune?.revision;
  if (
    last !== undefined &&
    last.width === width &&
    last.batch === batch &&
    last.alignment === alignment &&
    last.farRows === farRows &&
    last.tiles === tiles &&
    last.strips === strips &&
    last.variant === variant &&
    last.revision === revision
  ) {
    return last.plan;
  }
  const features = featuresFor(a, width, batch, alignment, farRows);
  const tuned = variant === 'auto' ? tunedSpmmPlan(features, a.device) : undefined;
  const forced = variant === 'auto' ? undefined : variant;
  const plan = tuned?.plan ?? selectSpmm(features, planDevice(a.device), forced).plan;
  a.lastPlan = { width, batch, alignment, farRows, tiles, strips, variant, revision, plan };
  return plan;
}

/** Columns of B and C, and where they begin in `b` and `out`. */
export interface UsedColumns {
  readonly width: number;
  readonly b: number;
  readonly out: number;
}

/** @internal The call for operands that fit: what the benchmark hands to peers. */
export function spmmCall(
  a: SparseMatrix,
  b: Tensor,
  out: Tensor,
  alpha: number,
  beta: number,
  variant: SpmmVariant | 'auto' = 'auto',
  columns?: UsedColumns,
): SpmmCall {
  const { pattern, bins, topology } = a;
  const [ldb, ldc] = [lastDimension(b), lastDimension(out)];
  const width = columns === undefined ? ldb : columns.width;
  const bView = columns === undefined ? b.view : viewFrom(b, columns.b);
  const outView = columns === undefined ? out.view : viewFrom(out, columns.out);
  const batch = out.shape.length === 3 ? out.shape[0] : 1;
  // Every row of B and C begins where its first does, modulo the bytes of a vector.
  const strides = (ldb | ldc) * dtypeInfo[a.dtype].bytes;
  const alignment = alignmentOf(bView.byteOffset | outView.byteOffset | strides);
  const farRows = ldb * dtypeInfo[a.dtype].bytes >= farBytes;
  const plan = planFor(a, width, batch, alignment, farRows, variant);
  const tiles = plan.variant === 'tiles' ? a.values.tiles : undefined;
  if (tiles !== undefined) a.device.uses(tiles);
  const strips = plan.variant === 'strips' ? a.values.strips : undefined;
  if (strips !== undefined) a.device.uses(strips);
  return {
    dtype: a.dtype,
    pattern,
    width,
    batch,
    values: a.values.view,
    valuesStride: a.batch === undefined ? 0 : a.nnz,
    b: bView,
    ldb,
    bStride: b.shape.length === 3 ? pattern.columns * ldb : 0,
    c: outView,
    ldc,
    cStride: pattern.rows * ldc,
    alpha,
    beta,
    plan,
    bins: tableOf(plan, topology, bins),
    tiles: tiles?.call,
    strips: strips?.call,
  };
}

/** @internal The table that a plan needs. */
export function tableOf(
  { variant, lanes }: SpmmPlan,
  { bins, stored }: Topology,
  tensor: Tensor | undefined,
): RowBinsCall | undefined {
  if (bins === undefined || tensor === undefined) return undefined;
  const part = (at: number, elements: number): View => {
    const { buffer, byteOffset, dtype } = tensor.view;
    return { buffer, byteOffset: byteOffset + 4 * at, elements, dtype };
  };
  if (variant === 'row-bins') {
    const { items, segments, longRows } = bins;
    return { items, segments, longRows, table: part(0, 4 * items + 3 * longRows), steps: undefined };
  }
  if (variant !== 'stream') return undefined;
  const { items, segments, longRows, at } = lanes === 1 ? bins.column : bins.stream;
  const steps = lanes === 1 ? undefined : part(bins.stepsAt, Math.ceil(stored / 4));
  return { items, segments, longRows, table: part(at, 4 * items + 3 * longRows), steps };
}
