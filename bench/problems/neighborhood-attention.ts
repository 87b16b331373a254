import type { PerAxis } from '../../lib/backends/calls/neighborhood-attention.js';
import { neighborhoodAttentionRows } from '../../lib/backends/reference/neighborhood-attention.js';
import { neighborhoodWindow } from '../../lib/backends/reference/neighborhood-window.js';
import type { Device } from '../../lib/device/device.js';
import { neighborhoodAttention } from '../../lib/ops/neighborhood-attention.js';
import { dtypeInfo, type FloatDType } from '../../lib/tensor/dtype.js';
import { expectedAttention } from '../../test/harness/attention-bound.js';
import { Operand } from '../operands.js';
import type { BoundProblem, Family, Problem } from '../problem.js';

interface Shape {
  /** One to three axes. */
  readonly tokens: readonly number[];
  readonly kernel: readonly number[];
  readonly stride?: number;
  readonly dilation?: number;
  readonly causal?: boolean;
  readonly heads: number;
  readonly headDim: number;
}

const shapes: { readonly [kind in 'cpu' | 'cuda']: readonly Shape[] } = {
  cpu: [
    { tokens: [24, 24], kernel: [7, 7], heads: 2, headDim: 32 },
    { tokens: [512], kernel: [33], heads: 2, headDim: 32, causal: true },
    { tokens: [8, 8, 8], kernel: [3, 5, 5], heads: 2, headDim: 32 },
    { tokens: [24, 24], kernel: [8, 8], stride: 8, heads: 2, headDim: 32 },
  ],
  cuda: [
    { tokens: [64, 64], kernel: [7, 7], heads: 16, headDim: 64 },
    { tokens: [128, 128], kernel: [13, 13], heads: 8, headDim: 64 },
    { tokens: [64, 64], kernel: [33, 33], heads: 8, headDim: 128 },
    { tokens: [64, 64], kernel: [7, 7], dilation: 4, heads: 16, headDim: 64 },
    { tokens: [64, 64], kernel: [16, 16], stride: 16, heads: 16, headDim: 64 },
    { tokens: [16_384], kernel: [513], heads: 16, headDim: 64 },
    { tokens: [4096], kernel: [127], heads: 16, headDim: 128, causal: true },
    { tokens: [16, 32, 32], kernel: [5, 7, 7], heads: 8, headDim: 64 },
  ],
};

/** Windows over one to three axes, with stride, dilation and causal ones among them; n is the batch. */
export const neighborhoodFamily: Family = {
  operation: 'neighborhoodAttention',
  *problems(context) {
    const { kind, quick, dtypes } = context;
    for (const shape of shapes[kind].slice(0, quick ? 1 : undefined)) {
      for (const n of context.sizes([1])) for (const dtype of dtypes) yield problem(shape, n, dtype);
    }
  },
};

function perAxis(values: readonly number[]): PerAxis<number> {
  return [values.at(-3) ?? 1, values.at(-2) ?? 1, values.at(-1) ?? 1];
}

/** Pairs of a query and a key that it sees, a head: the product over the axes of what each axis sees. */
function visiblePairs({ tokens, kernel, stride = 1, dilation = 1, causal = false }: Shape): number {
  return tokens.reduce((product, length, axis) => {
    let sum = 0;
    for (let i = 0; i < length; ++i) {
      sum += neighborhoodWindow(i, length, kernel[axis], stride, dilation, causal).count;
    }
    return product * sum;
  }, 1);
}

function problem(shape: Shape, n: number, dtype: FloatDType): Problem {
  const { tokens, kernel, stride = 1, dilation = 1, causal = false, heads, headDim } = shape;
  const size = tokens.reduce((product, length) => product * length, n * heads * headDim);
  const extras = [
    ...(stride === 1 ? [] : [`s=${stride}`]),
    ...(dilation === 1 ? [] : [`dilation=${dilation}`]),
    ...(causal ? ['causal'] : []),
  ];
  const parts = [tokens.join('x'), `w=${kernel.join('x')}`, ...extras, `b=${n} h=${heads} d=${headDim}`];
  return {
    operation: 'neighborhoodAttention',
    name: parts.join(' '),
    dtype,
    n,
    work: { bytes: 4 * size * dtypeInfo[dtype].bytes, flops: 4 * n * heads * headDim * visiblePairs(shape) },
    bind: (device) => bind(device, shape, n, dtype),
  };
}

function bind(device: Device, shape: Shape, batch: number, dtype: FloatDType): BoundProblem {
  const { tokens, kernel, stride = 1, dilation = 1, causal = false, heads, headDim } = shape;
  const sizes = [batch, ...tokens, heads, headDim];
  const [q, k, v] = ['q', 'k', 'v'].map((name) => Operand.normal(name, sizes, dtype));
  const [query, key, value] = [q.on(device), k.on(device), v.on(device)];
  const output = device.empty(sizes, dtype);
  const options = { kernelSize: kernel, stride, dilation, causal, out: output };
  const used = (value: number): PerAxis<number> => perAxis(tokens.map(() => value));
  const flags = perAxis(tokens.map(() => (causal ? 2 : 1))).map((flag) => flag === 2);
  return {
    output,
    rows: output.size / headDim,
    run: () => {
      neighborhoodAttention(query, key, value, options);
    },
    reference(rows) {
      const result = neighborhoodAttentionRows(
        {
          batch,
          tokens: perAxis(tokens),
          heads,
          kvHeads: heads,
          headDim,
          additional: 0,
          kernelSize: perAxis(kernel),
          stride: used(stride),
          dilation: used(dilation),
          causal: [flags[0], flags[1], flags[2]],
          scale: 1 / Math.sqrt(headDim),
        },
        { q: q.values, k: k.values, v: v.values },
        rows,
      );
      return expectedAttention(dtype, result, headDim);
    },
    dispose() {
      for (const tensor of [query, key, value, output]) tensor.dispose();
    },
  };
}
