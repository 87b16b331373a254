import {
  type SegmentsCall,
  type SpmmCall,
  type SpmmPlan,
  type SpmmVariant,
  spmmVariants,
} from '../backends/calls/spmm.js';
import { WarptileError } from '../errors.js';
import { featuresOf } from '../formats/prepare-spmm.js';
import { checkSparseMatrix, type SparseMatrix } from '../formats/sparse-matrix.js';
import type { Topology } from '../formats/topology.js';
import type { FloatDType } from '../tensor/dtype.js';
import { checkNoOverlap, checkTensor, checkTensorLike, type Tensor } from '../tensor/tensor.js';
import { checkOneOf, checkOptions, checkScalar, own } from '../validate.js';
import { batchOf, checkDense, commonBatch } from './sparse-operands.js';
import { describePlan, planDevice, type SpmmCandidate, type SpmmFeatures, selectSpmm } from './spmm-plan.js';

export interface SpmmOptions<D extends FloatDType = FloatDType> {
  /** C, written, and read where `beta` is not 0: [m, n], or [batch, m, n] where `a` or `b` is batched. */
  out?: Tensor<D>;
  /** Factor of A B, rounded to float32. Default 1. */
  alpha?: number;
  /** Factor of what `out` held before, rounded to float32. 0, the default, never reads it. */
  beta?: number;
  /**
   * Runs this variant instead of the one that is expected to be fastest: for tests and measurements. ERR_UNSUPPORTED where the
   * problem, the device or the lack of a prepared copy rules it out. Default 'auto'.
   */
  variant?: SpmmVariant | 'auto';
}

/** What `spmm` would run, and why. */
export interface SpmmExplanation {
  readonly variant: SpmmVariant;
  /** 'lanes 8, splits 4, warps 8', ... */
  readonly parameters: string;
  readonly reason: string;
  /** Every variant: its expected microseconds and parameters, or the problem that rules it out. */
  readonly candidates: readonly SpmmCandidate[];
}

const optionKeys = ['out', 'alpha', 'beta', 'variant'];

/**
 * C = alpha A B + beta C for a sparse A [m, k] in CSR or blocks, and a dense B [k, n]. B may be batched ([batch, k, n]), A may have
 * a batch of values over its pattern, or both: what has no batch is shared. All of one float dtype; sums in float32.
 *
 * Empty rows give beta C. Stored zeros are multiplied as IEEE arithmetic has it (0 * NaN is NaN); what is not stored is
 * never read.
 * @returns `out`, or a new tensor. Enqueues and returns at once.
 * @throws WarptileError ERR_SHAPE, ERR_DTYPE, ERR_DEVICE, ERR_DISPOSED, ERR_ARGUMENT (unknown option, scalar that is not finite,
 * `beta` without `out`, `out` sharing memory with an input), ERR_OUT_OF_MEMORY, ERR_UNSUPPORTED (`variant`).
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
  const dense = checkTensor(b, 'b', device) as Tensor<D>;
  checkDense(dense, 'b', dtype, pattern.columns, undefined);
  const alpha = checkScalar(own(checked, 'alpha') ?? 1, 'alpha');
  const beta = checkScalar(own(checked, 'beta') ?? 0, 'beta');
  const variant = own(checked, 'variant') ?? 'auto';
  if (variant !== 'auto') checkOneOf(variant, 'variant', ['auto', ...spmmVariants]);
  const { rows } = pattern;
  const width = dense.shape[dense.shape.length - 1];
  const batch = commonBatch(matrix.batch, batchOf(dense), 'b');
  const shape = batch === undefined ? [rows, width] : [batch, rows, width];
  const given = own(checked, 'out');
  let out: Tensor<D>;
  if (given === undefined) {
    if (beta !== 0)
      throw new WarptileError('ERR_ARGUMENT', 'beta: expected 0 without out, received another factor');
    out = device.empty(shape, dtype);
  } else {
    out = checkTensorLike(given, 'out', device, shape, dtype);
    checkNoOverlap(out, dense, 'b');
    checkNoOverlap(out, matrix.values, 'the values of a');
  }
  try {
    device.backend.operations.spmm(spmmCall(matrix, dense, out, alpha, beta, variant));
  } catch (error) {
    if (given === undefined) out.dispose();
    throw error;
  }
  return out;
}

/**
 * What `spmm(a, b)` would run on this device, without running it.
 * @throws WarptileError as `spmm`.
 */
export function explainSpmm<D extends FloatDType>(a: SparseMatrix<D>, b: Tensor<D>): SpmmExplanation {
  const matrix = checkSparseMatrix(a, 'a');
  const dense = checkTensor(b, 'b', matrix.device);
  checkDense(dense, 'b', matrix.dtype, matrix.pattern.columns, undefined);
  const width = dense.shape[dense.shape.length - 1];
  const batch = commonBatch(matrix.batch, batchOf(dense), 'b') ?? 1;
  const features = featuresFor(matrix, width, batch, dense.view.byteOffset % vectorBytes === 0);
  const { plan, candidates } = selectSpmm(features, planDevice(matrix.device));
  const chosen = candidates.find((candidate) => candidate.variant === plan.variant);
  const others = candidates.filter((candidate) => candidate !== chosen);
  const compared = others.map(
    ({ variant, us, problem }) => `${variant}: ${problem ?? `${us?.toFixed(1)} us`}`,
  );
  return {
    variant: plan.variant,
    parameters: describePlan(plan),
    reason: Number.isFinite(chosen?.us)
      ? `expected to take ${chosen?.us?.toFixed(1)} us, the least; ${compared.join('; ')}`
      : `the only one for this matrix; ${compared.join('; ')}`,
    candidates,
  };
}

const vectorBytes = 16;

function featuresFor(matrix: SparseMatrix, width: number, batch: number, aligned: boolean): SpmmFeatures {
  const features = featuresOf(matrix, width);
  const held = matrix.values.tiles;
  return {
    ...features,
    batch,
    vectors: features.vectors && aligned,
    tiles: held?.fresh ? held : undefined,
  };
}

/** The plan for a problem; the last one of a matrix is remembered, since calls mostly repeat. */
function planFor(
  a: SparseMatrix,
  b: Tensor,
  out: Tensor,
  batch: number,
  variant: SpmmVariant | 'auto',
): SpmmPlan {
  const width = b.shape[b.shape.length - 1];
  const aligned = (b.view.byteOffset | out.view.byteOffset) % vectorBytes === 0;
  const held = a.values.tiles;
  const tiles = held?.fresh ? held : undefined;
  const last = a.lastPlan;
  if (
    last !== undefined &&
    last.width === width &&
    last.batch === batch &&
    last.aligned === aligned &&
    last.tiles === tiles &&
    last.variant === variant
  ) {
    return last.plan;
  }
  const features = featuresFor(a, width, batch, aligned);
  const { plan } = selectSpmm(features, planDevice(a.device), variant === 'auto' ? undefined : variant);
  a.lastPlan = { width, batch, aligned, tiles, variant, plan };
  return plan;
}

/** @internal The call for operands that fit: what the benchmark hands to peers. */
export function spmmCall(
  a: SparseMatrix,
  b: Tensor,
  out: Tensor,
  alpha: number,
  beta: number,
  variant: SpmmVariant | 'auto' = 'auto',
): SpmmCall {
  const { pattern, segments, topology } = a;
  const width = b.shape[b.shape.length - 1];
  const batch = out.shape.length === 3 ? out.shape[0] : 1;
  const plan = planFor(a, b, out, batch, variant);
  const tiles = plan.variant === 'tiles' ? a.values.tiles : undefined;
  if (tiles !== undefined) a.device.uses(tiles);
  return {
    dtype: a.dtype,
    pattern,
    width,
    batch,
    values: a.values.view,
    valuesStride: a.batch === undefined ? 0 : a.nnz,
    b: b.view,
    ldb: width,
    bStride: b.shape.length === 3 ? pattern.columns * width : 0,
    c: out.view,
    ldc: width,
    cStride: pattern.rows * width,
    alpha,
    beta,
    plan,
    segments: segments === undefined ? undefined : segmentsCall(topology, segments),
    tiles: tiles?.call,
  };
}

function segmentsCall({ segments }: Topology, table: Tensor): SegmentsCall | undefined {
  if (segments === undefined) return undefined;
  const { count, longRows, limit } = segments;
  return { count, longRows, limit, table: table.view };
}
