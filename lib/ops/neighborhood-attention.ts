import type { PerAxis } from '../backends/calls/neighborhood-attention.js';
import { fail } from '../errors.js';
import { type FloatDType, isFloatDType } from '../tensor/dtype.js';
import { checkNoOverlap, checkTensor, checkTensorLike, isTensor, type Tensor } from '../tensor/tensor.js';
import { checkBoolean, checkInteger, checkOptions, maxInt32, own } from '../validate.js';
import type { AttentionResult } from './attention.js';
import { attentionOutputs, checkScale, maxHeadDim, releaseOutputs } from './attention-arguments.js';

/** `kernelSize`, `stride`, `dilation` and `causal` are one value for every token axis, or an array of one an axis. */
export interface NeighborhoodAttentionOptions<D extends FloatDType = FloatDType> {
  /** Keys that a query sees along each axis, at least 1, with kernelSize * dilation <= tokens of the axis. */
  kernelSize: number | readonly number[];
  /** Consecutive queries that share one window, from 1 to kernelSize. stride = kernelSize is blocked attention. Default 1. */
  stride?: number | readonly number[];
  /** Distance between neighbouring keys of a window. Default 1. */
  dilation?: number | readonly number[];
  /** A query sees no key after it along the axis. Default false. */
  causal?: boolean | readonly boolean[];
  /** Factor of q k^T. Default 1 / sqrt(headDim). */
  scale?: number;
  /** [batch, additional, kvHeads, headDim]: keys that every query sees besides its neighbourhood. */
  additionalKeys?: Tensor<D>;
  /** [batch, additional, kvHeads, headDim]: their values; given together with additionalKeys. */
  additionalValues?: Tensor<D>;
  /**
   * Also computes ln(sum exp(score)) for every query, float32 [batch, ...tokens, heads]: true for a new tensor, or
   * the tensor that receives it. Default false.
   */
  logSumExp?: boolean | Tensor<'float32'>;
  /** Receives the result instead of a new tensor: shape and dtype of q. */
  out?: Tensor<D>;
}

const optionNames = [
  'kernelSize',
  'stride',
  'dilation',
  'causal',
  'scale',
  'additionalKeys',
  'additionalValues',
  'logSumExp',
  'out',
] as const;

/**
 * Neighbourhood attention: softmax(scale q k^T) v where each query sees the keys of a box around it, over 1, 2 or
 * 3 token axes. docs/neighborhood-attention.md draws the windows.
 *
 * Keys and values outside a query's neighbourhood are never read into its result, NaN or not; visible ones propagate as in
 * IEEE arithmetic. Scores and sums are float32, in a fixed order.
 *
 * Source: Hassani et al., arXiv 2204.07143, 2403.04690 (fused) and 2504.16922 (stride); windows as in NATTEN 0.20.
 *
 * @param q [batch, ...tokens, heads, headDim], float32, float16 or bfloat16; headDim from 1 to 256.
 * @param k [batch, ...tokens, kvHeads, headDim] of q's dtype; kvHeads divides heads (grouped queries).
 * @param v [batch, ...tokens, kvHeads, headDim] of q's dtype.
 * @returns a tensor like q, or { out, logSumExp } when `logSumExp` is true or a tensor.
 * @throws WarptileError ERR_ARGUMENT (options, window limits, overlapping memory), ERR_SHAPE, ERR_DTYPE, ERR_DEVICE,
 * ERR_DISPOSED, ERR_LIMIT (2^31 tokens or more), ERR_OUT_OF_MEMORY.
 */
export function neighborhoodAttention<D extends FloatDType>(
  q: Tensor<D>,
  k: Tensor<D>,
  v: Tensor<D>,
  options: NeighborhoodAttentionOptions<D> & { logSumExp: true | Tensor<'float32'> },
): AttentionResult<D>;
export function neighborhoodAttention<D extends FloatDType>(
  q: Tensor<D>,
  k: Tensor<D>,
  v: Tensor<D>,
  options: NeighborhoodAttentionOptions<D> & { logSumExp?: false },
): Tensor<D>;
export function neighborhoodAttention<D extends FloatDType>(
  q: Tensor<D>,
  k: Tensor<D>,
  v: Tensor<D>,
  options: NeighborhoodAttentionOptions<D>,
): Tensor<D> | AttentionResult<D>;
export function neighborhoodAttention<D extends FloatDType>(
  q: Tensor<D>,
  k: Tensor<D>,
  v: Tensor<D>,
  options: NeighborhoodAttentionOptions<D>,
): Tensor<D> | AttentionResult<D> {
  const checked = checkOptions(options, optionNames);
  const { device, dtype, shape } = checkTensor(q, 'q') as Tensor<D>;
  if (!isFloatDType(dtype)) fail('ERR_DTYPE', 'q', 'float32, float16 or bfloat16', dtype);
  const axes = shape.length - 3;
  if (axes < 1 || axes > 3) {
    fail('ERR_SHAPE', 'q', '[batch, ...tokens, heads, headDim] with 1 to 3 token axes', shape);
  }
  const batch = shape[0];
  const heads = shape[axes + 1];
  const headDim = shape[axes + 2];
  if (headDim < 1 || headDim > maxHeadDim) fail('ERR_SHAPE', 'q', `headDim from 1 to ${maxHeadDim}`, shape);
  if (heads > maxInt32) fail('ERR_LIMIT', 'q', `at most ${maxInt32} heads`, shape);
  const kvHeads = checkKeys(k, q, axes);
  checkTensorLike(v, 'v', device, k.shape, dtype);

  const tokens: PerAxis<number> = [axes > 2 ? shape[1] : 1, axes > 1 ? shape[axes - 1] : 1, shape[axes]];
  if (tokens[0] * tokens[1] * tokens[2] > maxInt32)
    fail('ERR_LIMIT', 'q', `at most ${maxInt32} tokens`, shape);
  const kernelSize = integerPerAxis(own(checked, 'kernelSize'), 'kernelSize', axes);
  const stride = integerPerAxis(own(checked, 'stride') ?? 1, 'stride', axes);
  const dilation = integerPerAxis(own(checked, 'dilation') ?? 1, 'dilation', axes);
  const causal = booleanPerAxis(own(checked, 'causal') ?? false, axes);
  for (let axis = 3 - axes; axis < 3; ++axis) {
    checkWindow(axis - 3 + axes, tokens[axis], kernelSize[axis], stride[axis], dilation[axis]);
  }
  const scale = checkScale(own(checked, 'scale'), headDim);

  const extraKeys = own(checked, 'additionalKeys');
  const extraValues = own(checked, 'additionalValues');
  const additional = checkAdditional(extraKeys, extraValues, k, axes);
  checkOutputsApart(checked, extraKeys, extraValues);
  const outputs = attentionOutputs(
    q,
    k,
    v,
    own(checked, 'out'),
    own(checked, 'logSumExp'),
    shape.slice(0, -1),
  );
  const { out, logSumExp } = outputs;
  try {
    device.backend.operations.neighborhoodAttention({
      batch,
      tokens,
      heads,
      kvHeads,
      headDim,
      additional,
      kernelSize,
      stride,
      dilation,
      causal,
      scale,
      q: q.view,
      k: k.view,
      v: v.view,
      additionalKeys: additional === 0 ? undefined : extraKeys?.view,
      additionalValues: additional === 0 ? undefined : extraValues?.view,
      out: out.view,
      logSumExp: logSumExp?.view,
    });
  } catch (error) {
    releaseOutputs(outputs, checked);
    throw error;
  }
  return logSumExp === undefined ? out : { out, logSumExp };
}

/** Checks k against q and returns its heads. */
function checkKeys(k: Tensor, q: Tensor, axes: number): number {
  checkTensor(k, 'k', q.device);
  if (k.dtype !== q.dtype) fail('ERR_DTYPE', 'k', q.dtype, k.dtype);
  const heads = q.shape[axes + 1];
  const kvHeads = k.shape[axes + 1];
  let fits = k.shape.length === q.shape.length;
  for (let axis = 0; axis < q.shape.length; ++axis) {
    if (axis !== axes + 1 && k.shape[axis] !== q.shape[axis]) fits = false;
  }
  if (!fits || (kvHeads === 0 ? heads !== 0 : heads % kvHeads !== 0)) {
    fail('ERR_SHAPE', 'k', `q's shape [${q.shape}], or fewer heads that divide ${heads}`, k.shape);
  }
  return kvHeads;
}

/** Checks the additional keys and values and returns how many there are. */
function checkAdditional(keys: unknown, values: unknown, k: Tensor, axes: number): number {
  if (keys === undefined && values === undefined) return 0;
  if (values === undefined)
    fail('ERR_ARGUMENT', 'additionalValues', 'a Tensor beside additionalKeys', values);
  if (keys === undefined) fail('ERR_ARGUMENT', 'additionalKeys', 'a Tensor beside additionalValues', keys);
  const { shape, dtype } = checkTensor(keys, 'additionalKeys', k.device);
  if (dtype !== k.dtype) fail('ERR_DTYPE', 'additionalKeys', k.dtype, dtype);
  const [batch, kvHeads, headDim] = [k.shape[0], k.shape[axes + 1], k.shape[axes + 2]];
  if (shape.length !== 4 || shape[0] !== batch || shape[2] !== kvHeads || shape[3] !== headDim) {
    fail('ERR_SHAPE', 'additionalKeys', `[${batch}, additional, ${kvHeads}, ${headDim}]`, shape);
  }
  if (shape[1] > maxInt32) fail('ERR_LIMIT', 'additionalKeys', `at most ${maxInt32} keys`, shape);
  checkTensorLike(values, 'additionalValues', k.device, shape, k.dtype);
  return shape[1];
}

/** The limits of neighborhoodWindow. An axis without tokens has no queries, and no window to limit. */
function checkWindow(
  axis: number,
  tokens: number,
  kernelSize: number,
  stride: number,
  dilation: number,
): void {
  if (tokens > 0 && kernelSize * dilation > tokens) {
    fail(
      'ERR_ARGUMENT',
      'kernelSize',
      `kernelSize * dilation of at most ${tokens} along token axis ${axis}`,
      kernelSize * dilation,
    );
  }
  if (stride > kernelSize) {
    fail('ERR_ARGUMENT', 'stride', `at most kernelSize, ${kernelSize}, along token axis ${axis}`, stride);
  }
}

/** One positive integer for each of three axes, 1 for axes that the problem lacks. */
function integerPerAxis(value: unknown, argument: string, axes: number): PerAxis<number> {
  if (!Array.isArray(value)) {
    const all = checkInteger(value, argument, 1, maxInt32);
    return [axes > 2 ? all : 1, axes > 1 ? all : 1, all];
  }
  checkAxisCount(value, argument, axes);
  for (let axis = 0; axis < axes; ++axis) checkInteger(value[axis], `${argument}[${axis}]`, 1, maxInt32);
  return [axes > 2 ? value[0] : 1, axes > 1 ? value[axes - 2] : 1, value[axes - 1]];
}

function booleanPerAxis(value: unknown, axes: number): PerAxis<boolean> {
  if (!Array.isArray(value)) {
    const all = checkBoolean(value, 'causal');
    return [axes > 2 && all, axes > 1 && all, all];
  }
  checkAxisCount(value, 'causal', axes);
  for (let axis = 0; axis < axes; ++axis) checkBoolean(value[axis], `causal[${axis}]`);
  return [axes > 2 && value[0], axes > 1 && value[axes - 2], value[axes - 1]];
}

function checkAxisCount(value: readonly unknown[], argument: string, axes: number): void {
  if (value.length !== axes) fail('ERR_ARGUMENT', argument, `one value or ${axes}, one a token axis`, value);
}

/** The overlaps that attentionOutputs does not know of. */
function checkOutputsApart(
  options: NeighborhoodAttentionOptions,
  additionalKeys: Tensor | undefined,
  additionalValues: Tensor | undefined,
): void {
  if (additionalKeys === undefined || additionalValues === undefined) return;
  const out = own(options, 'out');
  const logSumExp = own(options, 'logSumExp');
  if (isTensor(out)) {
    checkNoOverlap(out, additionalKeys, 'additionalKeys');
    checkNoOverlap(out, additionalValues, 'additionalValues');
  }
  if (isTensor(logSumExp)) {
    checkNoOverlap(logSumExp, additionalKeys, 'additionalKeys', 'logSumExp');
    checkNoOverlap(logSumExp, additionalValues, 'additionalValues', 'logSumExp');
  }
}
