import { headMajor } from '../../lib/backends/reference/attention.js';
import { sparseAttentionRows } from '../../lib/backends/reference/sparse-attention.js';
import {
  type FloatDType,
  type SparseAttentionOptions,
  type SparseMatrix,
  sparseAttention,
  type Tensor,
} from '../../lib/index.js';
import { floatDTypes } from '../../lib/tensor/dtype.js';
import { expectedAttention, expectedLogSumExp } from '../harness/attention-bound.js';
import {
  drawAttention,
  drawSpecial,
  firstChannel,
  hasExactFill,
  type SpecialInputs,
  smallIntegers,
  special,
  uploadHost,
  where,
  zero,
} from '../harness/attention-inputs.js';
import type { Fill, OperationCase, PreparedCase } from '../harness/case.js';
import type { Random } from '../harness/random.js';
import {
  blockShapes,
  drawPattern,
  type PatternKind,
  type PatternSpec,
  patternName,
} from './sparse-patterns.js';

interface Problem {
  dtype: FloatDType;
  /** [seqQ, seqK] */
  mask: PatternSpec;
  batch: number;
  heads: number;
  kvHeads: number;
  headDim: number;
  scale?: number;
  softcap?: number;
  logSumExp?: boolean;
  /** Inputs by position instead of drawn ones; the case then has the exact fill alone. */
  special?: SpecialInputs;
  reduced?: boolean;
}

function describeProblem(p: Problem): string {
  const parts = [patternName(p.mask), `b=${p.batch} h=${p.heads}/${p.kvHeads} d=${p.headDim}`];
  if (p.scale !== undefined) parts.push(`scale=${p.scale}`);
  if (p.softcap !== undefined) parts.push(`softcap=${p.softcap}`);
  if (p.logSumExp) parts.push('lse');
  if (p.special) parts.push(p.special.name);
  return [...parts, p.dtype].join(' ');
}

function prepare(p: Problem, fill: Fill, random: Random): PreparedCase {
  const { dtype, mask, batch, heads, kvHeads, headDim } = p;
  const scale = p.scale ?? 1 / Math.sqrt(headDim);
  const softcap = p.softcap ?? 0;
  const pattern = drawPattern(mask, random);
  const shapeQ = [batch, mask.rows, heads, headDim];
  const shapes = [shapeQ, [batch, mask.columns, kvHeads, headDim]] as const;
  const [q, k, v] = p.special
    ? drawSpecial(dtype, p.special, shapes)
    : drawAttention(fill, random, { dtype, headDim, scale, softcap }, shapes);
  const out = { name: 'out', shape: shapeQ, dtype } as const;
  const sums = { name: 'logSumExp', shape: [batch, heads, mask.rows], dtype: 'float32' } as const;
  return {
    outputs: p.logSumExp ? [out, sums] : [out],
    bind(device) {
      const { rowPointers, columnIndices } = pattern;
      const common = { shape: [mask.rows, mask.columns] as const, rowPointers, columnIndices };
      const matrix: SparseMatrix = mask.block
        ? device.blockSparse({ ...common, blockShape: mask.block })
        : device.csr(common);
      const inputs = [q, k, v].map((host) => uploadHost(device, host));
      const options: SparseAttentionOptions = {};
      if (p.scale !== undefined) options.scale = p.scale;
      if (p.softcap !== undefined) options.softcap = p.softcap;
      return {
        inputs: [...inputs, ...matrix.ownedTensors()],
        run(outputs) {
          const [target, logSumExp = false] = outputs as readonly [Tensor<FloatDType>, Tensor<'float32'>?];
          sparseAttention(inputs[0], inputs[1], inputs[2], matrix, { ...options, out: target, logSumExp });
        },
      };
    },
    expected() {
      const [qs, ks, vs] = [q.values, k.values, v.values];
      const rows = sparseAttentionRows({
        q: qs,
        k: ks,
        v: vs,
        pattern,
        heads,
        kvHeads,
        headDim,
        scale,
        softcap,
      });
      const expected = expectedAttention(dtype, rows, headDim);
      if (!p.logSumExp) return [expected];
      const { values, bound } = expectedLogSumExp(rows, headDim);
      const moved = (entries: Float64Array): Float64Array => headMajor(entries, mask.rows, heads);
      return [expected, { values: moved(values), bound: moved(bound), inexact: true }];
    },
  };
}

function toCase(p: Problem): OperationCase {
  const exact = hasExactFill(p.softcap ?? 0);
  const fills: readonly Fill[] = p.special ? ['exact'] : exact ? ['exact', 'random'] : ['random'];
  return {
    operation: 'sparseAttention',
    name: describeProblem(p),
    dtype: p.dtype,
    fills,
    ...(p.reduced ? { reduced: true } : {}),
    prepare: (fill, random) => prepare(p, fill, random),
  };
}

const base: Problem = {
  dtype: 'float32',
  mask: { rows: 40, columns: 70, kind: 'uniform', density: 0.3 },
  batch: 1,
  heads: 1,
  kvHeads: 1,
  headDim: 32,
};

/** Each problem in every dtype. */
function everyDType(problems: readonly Partial<Problem>[]): Problem[] {
  return problems.flatMap((problem) => floatDTypes.map((dtype) => ({ ...base, ...problem, dtype })));
}

/** Each problem in one dtype, by turns. */
function oneDType(problems: readonly Partial<Problem>[]): Problem[] {
  return problems.map((problem, index) => ({ ...base, ...problem, dtype: floatDTypes[index % 3] }));
}

const csr = { rows: 40, columns: 70, kind: 'uniform', density: 0.3 } as const;
// Each kernel: a warp a query; tiles of 16 rows; tiles of 32 or 64 rows.
const masks: readonly PatternSpec[] = [
  csr,
  { ...csr, block: [16, 8] },
  { ...csr, block: [64, 16], density: 0.6 },
];

function byBlockShape(): Problem[] {
  return everyDType(
    blockShapes.map((block, index) => ({
      mask: { rows: 71, columns: 75, kind: 'uniform', density: 0.3, block },
      headDim: [20, 64, 7][index % 3],
      heads: 2,
      kvHeads: 1 + (index % 2),
      logSumExp: true,
    })),
  );
}

function byHeadDim(): Problem[] {
  const headDims = [1, 2, 3, 5, 8, 17, 31, 32, 33, 40, 63, 64, 65, 80, 96, 127, 128, 129, 192, 252, 255, 256];
  return [
    ...masks.flatMap((mask) => oneDType(headDims.map((headDim) => ({ mask, headDim, logSumExp: true })))),
    ...masks.flatMap((mask) =>
      oneDType([32, 60, 128, 249].map((headDim) => ({ mask, headDim, reduced: true }))),
    ),
  ];
}

function byPattern(): Problem[] {
  const kinds: readonly PatternKind[] = ['uniform', 'skewed', 'banded', 'lastColumn', 'full', 'empty'];
  const blocks: readonly (readonly [number, number] | undefined)[] = [undefined, [8, 8], [32, 32], [4, 16]];
  return everyDType(
    kinds.flatMap((kind) =>
      blocks.map((block) => ({
        mask: { rows: 66, columns: 130, kind, density: 0.2, ...(block ? { block } : {}) },
        headDim: 24,
        logSumExp: true,
      })),
    ),
  );
}

function bySize(): Problem[] {
  const sizes = [
    [1, 1],
    [1, 200],
    [200, 1],
    [4, 33],
    [5, 32],
    [63, 31],
    [64, 64],
    [65, 129],
  ];
  return masks.flatMap((mask) =>
    oneDType(
      sizes.map(([rows, columns]) => ({
        mask: { ...mask, rows, columns, density: 0.5 },
        headDim: 12,
        logSumExp: true,
      })),
    ),
  );
}

function byHeads(): Problem[] {
  const heads = [
    [3, 3],
    [4, 1],
    [6, 3],
    [8, 2],
  ];
  return masks.flatMap((mask) =>
    oneDType(
      heads.map(([count, kvHeads], index) => ({
        mask: { ...mask, rows: 23, columns: 37 },
        batch: 1 + index,
        heads: count,
        kvHeads,
        headDim: 20,
        logSumExp: true,
      })),
    ),
  );
}

function byScoring(): Problem[] {
  const scorings = [
    { scale: -0.5, logSumExp: true },
    { scale: 0 },
    { scale: 2 ** -20, headDim: 256 },
    { softcap: 30, logSumExp: true },
    { softcap: 256, headDim: 72 },
    { softcap: 0.5, scale: 3 },
  ];
  return masks.flatMap((mask) => oneDType(scorings.map((scoring) => ({ mask, ...scoring }))));
}

function emptySizes(): Problem[] {
  return masks.flatMap((mask) =>
    oneDType([
      { mask, batch: 0, logSumExp: true },
      { mask: { ...mask, rows: 0 }, logSumExp: true },
      { mask: { ...mask, columns: 0 }, logSumExp: true },
      { mask, heads: 0, kvHeads: 0, logSumExp: true },
      { mask: { ...mask, rows: 0, columns: 0 } },
    ]),
  );
}

/** NaN and Infinity: where they must show, and where they must not. */
function specialValues(): Problem[] {
  const { NaN: nan, POSITIVE_INFINITY: infinity, NEGATIVE_INFINITY: negativeInfinity } = Number;
  const inputs = [
    special('nan in some keys', { k: where((t, _h, c) => t % 23 === 7 && c === 0, nan, zero) }),
    special('nan in some values', { v: where((t, _h, c) => t % 19 === 3 && c === 1, nan, smallIntegers) }),
    special('nan in some queries', { q: where((t) => t % 7 === 2, nan, zero) }),
    special('infinite values', {
      v: (token, head, channel) => {
        if (channel === 0 && token % 10 === 4) return infinity;
        return channel === 0 && token % 15 === 8 ? negativeInfinity : smallIntegers(token, head, channel);
      },
    }),
    special('infinite scores', {
      q: firstChannel,
      k: (token, _head, channel) => {
        if (channel > 0 || token % 2 === 0) return 0;
        return token % 30 === 15 ? infinity : negativeInfinity;
      },
    }),
    special('scores of -Infinity alone', { q: firstChannel, k: firstChannelOf(negativeInfinity) }),
    special('largest float16 values', { v: () => 65504 }),
  ];
  return masks.flatMap((mask) =>
    everyDType(
      inputs.map((given) => ({ ...given, mask: { ...mask, density: 0.15 }, headDim: 6, logSumExp: true })),
    ),
  );
}

function firstChannelOf(value: number): (token: number, head: number, channel: number) => number {
  return (_token, _head, channel) => (channel === 0 ? value : 0);
}

const problems: readonly Problem[] = [
  ...byBlockShape(),
  ...byHeadDim(),
  ...byPattern(),
  ...bySize(),
  ...byHeads(),
  ...byScoring(),
  ...emptySizes(),
  ...specialValues(),
];

export const sparseAttentionCases: readonly OperationCase[] = problems.map(toCase);
