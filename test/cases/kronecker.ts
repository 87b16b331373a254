import { kroneckerReference } from '../../lib/backends/reference/kronecker.js';
import { decode, encode } from '../../lib/backends/reference/views.js';
import {
  butterflyPatterns,
  type KroneckerPattern,
  monarchPatterns,
} from '../../lib/formats/kronecker-pattern.js';
import { kroneckerMatmul } from '../../lib/ops/kronecker.js';
import { type FloatDType, floatDTypes, type StorageArray, storageArray } from '../../lib/tensor/dtype.js';
import { errorBound } from '../harness/bound.js';
import type { Fill, OperationCase, PreparedCase } from '../harness/case.js';
import type { Random } from '../harness/random.js';

interface Problem {
  /** As in the product: the last is applied first. */
  readonly patterns: readonly KroneckerPattern[];
  /** Instead of one number, the dimensions that a batch of several has. */
  readonly batch: readonly number[];
  readonly batchLast: boolean;
  readonly bias: boolean;
  readonly dtype: FloatDType;
  readonly label?: string;
  readonly reduced?: boolean;
  readonly fills?: readonly Fill[];
  /** Overwrites drawn operands: x, then the values of each factor. */
  readonly edit?: (x: Float64Array, values: readonly Float64Array[]) => void;
}

interface Operand {
  readonly stored: StorageArray;
  /** What the stored elements stand for. */
  readonly values: Float64Array;
}

function round(dtype: FloatDType, values: Float64Array): Operand {
  const bytes = dtype === 'float32' ? 4 : 2;
  const stored = storageArray(dtype, new ArrayBuffer(values.length * bytes));
  encode(dtype, values, stored);
  return { stored, values: decode(dtype, stored) };
}

const product = (sizes: readonly number[]): number => sizes.reduce((total, size) => total * size, 1);

function prepare(problem: Problem, fill: Fill, random: Random): PreparedCase {
  const { patterns, batch, batchLast, dtype } = problem;
  const [a, b, , d] = patterns[0];
  const [lastA, , lastC, lastD] = patterns[patterns.length - 1];
  const [rows, columns, count] = [a * b * d, lastA * lastC * lastD, product(batch)];
  // Integers up to 4 stay below 2^24 through every chain here; reals are scaled so that each factor keeps the variance.
  const draw = (size: number, scale: number): Float64Array =>
    new Float64Array(size).map(() => (fill === 'exact' ? random.integer(-2, 2) : random.normal() * scale));
  const xValues = draw(count * columns, 1);
  const weights = patterns.map((pattern) => draw(product(pattern), pattern[2] ** -0.5));
  problem.edit?.(xValues, weights);
  const x = round(dtype, xValues);
  const factors = weights.map((values) => round(dtype, values));
  const bias = problem.bias ? round(dtype, draw(rows, 1)) : undefined;
  const xShape = batchLast ? [columns, ...batch] : [...batch, columns];
  const yShape = batchLast ? [rows, ...batch] : [...batch, rows];
  return {
    outputs: [{ name: 'y', shape: yShape, dtype }],
    bind(device) {
      const raw = { dtype, raw: true };
      const xTensor = device.tensor(x.stored, { ...raw, shape: xShape });
      const values = factors.map(({ stored }, index) =>
        device.tensor(stored, { ...raw, shape: patterns[index] }),
      );
      const biasTensor = bias && device.tensor(bias.stored, raw);
      const matrix = device.kronecker({
        factors: values.map((tensor, index) => ({ pattern: patterns[index], values: tensor })),
        dtype,
      });
      return {
        inputs: [xTensor, ...values, ...matrix.ownedTensors(), ...(biasTensor ? [biasTensor] : [])],
        run([out]) {
          kroneckerMatmul(xTensor, matrix, {
            layout: batchLast ? 'batch-last' : 'batch-first',
            out: out as typeof xTensor,
            ...(biasTensor && { bias: biasTensor }),
          });
        },
      };
    },
    expected() {
      const { values, magnitudes } = kroneckerReference(
        {
          factors: factors.map((factor, index) => ({ pattern: patterns[index], values: factor.values })),
          batch: count,
          batchLast,
          x: x.values,
          bias: bias?.values,
        },
        { magnitudes: fill === 'random' },
      );
      // Intermediates are the float32 sums themselves, so a chain rounds as often as one sum over all its terms.
      const terms = patterns.reduce((sum, pattern) => sum + pattern[2], 0) + (bias ? 1 : 0);
      const bound =
        fill === 'random'
          ? values.map((value, index) => errorBound(dtype, value, terms, magnitudes[index]))
          : new Float64Array(values.length);
      return [{ values, bound }];
    },
  };
}

function describeCase(problem: Problem): string {
  const { patterns, batch, batchLast, bias, dtype, label } = problem;
  return [
    ...(label === undefined ? [] : [label]),
    patterns.length > 6 ? `${patterns.length} factors` : patterns.map((pattern) => `(${pattern})`).join('*'),
    `batch=${batch.join('x')}`,
    batchLast ? 'batch-last' : 'batch-first',
    ...(bias ? ['bias'] : []),
    dtype,
  ].join(' ');
}

function toCase(problem: Problem): OperationCase {
  return {
    operation: 'kroneckerMatmul',
    name: describeCase(problem),
    dtype: problem.dtype,
    reduced: problem.reduced ?? false,
    ...(problem.fills && { fills: problem.fills }),
    prepare: (fill, random) => prepare(problem, fill, random),
  };
}

// Around the edges of both kernels: tiles of 16, 64 and 128 outputs over groups of 1, 2, 4 and 8 neighbouring l, steps of 32
// inputs, and groups of lanes of every size. A batch of at most 16, and small blocks batch first, take the dot kernel.
const patterns: readonly KroneckerPattern[] = [
  [1, 1, 1, 1],
  [2, 3, 5, 1],
  [1, 16, 16, 1],
  [1, 17, 33, 1],
  [1, 64, 32, 1],
  [1, 63, 31, 1],
  [1, 65, 33, 1],
  [1, 129, 40, 1],
  [1, 128, 7, 1],
  [6, 16, 16, 1],
  [1, 1, 40, 1],
  [1, 40, 1, 1],
  [7, 1, 1, 1],
  [1, 3, 100, 1],
  [4, 2, 2, 1],
  [2, 48, 24, 2],
  [1, 5, 3, 2],
  [1, 64, 17, 2],
  [2, 20, 20, 3],
  [3, 2, 2, 4],
  [1, 33, 8, 4],
  [2, 16, 40, 5],
  [1, 4, 50, 7],
  [1, 8, 9, 8],
  [1, 16, 5, 8],
  [1, 33, 17, 9],
  [1, 2, 2, 16],
  [1, 1, 1, 37],
  [1, 9, 4, 31],
  [1, 2, 3, 33],
  [1, 3, 2, 64],
  [1, 20, 12, 15],
];
const smallBatches = [1, 4, 16, 3, 1, 5];
const largeBatches = [17, 63, 64, 65, 70, 130];

function* singleFactors(): Generator<Problem> {
  for (const [index, pattern] of patterns.entries()) {
    for (const [layout, batchLast] of [false, true].entries()) {
      for (const [kind, dtype] of floatDTypes.entries()) {
        for (const batches of [smallBatches, largeBatches]) {
          // Strides that share no factor with the lengths walk through every combination.
          const batch = batches[(index + 3 * layout + 2 * kind) % batches.length];
          const bias = (index + layout + kind) % 2 === 0;
          // One case of every other pattern, with each layout, dtype and kernel in turn.
          const size = batches === smallBatches ? 0 : 1;
          const reduced =
            index % 2 === 0 && kind === index % 3 && layout === (index >> 1) % 2 && size === (index >> 2) % 2;
          yield { patterns: [pattern], batch: [batch], batchLast, bias, dtype, reduced };
        }
      }
    }
  }
}

const chains: readonly (readonly [label: string, patterns: readonly KroneckerPattern[]])[] = [
  ['monarch', monarchPatterns([8, 8, 8], [8, 8, 8])],
  ['monarch', monarchPatterns([3, 10, 7], [5, 4, 6])],
  ['butterfly', butterflyPatterns(64)],
  [
    'vit-small',
    [
      [1, 32, 8, 2],
      [2, 8, 32, 1],
    ],
  ],
  [
    'not chainable',
    [
      [2, 5, 3, 1],
      [1, 2, 4, 3],
      [3, 4, 7, 1],
    ],
  ],
  ['single-element', Array.from({ length: 32 }, (): KroneckerPattern => [1, 1, 1, 1])],
];

function* chained(): Generator<Problem> {
  for (const [index, [label, factors]] of chains.entries()) {
    for (const batchLast of [false, true]) {
      for (const dtype of floatDTypes) {
        for (const batch of [1, 7, 66]) {
          const bias = batch === 7;
          const reduced = dtype === floatDTypes[index % 3] && batch === 66 && batchLast === (index % 2 === 0);
          yield { label, patterns: factors, batch: [batch], batchLast, bias, dtype, reduced };
        }
      }
    }
  }
}

function* edges(): Generator<Problem> {
  const chain = monarchPatterns([4, 6, 5], [3, 5, 8]);
  for (const dtype of floatDTypes) {
    for (const batchLast of [false, true]) {
      const common = { batchLast, dtype, bias: false };
      yield { ...common, label: 'empty', patterns: [[2, 3, 4, 5]], batch: [0], bias: true };
      yield { ...common, label: 'empty', patterns: chain, batch: [3, 0] };
      yield { ...common, label: 'several batch dimensions', patterns: [[2, 9, 7, 3]], batch: [2, 3, 5] };
      yield { ...common, label: 'no batch dimension', patterns: chain, batch: [], bias: true };
      for (const batch of [5, 40]) {
        const special = { ...common, batch: [batch], fills: ['exact'] as const };
        yield {
          ...special,
          label: 'NaN and Infinity in x',
          patterns: [[2, 9, 9, 3]],
          edit: (x) => {
            for (let i = 0; i < x.length; i += 101) x[i] = Number.NaN;
            for (let i = 50; i < x.length; i += 101) x[i] = Number.POSITIVE_INFINITY;
          },
        };
        yield {
          ...special,
          label: 'NaN and Infinity in values',
          patterns: [[2, 9, 9, 3]],
          edit: (_, [values]) => {
            values[100] = Number.NaN;
            values[200] = Number.NEGATIVE_INFINITY;
          },
        };
        yield {
          ...special,
          label: 'overflow',
          patterns: [[2, 4, 8, 2]],
          edit: (x, [values]) => {
            const large = dtype === 'float16' ? 2 ** 15 : 2 ** 127;
            x.fill(large, 0, x.length / 2);
            values.fill(dtype === 'float16' ? 2 : 1);
          },
        };
        // 8 * 2^15 is past float16 between the factors, 2^15 after them.
        yield {
          ...special,
          label: 'overflow between factors',
          patterns: [
            [1, 2, 2, 4],
            [1, 8, 8, 1],
          ],
          edit: (x, [last, first]) => {
            x.fill(2 ** 15);
            first.fill(1);
            last.fill(2 ** -4);
          },
        };
      }
    }
  }
}

// Real widths: the ViT-S/16 layers of arXiv 2405.15013, table 3, and a decode step over long inputs.
function* wide(): Generator<Problem> {
  const layers: readonly (readonly KroneckerPattern[])[] = [
    [
      [1, 192, 48, 2],
      [2, 48, 192, 1],
    ],
    [
      [1, 128, 128, 3],
      [6, 64, 256, 1],
    ],
    [[1, 4, 3000, 1]],
    [[1, 2, 700, 5]],
  ];
  for (const [index, factors] of layers.entries()) {
    for (const [step, batch] of [1, 2, 20].entries()) {
      const dtype = floatDTypes[(index + step) % 3];
      const batchLast = (index + step) % 2 === 1;
      yield { label: 'wide', patterns: factors, batch: [batch], batchLast, bias: batch === 1, dtype };
    }
  }
}

export const kroneckerCases: readonly OperationCase[] = [
  ...singleFactors(),
  ...chained(),
  ...edges(),
  ...wide(),
].map(toCase);
