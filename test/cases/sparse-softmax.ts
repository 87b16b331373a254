import {
  type HostPattern,
  listRow,
  rowEntries,
  storedElements,
} from '../../lib/backends/reference/sparse-pattern.js';
import { sparseSoftmaxReference } from '../../lib/backends/reference/sparse-softmax.js';
import { sparseSoftmax } from '../../lib/ops/sparse-softmax.js';
import { type FloatDType, floatDTypes } from '../../lib/tensor/dtype.js';
import type { Tensor } from '../../lib/tensor/tensor.js';
import { softmaxBounds } from '../harness/bound.js';
import type { Fill, OperationCase, PreparedCase } from '../harness/case.js';
import { draw, roundTo } from '../harness/draw.js';
import type { Random } from '../harness/random.js';
import {
  blockShapes,
  csr,
  drawPattern,
  type PatternSpec,
  patternName,
  uploadSparse,
} from './sparse-patterns.js';

interface Spec {
  readonly pattern: PatternSpec;
  readonly dtype: FloatDType;
  readonly scale?: number;
  readonly batch?: number;
  readonly reduced?: boolean;
  /** Gives each element by its index; such a case has the exact fill alone. */
  readonly special?: { readonly name: string; readonly value: (index: number) => number };
}

/**
 * Values whose softmax is exact: in each row a power of two of equal ones, the others -Infinity. The exponentials are
 * then 1 and 0, the sum and its reciprocal powers of two.
 */
function exactValues(pattern: HostPattern, batch: number, random: Random): Float64Array {
  const size = storedElements(pattern);
  const values = new Float64Array(batch * size).fill(Number.NEGATIVE_INFINITY);
  const entries = rowEntries(pattern);
  for (let set = 0; set < batch; ++set) {
    for (let row = 0; row < pattern.rows; ++row) {
      listRow(pattern, row, entries);
      if (entries.count === 0) continue;
      const equal = 2 ** random.integer(0, Math.floor(Math.log2(entries.count)));
      const start = random.integer(0, entries.count - equal);
      const value = random.integer(-4, 4);
      for (let i = start; i < start + equal; ++i) values[set * size + entries.positions[i]] = value;
    }
  }
  return values;
}

function makeCase(spec: Spec): OperationCase {
  const { pattern: shape, dtype, scale = 1, batch, special } = spec;
  const parts = [patternName(shape)];
  if (scale !== 1) parts.push(`scale=${scale}`);
  if (batch !== undefined) parts.push(`batch=${batch}`);
  if (special !== undefined) parts.push(special.name);
  const prepare = (fill: Fill, random: Random): PreparedCase => {
    const pattern = drawPattern(shape, random);
    const sets = batch ?? 1;
    const size = sets * storedElements(pattern);
    const values =
      special !== undefined
        ? roundTo(
            dtype,
            Float64Array.from({ length: size }, (_, index) => special.value(index)),
          )
        : fill === 'exact'
          ? roundTo(dtype, exactValues(pattern, sets, random))
          : draw(fill, random, size, dtype);
    const leading = batch === undefined ? [] : [batch];
    return {
      outputs: [
        { name: 'out', shape: [...leading, pattern.columnIndices.length, ...(shape.block ?? [])], dtype },
      ],
      bind(device) {
        const matrix = uploadSparse(device, shape, pattern, values, dtype, batch);
        return {
          inputs: [...matrix.ownedTensors()],
          run: ([out]) => {
            sparseSoftmax(matrix, { out: matrix.withValues(out as Tensor<FloatDType>), scale });
          },
        };
      },
      expected() {
        const result = sparseSoftmaxReference({
          pattern,
          batch: sets,
          values: values.values,
          scale: Math.fround(scale),
        });
        const bound = softmaxBounds(dtype, result.values, result.conditions);
        return [{ values: result.values, bound }];
      },
    };
  };
  return {
    operation: 'sparseSoftmax',
    name: `${parts.join(' ')} ${dtype}`,
    dtype,
    ...(spec.reduced === undefined ? {} : { reduced: spec.reduced }),
    ...(special === undefined ? {} : { fills: ['exact'] }),
    prepare,
  };
}

const shapes: readonly (readonly [number, number])[] = [
  [1, 1],
  [1, 31],
  [1, 32],
  [1, 33],
  [3, 64],
  [4, 65],
  [5, 100],
  [17, 40],
  [64, 64],
  [129, 20],
  [7, 500],
];

const specials: readonly NonNullable<Spec['special']>[] = [
  { name: 'all -Infinity', value: () => Number.NEGATIVE_INFINITY },
  { name: 'NaN among -Infinity', value: (i) => (i % 50 === 7 ? Number.NaN : Number.NEGATIVE_INFINITY) },
  { name: 'NaN among equals', value: (i) => (i % 50 === 7 ? Number.NaN : 1) },
  { name: '+Infinity', value: (i) => (i % 50 === 7 ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY) },
  { name: 'largest float16', value: () => 65504 },
  { name: 'far apart', value: (i) => (i % 2 ? -60000 : Number.NEGATIVE_INFINITY) },
];

function specsOf(dtype: FloatDType): Spec[] {
  const specs: Spec[] = [];
  for (const [m, n] of shapes) {
    specs.push({ pattern: csr(m, n, 'uniform', 0.3), dtype, reduced: n === 65 || n === 40 });
    specs.push({ pattern: csr(m, n, 'skewed', 0.3), dtype });
    specs.push({ pattern: csr(m, n, 'full'), dtype });
  }
  for (const [m, n] of [
    [0, 5],
    [5, 0],
    [0, 0],
  ]) {
    specs.push({ pattern: csr(m, n, 'full'), dtype });
  }
  for (const kind of ['banded', 'lastColumn', 'empty'] as const)
    specs.push({ pattern: csr(19, 23, kind), dtype });
  for (const scale of [0.125, -2, 0, 30]) {
    specs.push({ pattern: csr(20, 50, 'skewed'), dtype, scale: scale === 0 ? 1e-30 : scale });
    specs.push({ pattern: { ...csr(20, 50), block: [8, 8] }, dtype, scale: scale === 0 ? 1e-30 : scale });
  }
  for (const batch of [0, 1, 3]) {
    specs.push({ pattern: csr(21, 18, 'skewed', 0.3), dtype, batch, reduced: batch === 3 });
    specs.push({ pattern: { ...csr(21, 18), block: [4, 8] }, dtype, batch });
  }
  for (const special of specials) {
    specs.push({ pattern: csr(8, 64, 'full'), dtype, special });
    specs.push({ pattern: { ...csr(8, 64, 'full'), block: [8, 8] }, dtype, special });
  }
  for (const block of blockShapes) {
    const [r, c] = block;
    const reduced = ['8,8', '64,33'].includes(String(block)) && dtype !== 'bfloat16';
    const large = r * c > 256;
    // Whole blocks, then edge blocks that hang over the matrix by all but one row and column.
    const whole = large ? csr(r, 3 * c, 'uniform', 0.7) : csr(3 * r, 4 * c, 'uniform', 0.5);
    specs.push({ pattern: { ...whole, block }, dtype });
    const hanging = large ? csr(r + 1, c + 1, 'full') : csr(2 * r + 1, 3 * c + 1, 'full');
    specs.push({ pattern: { ...hanging, block }, dtype, reduced });
  }
  return specs;
}

export const sparseSoftmaxCases: readonly OperationCase[] = floatDTypes.flatMap(specsOf).map(makeCase);
