import { fail } from '../errors.js';
import { checkQuantizedMatrix, type QuantizedMatrix } from '../formats/quantized-matrix.js';
import type { FloatDType } from '../tensor/dtype.js';
import { checkNoOverlap, checkTensor, checkTensorLike, type Tensor } from '../tensor/tensor.js';
import { checkInteger, checkOptions, own } from '../validate.js';

export interface W4A16MatmulOptions {
  /** [n], dtype of x: added to every row. */
  bias?: Tensor;
  /** [..., n], dtype of x: receives the result. Must not share memory with an input. */
  out?: Tensor;
  /**
   * Parts of k that are summed by different thread blocks and added in a fixed order, 1 to 64. Default: chosen by shape and
   * device. The CPU device sums without parts.
   */
  splitK?: number;
}

const optionKeys = ['bias', 'out', 'splitK'] as const;

/** Matches kMaxSplits of cuda/kernels/w4a16/config.h. */
const maxSplits = 64;

/**
 * y = x W^T + bias, W a 4-bit matrix with group scales (W4A16).
 *
 * The weight is used as the exact product scale * (u - z) and sums are float32: no intermediate is rounded to a half type.
 * Results are the same bits in every run.
 *
 * @param x [..., k], float16, bfloat16 or float32, of the matrix's dtype and device.
 * @param w [n, k].
 * @returns [..., n], dtype of x: `out` if given.
 * @throws WarptileError ERR_ARGUMENT, ERR_SHAPE, ERR_DTYPE, ERR_DEVICE, ERR_DISPOSED, ERR_OUT_OF_MEMORY (also for the
 * workspace of partial sums), ERR_LIMIT.
 *
 * Source: Hoque et al., "Accelerating a Triton Fused Kernel for W4A16 Quantized Inference with SplitK work decomposition",
 * arXiv 2402.00025; partial sums go through a workspace here instead of atomics.
 */
export function w4a16Matmul(x: Tensor, w: QuantizedMatrix, options?: W4A16MatmulOptions): Tensor<FloatDType> {
  const checked = checkOptions(options, optionKeys);
  checkTensor(x, 'x');
  const { device, dtype } = x;
  checkQuantizedMatrix(w, 'w', device);
  if (dtype !== w.dtype) fail('ERR_DTYPE', 'x', `${w.dtype}, the dtype of w's scales`, dtype);
  const [n, k] = w.shape;
  const rank = x.shape.length;
  if (rank === 0 || x.shape[rank - 1] !== k) fail('ERR_SHAPE', 'x', `[..., ${k}]`, x.shape);
  const bias = own(checked, 'bias');
  if (bias !== undefined) checkTensorLike(bias, 'bias', device, [n], dtype);
  const asked = own(checked, 'splitK');
  const splitK = asked === undefined ? 0 : checkInteger(asked, 'splitK', 1, maxSplits);

  const shape = x.shape.slice(0, -1);
  let m = 1;
  for (const size of shape) m *= size;
  shape.push(n);
  const given = own(checked, 'out');
  const out =
    given === undefined
      ? device.empty(shape, w.dtype)
      : checkTensorLike(given, 'out', device, shape, w.dtype);
  // The memory of w is its own: no tensor of the caller shares it.
  if (given !== undefined) {
    checkNoOverlap(out, x, 'x');
    if (bias !== undefined) checkNoOverlap(out, bias, 'bias');
  }
  const { packed, scales, zeroPoints, permutation, columnGroups } = w.parts;
  try {
    device.backend.operations.w4a16Matmul({
      m,
      n,
      k,
      groups: w.groups,
      groupSize: w.groupSize,
      splitK,
      x: x.view,
      packed: packed.view,
      scales: scales.view,
      zeroPoints: zeroPoints.view,
      permutation: permutation?.view,
      columnGroups: columnGroups?.view,
      bias: bias?.view,
      y: out.view,
    });
  } catch (error) {
    if (given === undefined) out.dispose();
    throw error;
  }
  return out;
}
