import {
  type SddmmCall,
  type SddmmPlan,
  type SddmmTiles,
  type SddmmVariant,
  sddmmVariants,
} from '../backends/calls/sddmm.js';
import type { Device } from '../device/device.js';
import { fail } from '../errors.js';
import type { BlockSparseMatrix } from '../formats/block-sparse-matrix.js';
import type { CsrMatrix } from '../formats/csr-matrix.js';
import { checkSparseMatrix, type SparseMatrix } from '../formats/sparse-matrix.js';
import { TileMap } from '../formats/tile-map.js';
import { type TileRows, tileShapes } from '../formats/tile-shapes.js';
import type { Topology } from '../formats/topology.js';
import { type Explanation, explain } from '../planning/choice.js';
import { planDevice } from '../planning/plan-device.js';
import { type DType, dtypeInfo, type FloatDType } from '../tensor/dtype.js';
import { checkNoOverlap, checkTensor, coincides, type Tensor } from '../tensor/tensor.js';
import { checkBoolean, checkFloatDType, checkOneOf, checkOptions, checkScalar, own } from '../validate.js';
import { lineBytes } from './cache-lines.js';
import { describeSddmmPlan, type SddmmFeatures, selectSddmm } from './sddmm-plan.js';
import { rowStep } from './sddmm-time.js';
import { tunedSddmmPlan } from './sddmm-tuned.js';
import { batchOf, checkDense, checkOutMatrix, commonBatch } from './sparse-operands.js';
import { vectorBytes } from './vectors.js';

export interface SddmmOptions<M extends SparseMatrix = SparseMatrix> {
  /** S: a matrix over the pattern of `mask`, made by `mask.withValues`. Its values are overwritten. */
  out?: M;
  /** Factor, rounded to float32. Default 1. */
  alpha?: number;
  /** Multiply by the mask's values, not only by its pattern. Default false: the mask may then have any dtype and batch. */
  scaleByMask?: boolean;
  /**
   * Runs this variant instead of the one that is expected to be fastest: for tests and measurements. ERR_UNSUPPORTED where the
   * problem rules it out. Default 'auto'.
   */
  variant?: SddmmVariant | 'auto';
}

/** What `sddmm` would run, and why. */
export type SddmmExplanation = Explanation<SddmmVariant>;

const optionKeys = ['out', 'alpha', 'scaleByMask', 'variant'];

/**
 * Sampled dense-dense product: S = alpha (A B^T), only at the stored elements of `mask` [m, n], for dense A [m, k] and
 * B [n, k]. With `scaleByMask`, S = alpha mask .* (A B^T). A and B may be batched ([batch, m, k], [batch, n, k]), and so may
 * the mask's values where they scale: what has no batch is shared. A and B of one float dtype; sums in float32.
 *
 * Rows of A and B at which nothing is stored are never used: what they hold, NaN included, changes nothing. With k = 0 every stored element is 0.
 * @returns `out`, or a new matrix that shares the mask's pattern: dispose both. Enqueues and returns at once.
 * @throws WarptileError ERR_SHAPE, ERR_DTYPE, ERR_DEVICE, ERR_DISPOSED, ERR_ARGUMENT (unknown option, scalar that is not finite,
 * `out` over another pattern or sharing memory with an input), ERR_OUT_OF_MEMORY, ERR_UNSUPPORTED (`variant`).
 * @see Gale, Zaharia, Young, Elsen, "Sparse GPU Kernels for Deep Learning" (2020).
 */
export function sddmm<D extends FloatDType>(
  mask: CsrMatrix,
  a: Tensor<D>,
  b: Tensor<D>,
  options?: SddmmOptions<CsrMatrix<D>>,
): CsrMatrix<D>;
export function sddmm<D extends FloatDType>(
  mask: BlockSparseMatrix,
  a: Tensor<D>,
  b: Tensor<D>,
  options?: SddmmOptions<BlockSparseMatrix<D>>,
): BlockSparseMatrix<D>;
export function sddmm<D extends FloatDType>(
  mask: SparseMatrix,
  a: Tensor<D>,
  b: Tensor<D>,
  options?: SddmmOptions<SparseMatrix<D>>,
): SparseMatrix<D>;
export function sddmm(mask: SparseMatrix, a: Tensor, b: Tensor, options?: SddmmOptions): SparseMatrix {
  const checked = checkOptions(options, optionKeys);
  const { matrix, left, right, dtype } = checkOperands(mask, a, b);
  const { device } = matrix;
  const alpha = checkScalar(own(checked, 'alpha') ?? 1, 'alpha');
  const scaled = checkBoolean(own(checked, 'scaleByMask') ?? false, 'scaleByMask');
  if (scaled && matrix.dtype !== dtype) fail('ERR_DTYPE', 'mask', dtype, matrix.dtype);
  const variant = own(checked, 'variant') ?? 'auto';
  if (variant !== 'auto') checkOneOf(variant, 'variant', ['auto', ...sddmmVariants]);
  const maskBatch = scaled ? matrix.batch : undefined;
  const batch = commonBatch(maskBatch, commonBatch(batchOf(left), batchOf(right), 'b'), 'a');
  const given = own(checked, 'out');
  let out: SparseMatrix;
  if (given === undefined) {
    const shape = batch === undefined ? matrix.setShape : [batch, ...matrix.setShape];
    out = matrix.adopt(device.empty(shape, dtype));
  } else {
    out = checkOutMatrix(given, matrix, dtype, batch);
    checkNoOverlap(out.values, left, 'a');
    checkNoOverlap(out.values, right, 'b');
    // Each element is read where it is written: scaling in place is safe, a shifted overlap is not.
    if (scaled && !coincides(out.values, matrix.values)) {
      checkNoOverlap(out.values, matrix.values, 'the values of mask');
    }
  }
  try {
    device.backend.operations.sddmm(sddmmCall(left, right, out, alpha, scaled ? matrix : undefined, variant));
  } catch (error) {
    if (given === undefined) out.dispose();
    throw error;
  }
  return out;
}

/** A live mask, and dense factors that fit it and each other. */
function checkOperands<D extends DType>(mask: SparseMatrix, a: Tensor<D>, b: Tensor<D>) {
  const matrix = checkSparseMatrix(mask, 'mask');
  const { device, pattern } = matrix;
  const left = checkTensor(a, 'a', device) as Tensor<D>;
  const right = checkTensor(b, 'b', device) as Tensor<D>;
  const dtype = checkFloatDType(left.dtype, 'a');
  checkDense(left, 'a', dtype, pattern.rows, undefined);
  checkDense(right, 'b', dtype, pattern.columns, left.shape[left.shape.length - 1]);
  return { matrix, left, right, dtype };
}

/**
 * What `sddmm(mask, a, b)` would run on this device, without running it.
 * @throws WarptileError as `sddmm`.
 */
export function explainSddmm<D extends FloatDType>(
  mask: SparseMatrix,
  a: Tensor<D>,
  b: Tensor<D>,
): SddmmExplanation {
  const { matrix, features } = sddmmProblem(mask, a, b);
  const { device } = matrix;
  return explain(
    selectSddmm(features, planDevice(device)),
    tunedSddmmPlan(features, device),
    describeSddmmPlan,
  );
}

/** Checked operands without an `out`. */
export interface SddmmProblem<D extends FloatDType = FloatDType> {
  readonly matrix: SparseMatrix;
  readonly left: Tensor<D>;
  readonly right: Tensor<D>;
  readonly batch: number | undefined;
  readonly features: SddmmFeatures;
}

/** @internal */
export function sddmmProblem<D extends FloatDType>(
  mask: SparseMatrix,
  a: Tensor<D>,
  b: Tensor<D>,
): SddmmProblem<D> {
  const { matrix, left, right } = checkOperands(mask, a, b);
  const batch = commonBatch(batchOf(left), batchOf(right), 'b');
  return { matrix, left, right, batch, features: featuresOf(matrix, left, right, batch ?? 1) };
}

/** Whether sddmm may use such tiles: a map of them cannot be made while recording. */
const mapped = (matrix: SparseMatrix, rows: TileRows): boolean =>
  !matrix.device.capturing || TileMap.has(matrix, rows);

function featuresOf(matrix: SparseMatrix, a: Tensor, b: Tensor, batch: number): SddmmFeatures {
  const { pattern, topology, format } = matrix;
  const depth = a.shape[a.shape.length - 1];
  const dtype = a.dtype as FloatDType;
  const offsets = a.view.byteOffset | b.view.byteOffset;
  const rowBytes = depth * dtypeInfo[dtype].bytes;
  return {
    dtype,
    format,
    rows: pattern.rows,
    columns: pattern.columns,
    stored: topology.stored,
    longestRow: topology.longestRow,
    tiles: topology.tiles.shapes,
    mapped: tileShapes.map(({ rows }) => mapped(matrix, rows)),
    depth,
    batch,
    vectors: offsets % vectorBytes === 0 && rowBytes % vectorBytes === 0,
    pairs: (offsets | rowBytes) % (2 * dtypeInfo[dtype].bytes) === 0,
    lines: offsets % lineBytes === 0 && rowStep(rowBytes) >= Math.min(lineBytes, rowBytes),
  };
}

/** The plan for a problem; the last one over a pattern is remembered, since calls mostly repeat. */
function planFor(out: SparseMatrix, a: Tensor, b: Tensor, variant: SddmmVariant | 'auto'): SddmmPlan {
  const depth = a.shape[a.shape.length - 1];
  const batch = out.batch ?? 1;
  const offset = (a.view.byteOffset | b.view.byteOffset) % lineBytes;
  const { topology } = out;
  const last = remembered.get(topology);
  if (
    last !== undefined &&
    last.dtype === a.dtype &&
    last.depth === depth &&
    last.batch === batch &&
    last.offset === offset &&
    last.format === out.format &&
    last.variant === variant &&
    last.device === out.device &&
    last.capturing === out.device.capturing &&
    last.revision === out.device.autotune?.revision
  ) {
    return last.plan;
  }
  const features = featuresOf(out, a, b, batch);
  const { format, device } = out;
  const { capturing } = device;
  const revision = device.autotune?.revision;
  const tuned = variant === 'auto' ? tunedSddmmPlan(features, device) : undefined;
  const forced = variant === 'auto' ? undefined : variant;
  const plan = tuned?.plan ?? selectSddmm(features, planDevice(device), forced).plan;
  remembered.set(topology, {
    dtype: a.dtype,
    depth,
    batch,
    offset,
    format,
    variant,
    device,
    capturing,
    revision,
    plan,
  });
  return plan;
}

interface RememberedPlan {
  readonly dtype: string;
  readonly depth: number;
  readonly batch: number;
  /** Of A or B, past the beginning of a line. */
  readonly offset: number;
  readonly format: string;
  readonly variant: string;
  readonly device: Device;
  readonly capturing: boolean;
  /** Of the measured choices that were heeded. */
  readonly revision: number | undefined;
  readonly plan: SddmmPlan;
}

const remembered = new WeakMap<Topology, RememberedPlan>();

/** @internal The tiles that a plan needs; the CPU needs none. */
export function tilesFor(matrix: SparseMatrix, { tile }: SddmmPlan): SddmmTiles | undefined {
  if (tile === 0 || matrix.device.kind === 'cpu') return undefined;
  return TileMap.of(matrix, tile as TileRows).call;
}

/** @internal The call for operands that fit: what the benchmark hands to peers. */
export function sddmmCall(
  a: Tensor,
  b: Tensor,
  out: SparseMatrix,
  alpha: number,
  factors: SparseMatrix | undefined,
  variant: SddmmVariant | 'auto' = 'auto',
): SddmmCall {
  const { pattern } = out;
  const depth = a.shape[a.shape.length - 1];
  const plan = planFor(out, a, b, variant);
  return {
    dtype: out.dtype,
    pattern,
    depth,
    batch: out.batch ?? 1,
    a: a.view,
    lda: depth,
    aStride: a.shape.length === 3 ? pattern.rows * depth : 0,
    b: b.view,
    ldb: depth,
    bStride: b.shape.length === 3 ? pattern.columns * depth : 0,
    factors: factors?.values.view,
    factorsStride: factors?.batch === undefined ? 0 : factors.nnz,
    out: out.values.view,
    outStride: out.nnz,
    alpha,
    plan,
    tiles: tilesFor(out, plan),
  };
}
