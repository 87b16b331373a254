import { unboundedWindow } from '../../lib/backends/calls/attention.js';
import { attentionRows, equalLengths } from '../../lib/backends/reference/attention.js';
import type { Device } from '../../lib/device/device.js';
import { attention } from '../../lib/ops/attention.js';
import { dtypeInfo, type FloatDType } from '../../lib/tensor/dtype.js';
import { expectedAttention } from '../../test/harness/attention-bound.js';
import { Operand } from '../operands.js';
import type { BoundProblem, Family, Problem } from '../problem.js';

interface Shape {
  readonly title: string;
  readonly batch: number;
  readonly seqQ: number;
  readonly seqK: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly causal: boolean;
  /** Keys before a query's own that it sees; absent for all. */
  readonly left?: number;
}

/** Prefill, dense and causal; a sliding window; grouped queries; a decode step. n is the number of keys. */
export const attentionFamily: Family = {
  operation: 'attention',
  *problems(context) {
    const { kind, quick, dtypes } = context;
    for (const n of context.sizes(kind === 'cpu' ? [256] : [1024, 4096])) {
      const list = kind === 'cpu' ? smallShapes(n) : largeShapes(n);
      for (const shape of list.slice(0, quick ? 1 : undefined)) {
        for (const dtype of dtypes) yield problem(shape, dtype);
      }
    }
  },
};

function smallShapes(n: number): readonly Shape[] {
  const base = { batch: 1, seqQ: n, seqK: n, heads: 4, kvHeads: 4, headDim: 64, causal: true };
  return [
    { ...base, title: 'causal' },
    { ...base, title: 'dense', causal: false },
    { ...base, title: 'window', left: Math.min(31, n - 1) },
    { ...base, title: 'decode', seqQ: 1, heads: 8, kvHeads: 2 },
  ];
}

function largeShapes(n: number): readonly Shape[] {
  // As in the peers' tables: 16k tokens a call.
  const batch = Math.max(1, Math.floor(16_384 / n));
  const base = { batch, seqQ: n, seqK: n, heads: 16, kvHeads: 16, headDim: 128, causal: true };
  return [
    { ...base, title: 'causal' },
    { ...base, title: 'dense', causal: false },
    { ...base, title: 'causal', heads: 32, kvHeads: 32, headDim: 64 },
    { ...base, title: 'causal', heads: 32, kvHeads: 8 },
    { ...base, title: 'window', left: Math.min(511, n - 1) },
    { ...base, title: 'decode', seqQ: 1, batch: 32, heads: 32, kvHeads: 8 },
  ];
}

/** Pairs of a query and a key that it sees, a head and sequence. */
function visiblePairs({ seqQ, seqK, causal, left = seqK }: Shape): number {
  let pairs = 0;
  for (let query = 0; query < seqQ; ++query) {
    const diagonal = query + seqK - seqQ;
    const last = causal ? Math.min(diagonal, seqK - 1) : seqK - 1;
    pairs += Math.max(last - Math.max(diagonal - left, 0) + 1, 0);
  }
  return pairs;
}

function problem(shape: Shape, dtype: FloatDType): Problem {
  const { title, batch, seqQ, seqK, heads, kvHeads, headDim, left } = shape;
  const queries = 2 * batch * seqQ * heads * headDim;
  const keys = 2 * batch * seqK * kvHeads * headDim;
  const window = left === undefined ? '' : ` left=${left}`;
  return {
    operation: 'attention',
    name: `${title} b=${batch} q=${seqQ} k=${seqK} h=${heads}/${kvHeads} d=${headDim}${window}`,
    dtype,
    n: seqK,
    work: {
      bytes: dtypeInfo[dtype].bytes * (queries + keys),
      flops: 4 * batch * heads * headDim * visiblePairs(shape),
    },
    torch: {
      batch,
      seqQ,
      seqK,
      heads,
      kvHeads,
      headDim,
      causal: shape.causal,
      ...(left === undefined ? {} : { left }),
    },
    bind: (device) => bind(device, shape, dtype),
  };
}

function bind(device: Device, shape: Shape, dtype: FloatDType): BoundProblem {
  const { batch, seqQ, seqK, heads, kvHeads, headDim, causal, left } = shape;
  const [q, k, v] = [
    Operand.normal('q', [batch, seqQ, heads, headDim], dtype),
    Operand.normal('k', [batch, seqK, kvHeads, headDim], dtype),
    Operand.normal('v', [batch, seqK, kvHeads, headDim], dtype),
  ];
  const [query, key, value] = [q.on(device), k.on(device), v.on(device)];
  const output = device.empty(q.shape, dtype);
  const window = left === undefined ? {} : { window: { left } };
  const options = { causal, ...window, out: output };
  return {
    output,
    rows: batch * seqQ * heads,
    run: () => {
      attention(query, key, value, options);
    },
    reference(rows) {
      const result = attentionRows({
        q: q.values,
        k: k.values,
        v: v.values,
        cumulativeQ: equalLengths(batch, seqQ),
        cumulativeK: equalLengths(batch, seqK),
        heads,
        kvHeads,
        headDim,
        scale: 1 / Math.sqrt(headDim),
        softcap: 0,
        left: left ?? unboundedWindow,
        right: causal ? 0 : unboundedWindow,
        topLeft: false,
        rows,
      });
      return expectedAttention(dtype, result, headDim);
    },
    dispose() {
      for (const tensor of [query, key, value, output]) tensor.dispose();
    },
  };
}
