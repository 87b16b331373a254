// The problems of dense attention: shapes x options x dtypes.

import type { FloatDType } from '../../lib/index.js';
import { floatDTypes } from '../../lib/tensor/dtype.js';
import {
  type ElementAt,
  firstChannel,
  type SpecialInputs,
  smallIntegers,
  special,
  where,
  zero,
} from '../harness/attention-inputs.js';

/** One problem of dense attention, without its data. */
export interface AttentionCaseProblem {
  dtype: FloatDType;
  /** Sequences; with `lengthsQ`, as many as it has entries. */
  batch: number;
  seqQ: number;
  seqK: number;
  heads: number;
  kvHeads: number;
  headDim: number;
  causal: boolean | 'top-left';
  window?: readonly [number, number];
  scale?: number;
  softcap?: number;
  logSumExp?: boolean;
  /** Packed sequences. */
  lengthsQ?: readonly number[];
  lengthsK?: readonly number[];
  /** Inputs by position instead of drawn ones; the case then has the exact fill alone. */
  special?: SpecialInputs;
  reduced?: boolean;
}

type Problem = AttentionCaseProblem;

const base: Problem = {
  dtype: 'float32',
  batch: 1,
  seqQ: 20,
  seqK: 35,
  heads: 1,
  kvHeads: 1,
  headDim: 32,
  causal: false,
};

/** Each problem in every dtype. */
function everyDType(problems: readonly Partial<Problem>[]): Problem[] {
  return problems.flatMap((problem) => floatDTypes.map((dtype) => ({ ...base, ...problem, dtype })));
}

/** Each problem in one dtype, by turns. */
function oneDType(problems: readonly Partial<Problem>[]): Problem[] {
  return problems.map((problem, index) => ({ ...base, ...problem, dtype: floatDTypes[index % 3] }));
}

// Around the padded sizes 32, 64, 128 and 256, odd ones, and those of real models.
const headDims = [
  1, 2, 3, 4, 5, 8, 15, 16, 20, 31, 32, 33, 40, 63, 64, 65, 72, 80, 96, 127, 128, 129, 160, 192, 252, 255,
  256,
];

function byHeadDim(): Problem[] {
  const reduced = [5, 32, 64, 128, 255, 256];
  const many = headDims.map((headDim) => ({
    headDim,
    seqQ: 37,
    seqK: 41,
    heads: 2,
    causal: true,
    logSumExp: true,
  }));
  const few = headDims.map((headDim) => ({ headDim, seqQ: 3, seqK: 70, causal: true }));
  return [
    ...everyDType(many),
    ...oneDType(few),
    ...oneDType(
      reduced.map((headDim) => ({ headDim, seqQ: 33, seqK: 66, kvHeads: 1, heads: 2, reduced: true })),
    ),
    ...oneDType(reduced.map((headDim) => ({ headDim, seqQ: 2, seqK: 67, logSumExp: true, reduced: true }))),
  ];
}

// Around the tiles of 16, 32 and 64 queries and of 32 and 64 keys.
const sequencePairs: readonly (readonly [q: number, k: number])[] = [
  [1, 1],
  [1, 2],
  [2, 1],
  [1, 63],
  [1, 64],
  [1, 65],
  [1, 200],
  [15, 64],
  [16, 64],
  [17, 64],
  [16, 15],
  [31, 33],
  [32, 32],
  [33, 31],
  [63, 63],
  [64, 64],
  [65, 65],
  [64, 128],
  [65, 129],
  [128, 1],
  [129, 64],
  [127, 65],
  [100, 3],
  [3, 100],
  [16, 17],
];

function bySequence(): Problem[] {
  return [
    ...everyDType(sequencePairs.map(([seqQ, seqK]) => ({ seqQ, seqK, headDim: 16, logSumExp: true }))),
    ...oneDType(
      sequencePairs.map(([seqQ, seqK]) => ({ seqQ, seqK, headDim: 48, causal: true, logSumExp: true })),
    ),
    ...oneDType(
      sequencePairs.map(([seqQ, seqK]) => ({ seqQ, seqK, headDim: 100, causal: 'top-left' as const })),
    ),
    ...oneDType(sequencePairs.map(([seqQ, seqK]) => ({ seqQ, seqK, headDim: 200, causal: true }))),
    // More batch entries times heads than the grid has rows in y or z.
    ...oneDType([{ batch: 350, heads: 200, kvHeads: 100, seqQ: 1, seqK: 2, headDim: 1 }]),
    ...oneDType([{ seqQ: 130, seqK: 330, headDim: 36, causal: true, logSumExp: true }]),
  ];
}

const windows: readonly (readonly [left: number, right: number])[] = [
  [0, 0],
  [1, 2],
  [7, 0],
  [16, 16],
  [0, Number.POSITIVE_INFINITY],
  [63, 1],
  [1000, 1000],
];

function byMask(): Problem[] {
  const shapes = [
    { seqQ: 70, seqK: 70 },
    { seqQ: 40, seqK: 150 },
    { seqQ: 150, seqK: 40 },
    { seqQ: 9, seqK: 130 },
  ];
  const masks = windows.flatMap((window) =>
    ([false, true, 'top-left'] as const).map((causal) => ({ window, causal })),
  );
  const problems = shapes.flatMap((shape) => masks.map((mask) => ({ ...shape, ...mask })));
  return [
    ...oneDType(
      problems.map((problem, index) => ({ ...problem, headDim: [8, 64, 96][index % 3], logSumExp: true })),
    ),
    ...everyDType([
      { seqQ: 90, seqK: 75, headDim: 12, window: [20, 3], reduced: true },
      { seqQ: 75, seqK: 90, headDim: 130, window: [9, Number.POSITIVE_INFINITY], causal: true },
    ]),
  ];
}

function byHeads(): Problem[] {
  const heads = [
    [1, 1],
    [3, 3],
    [4, 1],
    [4, 2],
    [6, 3],
    [8, 2],
    [5, 1],
  ];
  return everyDType(
    heads.map(([count, kvHeads], index) => ({
      batch: 1 + (index % 3),
      heads: count,
      kvHeads,
      seqQ: 19,
      seqK: 21,
      headDim: [24, 66, 12][index % 3],
      causal: index % 2 === 0,
      logSumExp: true,
    })),
  );
}

function byScoring(): Problem[] {
  return everyDType([
    { scale: 1 },
    { scale: 0.5, causal: true },
    { scale: -0.25, logSumExp: true },
    { scale: 0 },
    // Dot products far past the largest float16.
    { scale: 2 ** -20, headDim: 256, logSumExp: true },
    { softcap: 30, logSumExp: true, reduced: true },
    { softcap: 0.5, causal: true },
    { softcap: 256, causal: true, headDim: 72, logSumExp: true },
    { softcap: 1000, seqQ: 70, scale: -1 },
    { softcap: 5, scale: 2, window: [10, 10] },
  ]);
}

function packed(): Problem[] {
  const lengths: readonly (readonly [q: readonly number[], k: readonly number[]])[] = [
    [[5], [9]],
    [
      [3, 0, 7],
      [4, 2, 7],
    ],
    [
      [64, 1, 65],
      [64, 100, 3],
    ],
    [
      [1, 1, 1, 1, 1],
      [1, 70, 0, 33, 64],
    ],
    [
      [40, 17],
      [12, 0],
    ],
    [
      [0, 0],
      [0, 5],
    ],
    [[], []],
  ];
  const masks = [
    {},
    { causal: true, logSumExp: true },
    { causal: 'top-left' as const },
    { window: [5, 3] as const, logSumExp: true },
  ];
  const problems = lengths.flatMap(([lengthsQ, lengthsK]) =>
    masks.map((mask, index) => ({
      ...mask,
      lengthsQ,
      lengthsK,
      heads: 4,
      kvHeads: index % 2 === 0 ? 2 : 1,
      headDim: [20, 64, 36, 9][index],
    })),
  );
  return [
    ...everyDType(problems.slice(0, 16)),
    ...oneDType(problems.slice(16)),
    ...oneDType([{ ...problems[9], reduced: true, headDim: 33 }]),
  ];
}

function emptySizes(): Problem[] {
  return everyDType([
    { batch: 0, logSumExp: true },
    { seqQ: 0, logSumExp: true },
    { seqK: 0, logSumExp: true },
    { seqK: 0, seqQ: 70, heads: 3, kvHeads: 3, headDim: 7, causal: true },
    { heads: 0, kvHeads: 0, logSumExp: true },
    { heads: 0, kvHeads: 2 },
    { batch: 0, seqQ: 0, seqK: 0 },
  ]);
}

const { NaN: nan, POSITIVE_INFINITY: infinity, NEGATIVE_INFINITY: negativeInfinity } = Number;

/** NaN and Infinity: where they must show, and where they must not. */
function specialValues(): Problem[] {
  const square = { seqQ: 70, seqK: 70, causal: true, logSumExp: true } as const;
  const score = (value: (token: number) => number): ElementAt => {
    return (token, _head, channel) => (channel === 0 ? value(token) : 0);
  };
  const problems: Partial<Problem>[] = [
    {
      ...square,
      ...special('nan in value 69', { v: where((t, _h, c) => t === 69 && c === 3, nan, smallIntegers) }),
    },
    { ...square, ...special('nan in key 40', { k: where((t, _h, c) => t === 40 && c === 1, nan, zero) }) },
    { ...square, ...special('nan in query 5', { q: where((t) => t === 5, nan, zero) }) },
    {
      ...square,
      window: [5, 0],
      ...special('nan in key 10 and value 30', {
        k: where((t) => t === 10, nan, zero),
        v: where((t) => t === 30, nan, smallIntegers),
      }),
    },
    {
      ...square,
      causal: 'top-left',
      seqQ: 20,
      seqK: 150,
      ...special('nan past every query', {
        k: where((t) => t >= 20, nan, zero),
        v: where((t) => t >= 20, nan, smallIntegers),
      }),
    },
    {
      ...square,
      ...special('infinite values', {
        v: (token, head, channel) => {
          if (channel === 1 && token === 30) return infinity;
          return channel === 1 && token === 50 ? negativeInfinity : smallIntegers(token, head, channel);
        },
      }),
    },
    {
      lengthsQ: [3, 5, 4],
      lengthsK: [3, 5, 70],
      ...special('nan in another sequence', {
        q: where((t) => t >= 3 && t < 8, nan, zero),
        k: where((t) => t >= 3 && t < 8, nan, zero),
        v: where((t) => t >= 3 && t < 8, nan, smallIntegers),
      }),
    },
    {
      ...square,
      heads: 4,
      kvHeads: 2,
      ...special('nan in another head', {
        k: where((_t, h) => h === 1, nan, zero),
        v: where((_t, h) => h === 1, nan, smallIntegers),
      }),
    },
    {
      ...square,
      seqQ: 140,
      seqK: 140,
      ...special('scores of -Infinity first', {
        q: firstChannel,
        k: score((token) => (token < 66 ? negativeInfinity : 0)),
      }),
    },
    {
      ...square,
      causal: false,
      ...special('scores of -Infinity between', {
        q: firstChannel,
        k: score((token) => (token % 3 === 1 ? negativeInfinity : 0)),
      }),
    },
    {
      ...square,
      ...special('a score of Infinity', {
        q: firstChannel,
        k: score((token) => (token === 40 ? infinity : 0)),
      }),
    },
    {
      ...square,
      softcap: 256,
      ...special('capped infinite scores', {
        q: firstChannel,
        k: score((token) => (token % 2 === 1 ? infinity : negativeInfinity)),
      }),
    },
    {
      ...square,
      scale: 1,
      ...special('nan under a weight of 0', {
        q: firstChannel,
        k: score((token) => (token === 0 ? 2000 : 0)),
        v: where((t, _h, c) => t === 35 && c === 2, nan, smallIntegers),
      }),
    },
    {
      ...square,
      seqQ: 100,
      seqK: 60,
      ...special('nan in queries without keys', { q: where((t) => t < 40, nan, zero) }),
    },
    { seqK: 0, seqQ: 5, logSumExp: true, ...special('nan in every query', { q: () => nan }) },
    { ...square, ...special('largest float16 values', { v: () => 65504 }) },
  ];
  return [
    ...everyDType(problems.map((problem) => ({ headDim: 8, ...problem }))),
    ...oneDType(problems.map((problem) => ({ headDim: 90, ...problem }))),
    ...oneDType([{ ...problems[0], headDim: 36, reduced: true }]),
  ];
}

export const attentionProblems: readonly Problem[] = [
  ...byHeadDim(),
  ...bySequence(),
  ...byMask(),
  ...byHeads(),
  ...byScoring(),
  ...packed(),
  ...emptySizes(),
  ...specialValues(),
];
