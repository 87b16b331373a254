import { neighborhoodAttentionRows } from '../../lib/backends/reference/neighborhood-attention.js';
import { decode, encode } from '../../lib/backends/reference/views.js';
import type { Device } from '../../lib/device/device.js';
import {
  type NeighborhoodAttentionOptions,
  neighborhoodAttention,
} from '../../lib/ops/neighborhood-attention.js';
import { dtypeInfo, type FloatDType, type StorageArray, storageArray } from '../../lib/tensor/dtype.js';
import type { Tensor } from '../../lib/tensor/tensor.js';
import { expectedAttention, expectedLogSumExp } from '../harness/attention-bound.js';
import type { Fill, OperationCase, PreparedCase } from '../harness/case.js';
import type { Random } from '../harness/random.js';
import { drawInputs, type Special } from './neighborhood-inputs.js';
import { describe, drawnSpecs, type NeighborhoodSpec, problemOf } from './neighborhood-specs.js';

const dtypes: readonly FloatDType[] = ['float32', 'float16', 'bfloat16'];

function neighborhoodCase(
  spec: NeighborhoodSpec,
  dtype: FloatDType,
  special: Special | undefined,
  reduced: boolean,
): OperationCase {
  return {
    operation: 'neighborhoodAttention',
    name: [describe(spec), ...(special === undefined ? [] : [special]), dtype].join(' '),
    dtype,
    reduced,
    ...(special === undefined ? {} : { fills: ['exact'] as const }),
    prepare: (fill, random) => prepare(spec, dtype, fill, random, special),
  };
}

function prepare(
  spec: NeighborhoodSpec,
  dtype: FloatDType,
  fill: Fill,
  random: Random,
  special: Special | undefined,
): PreparedCase {
  const problem = problemOf(spec);
  const { batch, heads, kvHeads, headDim, additional } = problem;
  const inputs = drawInputs(problem, fill, random, special);
  const stored = {
    q: store(dtype, inputs.q),
    k: store(dtype, inputs.k),
    v: store(dtype, inputs.v),
    additionalKeys: store(dtype, inputs.additionalKeys),
    additionalValues: store(dtype, inputs.additionalValues),
  };
  const shape = [batch, ...spec.tokens, heads, headDim];
  const kvShape = [batch, ...spec.tokens, kvHeads, headDim];
  const additionalShape = [batch, additional, kvHeads, headDim];

  const bind = (device: Device) => {
    const upload = (data: StorageArray, of: readonly number[]): Tensor<FloatDType> =>
      spec.unaligned
        ? unaligned(device, dtype, data, of)
        : device.tensor(data, { shape: of, dtype, raw: true });
    const q = upload(stored.q, shape);
    const k = upload(stored.k, kvShape);
    const v = upload(stored.v, kvShape);
    const extra =
      spec.additional === undefined
        ? undefined
        : {
            additionalKeys: upload(stored.additionalKeys, additionalShape),
            additionalValues: upload(stored.additionalValues, additionalShape),
          };
    const run = ([out, logSumExp]: readonly Tensor[]): void => {
      const options: NeighborhoodAttentionOptions = {
        ...optionsOf(spec),
        ...extra,
        out: out as Tensor<FloatDType>,
      };
      if (logSumExp !== undefined) options.logSumExp = logSumExp as Tensor<'float32'>;
      neighborhoodAttention(q, k, v, options);
    };
    return { inputs: [q, k, v, ...(extra === undefined ? [] : Object.values(extra))], run };
  };

  const expected = () => {
    const rows = neighborhoodAttentionRows(problem, {
      q: decode(dtype, stored.q),
      k: decode(dtype, stored.k),
      v: decode(dtype, stored.v),
      additionalKeys: decode(dtype, stored.additionalKeys),
      additionalValues: decode(dtype, stored.additionalValues),
    });
    const out = expectedAttention(dtype, rows, headDim);
    return spec.logSumExp ? [out, { ...expectedLogSumExp(rows, headDim), inexact: true }] : [out];
  };

  const outputs = [
    { name: 'out', shape, dtype },
    ...(spec.logSumExp ? [{ name: 'logSumExp', shape: shape.slice(0, -1), dtype: 'float32' as const }] : []),
  ];
  return { outputs, bind, expected };
}

/** The options as a caller writes them: only those that the problem names. */
function optionsOf({ kernelSize, stride, dilation, causal, scale }: NeighborhoodSpec) {
  return {
    kernelSize,
    ...(stride === undefined ? {} : { stride }),
    ...(dilation === undefined ? {} : { dilation }),
    ...(causal === undefined ? {} : { causal }),
    ...(scale === undefined ? {} : { scale }),
  };
}

function store(dtype: FloatDType, values: Float64Array): StorageArray {
  const stored = storageArray(dtype, new ArrayBuffer(values.length * dtypeInfo[dtype].bytes));
  encode(dtype, values, stored);
  return stored;
}

function unaligned(
  device: Device,
  dtype: FloatDType,
  data: StorageArray,
  shape: readonly number[],
): Tensor<FloatDType> {
  const longer = storageArray(dtype, new ArrayBuffer((data.length + 1) * dtypeInfo[dtype].bytes));
  longer.set(data, 1);
  return device.tensor(longer, { dtype, raw: true }).slice(1).reshape(shape);
}

const reducedSpecs: readonly NeighborhoodSpec[] = [
  // One of each tile, over each number of axes, with rows that load as vectors and as single elements.
  {
    tokens: [70],
    kernelSize: 9,
    dilation: 2,
    heads: 2,
    kvHeads: 1,
    headDim: 24,
    additional: 3,
    logSumExp: true,
  },
  { tokens: [9, 11], kernelSize: [5, 4], stride: [1, 3], causal: [false, true], headDim: 64 },
  { tokens: [5, 4, 6], kernelSize: [3, 2, 3], dilation: [1, 2, 1], headDim: 127 },
  { tokens: [40], kernelSize: 8, stride: 8, headDim: 256 },
  { tokens: [7, 7], kernelSize: 3, headDim: 130, unaligned: true },
];

const specs: readonly NeighborhoodSpec[] = [
  // Tile edges: 64 queries, 32 keys a chunk.
  ...[1, 2, 31, 32, 33, 63, 64, 65, 127, 128, 129].map((length) => ({
    tokens: [length],
    kernelSize: Math.min(7, length),
  })),
  ...[1, 2, 8, 31, 32, 33, 64, 96, 128].map((kernelSize) => ({ tokens: [128], kernelSize, heads: 2 })),
  // The tile of large head dims: 32 queries, 16 keys.
  ...[15, 16, 17, 31, 32, 33].map((length) => ({ tokens: [length], kernelSize: length - 3, headDim: 192 })),
  // Head dims around vector and tile sizes.
  ...[1, 3, 7, 8, 31, 32, 33, 40, 63, 64, 65, 72, 80, 96, 100, 127, 128, 129, 160, 255, 256].map(
    (headDim) => ({
      tokens: [36],
      kernelSize: 5,
      headDim,
    }),
  ),
  // Strides: groups that divide the axis and that do not, blocked attention, even and odd.
  ...[2, 3, 4, 5, 6, 7, 8].map((stride) => ({ tokens: [67], kernelSize: 8, stride })),
  ...[2, 5, 7].map((stride) => ({ tokens: [67], kernelSize: 7, stride, causal: true })),
  // Dilations, up to those that leave one window an axis.
  ...[2, 3, 5, 9, 16].map((dilation) => ({ tokens: [83], kernelSize: 5, dilation, heads: 2 })),
  { tokens: [130], kernelSize: 2, dilation: 65 },
  { tokens: [130], kernelSize: 1, dilation: 130 },
  { tokens: [83], kernelSize: 6, stride: 4, dilation: 3, causal: true },
  // Causal.
  ...[1, 2, 8, 64].map((kernelSize) => ({ tokens: [100], kernelSize, causal: true })),
  // Two axes.
  { tokens: [8, 8], kernelSize: 3 },
  { tokens: [7, 9], kernelSize: [7, 9] },
  { tokens: [16, 17], kernelSize: [2, 4], heads: 2, headDim: 32 },
  { tokens: [1, 40], kernelSize: [1, 8] },
  { tokens: [40, 1], kernelSize: [8, 1] },
  { tokens: [3, 64], kernelSize: [3, 16], causal: [false, true] },
  { tokens: [12, 12], kernelSize: 4, stride: 4 },
  { tokens: [13, 10], kernelSize: [5, 4], stride: [2, 3], causal: true },
  { tokens: [13, 14], kernelSize: 3, dilation: [4, 2], causal: [true, false] },
  { tokens: [18, 18], kernelSize: 6, stride: 2, dilation: 3 },
  { tokens: [9, 9], kernelSize: 3, batch: 3, heads: 4, kvHeads: 2, headDim: 40, logSumExp: true },
  // Three axes.
  { tokens: [4, 4, 4], kernelSize: 2 },
  { tokens: [3, 5, 7], kernelSize: 3, headDim: 48 },
  { tokens: [6, 6, 6], kernelSize: [5, 3, 4], stride: [1, 2, 4], heads: 2 },
  { tokens: [5, 6, 7], kernelSize: [2, 2, 3], dilation: [2, 3, 2], causal: [true, false, true] },
  { tokens: [1, 9, 9], kernelSize: [1, 3, 3] },
  { tokens: [2, 2, 30], kernelSize: [2, 2, 8], causal: [false, false, true], logSumExp: true },
  { tokens: [7, 3, 5], kernelSize: [7, 3, 5], batch: 2 },
  // Heads and batches.
  { tokens: [20], kernelSize: 4, batch: 2, heads: 3 },
  { tokens: [20], kernelSize: 4, batch: 2, heads: 6, kvHeads: 2 },
  { tokens: [20], kernelSize: 4, heads: 8, kvHeads: 1, logSumExp: true },
  // Additional keys: around a chunk, with and without neighbours in the same row.
  ...[0, 1, 4, 31, 32, 33, 70].map((additional) => ({
    tokens: [30],
    kernelSize: 4,
    heads: 2,
    kvHeads: 1,
    batch: 2,
    additional,
    logSumExp: true,
  })),
  { tokens: [6, 7], kernelSize: 3, additional: 7, causal: true },
  { tokens: [3, 4, 5], kernelSize: 2, additional: 8, headDim: 136 },
  // Scales.
  { tokens: [50], kernelSize: 9, scale: 1, logSumExp: true },
  { tokens: [50], kernelSize: 9, scale: -0.5, logSumExp: true },
  { tokens: [6, 6], kernelSize: 4, scale: 0.1, logSumExp: true },
  // Memory that vectors cannot load.
  { tokens: [70], kernelSize: 8, headDim: 32, unaligned: true },
  { tokens: [7, 8], kernelSize: 3, headDim: 128, additional: 5, unaligned: true },
  // Nothing to do.
  { tokens: [8], kernelSize: 3, batch: 0 },
  { tokens: [8], kernelSize: 3, heads: 0, logSumExp: true },
  { tokens: [0], kernelSize: 3 },
  { tokens: [4, 0, 5], kernelSize: [2, 6, 2], additional: 3 },
];

const specials: readonly (readonly [Special, NeighborhoodSpec])[] = [
  ['NaN in keys', { tokens: [90], kernelSize: 7, headDim: 8, logSumExp: true }],
  ['NaN in keys', { tokens: [9, 9], kernelSize: [3, 4], causal: [false, true] }],
  ['NaN in values', { tokens: [90], kernelSize: 7, heads: 2, kvHeads: 1 }],
  ['NaN in values', { tokens: [10, 10], kernelSize: 3, dilation: 2 }],
  ['NaN in values', { tokens: [5, 6, 5], kernelSize: 2, stride: 2, headDim: 200 }],
  ['NaN in values', { tokens: [70], kernelSize: 8, causal: true, headDim: 128 }],
  ['NaN in queries', { tokens: [70], kernelSize: 6, heads: 2 }],
  ['NaN in additional values', { tokens: [40], kernelSize: 6, batch: 2, heads: 2, additional: 5 }],
  ['Infinity in keys', { tokens: [90], kernelSize: 7, logSumExp: true }],
  ['Infinity in keys', { tokens: [9, 9], kernelSize: 3 }],
  ['Infinity in values', { tokens: [64], kernelSize: 8 }],
  ['Infinity in values', { tokens: [9, 10], kernelSize: [2, 4], stride: [1, 2] }],
  ['all scores -Infinity', { tokens: [40], kernelSize: 5, additional: 2, logSumExp: true }],
];

export const neighborhoodAttentionCases: readonly OperationCase[] = dtypes.flatMap((dtype) => [
  ...reducedSpecs.map((spec) => neighborhoodCase(spec, dtype, undefined, true)),
  ...specs.map((spec) => neighborhoodCase(spec, dtype, undefined, false)),
  ...specials.map(([special, spec], index) => neighborhoodCase(spec, dtype, special, index < 2)),
  ...drawnSpecs(40).map((spec) => neighborhoodCase(spec, dtype, undefined, false)),
]);
