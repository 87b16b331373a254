// spmm of transposed matrices, and of ranges of columns of wider tensors.

import { spmmPlan, tileHeights } from '../../lib/backends/calls/spmm.js';
import {
  type HostPattern,
  listRow,
  rowEntries,
  storedElements,
} from '../../lib/backends/reference/sparse-pattern.js';
import { spmmReference } from '../../lib/backends/reference/spmm.js';
import { tiledCopy } from '../../lib/formats/packed-copy.js';
import { transposedMatrix } from '../../lib/formats/transposed-copy.js';
import { spmm, spmmCall } from '../../lib/ops/spmm.js';
import { binPlans, groupPlans } from '../../lib/ops/spmm-gather-plans.js';
import { type FloatDType, floatDTypes } from '../../lib/tensor/dtype.js';
import type { Tensor } from '../../lib/tensor/tensor.js';
import { errorBounds } from '../harness/bound.js';
import type { OperationCase } from '../harness/case.js';
import { draw, roundTo } from '../harness/draw.js';
import { csr, drawPattern, type PatternSpec, patternName, uploadSparse } from './sparse-patterns.js';
import { type ForcedPlan, needsOfForced, runForced } from './spmm.js';
import { forcedStreams } from './spmm-variants.js';

/** First column of a range, and columns of the tensor. */
type Place = readonly [first: number, wide: number];

interface Spec {
  readonly pattern: PatternSpec;
  readonly width: number;
  readonly dtype: FloatDType;
  readonly transposeA?: boolean;
  readonly b?: Place;
  readonly out?: Place;
  readonly beta?: number;
  /** Of the values of A and of B. */
  readonly batches?: readonly [number | undefined, number | undefined];
  readonly forced?: ForcedPlan;
  readonly reduced?: boolean;
}

/** The stored elements inside the matrix, row by row or column by column, in CSR. */
function listEntries(pattern: HostPattern, byColumn: boolean): { csr: HostPattern; positions: number[] } {
  const [rows, columns] = byColumn ? [pattern.columns, pattern.rows] : [pattern.rows, pattern.columns];
  const lists: [column: number, position: number][][] = Array.from({ length: rows }, () => []);
  const entries = rowEntries(pattern);
  for (let row = 0; row < pattern.rows; ++row) {
    listRow(pattern, row, entries);
    for (let i = 0; i < entries.count; ++i) {
      const [column, position] = [entries.columns[i], entries.positions[i]];
      if (byColumn) lists[column].push([row, position]);
      else lists[row].push([column, position]);
    }
  }
  const pointers = [0];
  for (const list of lists) pointers.push(pointers[pointers.length - 1] + list.length);
  const all = lists.flat();
  return {
    csr: {
      rows,
      columns,
      blockRows: 1,
      blockColumns: 1,
      rowPointers: Int32Array.from(pointers),
      columnIndices: Int32Array.from(all, ([column]) => column),
    },
    positions: all.map(([, position]) => position),
  };
}

function makeCase(spec: Spec): OperationCase {
  const { pattern: shape, width, dtype, transposeA = false, beta = 0, batches = [], forced } = spec;
  const [bFirst, bWide] = spec.b ?? [0, width];
  const [outFirst, outWide] = spec.out ?? [0, width];
  const parts = [patternName(shape), `n=${width}`];
  if (transposeA) parts.push('transposed');
  if (spec.b !== undefined) parts.push(`b=${bFirst}/${bWide}`);
  if (spec.out !== undefined) parts.push(`out=${outFirst}/${outWide}`);
  if (beta !== 0) parts.push(`beta=${beta}`);
  if (batches.length > 0) parts.push(`batch=${batches.map((size) => size ?? 'none').join('/')}`);
  if (forced !== undefined) parts.push(forced.name);
  const prepare: OperationCase['prepare'] = (fill, random) => {
    const pattern = drawPattern(shape, random);
    const { csr, positions } = listEntries(pattern, transposeA);
    const [batchA, batchB] = batches;
    const batch = batchA ?? batchB;
    const sets = batch ?? 1;
    const nnz = storedElements(pattern);
    const values = draw(fill, random, (batchA ?? 1) * nnz, dtype);
    const b = draw(fill, random, (batchB ?? 1) * csr.columns * bWide, dtype);
    const drawn = draw(fill, random, sets * csr.rows * outWide, dtype).values;
    const inside = (index: number): boolean => {
      const column = index % outWide;
      return column >= outFirst && column < outFirst + width;
    };
    // Where it is not read, what was there must not count.
    const c = roundTo(dtype, beta === 0 ? drawn.map((value, i) => (inside(i) ? Number.NaN : value)) : drawn);
    const outShape = [...(batch === undefined ? [] : [batch]), csr.rows, outWide];
    return {
      outputs: [{ name: 'c', shape: outShape, dtype, initial: c.stored }],
      bind(device) {
        const matrix = uploadSparse(device, shape, pattern, values, dtype, batchA);
        const bShape = [...(batchB === undefined ? [] : [batchB]), csr.columns, bWide];
        const dense = device.tensor(b.stored, { shape: bShape, dtype, raw: true });
        const bColumns = [bFirst, bFirst + width] as const;
        const outColumns = [outFirst, outFirst + width] as const;
        return {
          inputs: [...matrix.ownedTensors(), dense],
          run: ([out]) => {
            if (forced === undefined) {
              const ranges = {
                ...(spec.b === undefined ? {} : { bColumns }),
                ...(spec.out === undefined ? {} : { outColumns }),
              };
              spmm(matrix, dense, { out: out as Tensor<FloatDType>, beta, transposeA, ...ranges });
              return;
            }
            const operand = transposeA ? transposedMatrix(matrix) : matrix;
            const rows = forced.tileRows;
            if (rows !== undefined) {
              operand.values.tiles ??= tiledCopy(operand, rows);
            }
            const columns = { width, b: bFirst, out: outFirst };
            const call = spmmCall(operand, dense, out, 1, beta, 'row-split', columns);
            runForced(call, operand, forced);
          },
        };
      },
      expected() {
        const inSet = new Float64Array((batchA ?? 1) * positions.length);
        for (let i = 0; i < inSet.length; ++i) {
          const set = Math.floor(i / positions.length);
          inSet[i] = values.values[set * nnz + positions[i - set * positions.length]];
        }
        const result = spmmReference({
          pattern: csr,
          width,
          batch: sets,
          values: inSet,
          valuesStride: batchA === undefined ? 0 : positions.length,
          b: b.values.subarray(bFirst),
          ldb: bWide,
          bStride: batchB === undefined ? 0 : csr.columns * bWide,
          c: beta === 0 ? undefined : c.values.subarray(outFirst),
          ldc: outWide,
          cStride: csr.rows * outWide,
          alpha: 1,
          beta,
        });
        const terms = (index: number): number => result.terms[Math.floor(index / width) % csr.rows] + 2;
        const bounds = errorBounds(dtype, result.values, terms, result.magnitudes);
        // Outside of the range not a bit changes.
        const [expected, bound] = [drawn.slice(), new Float64Array(drawn.length)];
        for (let i = 0, next = 0; i < expected.length; ++i) {
          if (!inside(i)) continue;
          expected[i] = result.values[next];
          bound[i] = bounds[next++];
        }
        return [{ values: expected, bound }];
      },
    };
  };
  return {
    operation: 'spmm',
    name: `${parts.join(' ')} ${dtype}`,
    dtype,
    ...(spec.reduced === undefined ? {} : { reduced: spec.reduced }),
    needs: needsOfForced(forced, dtype),
    prepare,
  };
}

function transposedSpecs(dtype: FloatDType): Spec[] {
  const specs: Spec[] = [];
  const add = (pattern: PatternSpec, width: number, rest: Partial<Spec> = {}): void => {
    specs.push({ pattern, width, dtype, transposeA: true, ...rest });
  };
  for (const [rows, columns, width] of [
    [1, 1, 1],
    [5, 7, 3],
    [20, 100, 2],
    [64, 64, 32],
    [33, 128, 64],
    [64, 100, 129],
  ] as const) {
    add(csr(rows, columns, 'uniform', 0.2), width, { reduced: width === 64 && dtype === 'float16' });
    add(csr(rows, columns, 'skewed', 0.3), width);
  }
  for (const [rows, columns] of [
    [0, 5],
    [5, 0],
    [0, 0],
  ] as const) {
    add(csr(rows, columns, 'full'), 8);
  }
  for (const kind of ['banded', 'lastColumn', 'full', 'empty'] as const) add(csr(19, 23, kind), 17);
  // Rows of the transpose are long: its own bins.
  add({ ...csr(1500, 1200, 'lastColumn') }, 8);
  for (const sizes of [
    [3, undefined],
    [undefined, 3],
    [2, 2],
    [0, undefined],
  ] as const) {
    add(csr(21, 18, 'skewed', 0.3), 16, { batches: sizes });
    add({ ...csr(21, 18, 'uniform', 0.4), block: [4, 8] }, 17, { batches: sizes });
  }
  add(csr(30, 20, 'uniform', 0.2), 24, { beta: -1 });
  for (const block of [
    [1, 8],
    [8, 1],
    [7, 5],
    [16, 8],
    [32, 32],
    [64, 33],
  ] as const) {
    // Edge blocks that hang over the matrix.
    add({ ...csr(2 * block[0] + 1, 2 * block[1] + 1, 'uniform', 0.7), block }, 20);
  }
  add(csr(40, 30, 'uniform', 0.3), 16, { b: [8, 40], out: [16, 48], beta: 0.5 });
  return specs;
}

/** [width, b, out]: ranges that take vectors of 8 columns, of 4, and of one; at each end of the tensors; of one column and none. */
const ranges: readonly (readonly [number, Place, Place])[] = [
  [16, [0, 32], [16, 32]],
  [16, [8, 24], [0, 24]],
  [8, [4, 16], [4, 20]],
  [16, [0, 17], [0, 16]],
  [16, [0, 16], [1, 17]],
  [16, [1, 24], [0, 24]],
  [16, [0, 24], [3, 24]],
  [5, [3, 9], [2, 11]],
  [33, [0, 40], [7, 40]],
  [64, [64, 192], [0, 128]],
  [64, [63, 192], [1, 65]],
  [1, [6, 7], [0, 3]],
  [0, [4, 8], [8, 8]],
  [136, [8, 152], [16, 152]],
];

function rangeSpecs(dtype: FloatDType): Spec[] {
  const specs: Spec[] = [];
  for (const [width, b, out] of ranges) {
    const reduced = dtype === 'float16' && [5, 136].includes(width);
    specs.push({ pattern: csr(21, 34, 'skewed', 0.3), width, dtype, b, out, reduced });
    specs.push({ pattern: csr(21, 34, 'uniform', 0.3), width, dtype, b, out, beta: -1 });
    specs.push({ pattern: { ...csr(21, 34, 'uniform', 0.4), block: [8, 4] }, width, dtype, b, out });
    specs.push({ pattern: csr(21, 34, 'uniform', 0.3), width, dtype, b, out, batches: [2, 2] });
  }
  specs.push({ pattern: csr(9, 12, 'full'), width: 8, dtype, b: [8, 24] });
  specs.push({ pattern: csr(9, 12, 'full'), width: 8, dtype, out: [8, 24] });
  specs.push({ pattern: csr(9, 0, 'full'), width: 8, dtype, b: [8, 24], out: [8, 24] });
  specs.push({ pattern: csr(0, 9, 'full'), width: 8, dtype, b: [8, 24], out: [8, 24] });
  for (const spec of forcedSpecs(dtype)) specs.push(spec);
  return specs;
}

const someBins = { atLeast: new Array<number>(10).fill(0) };

/** Every kind of kernel over ranges that take vectors and ranges that do not. */
function* forcedSpecs(dtype: FloatDType): Iterable<Spec> {
  const vector = dtype === 'float32' ? 4 : 8;
  for (const [width, b, out] of ranges) {
    if (width === 0) continue;
    const vectors = [width, ...b, ...out].every((size) => size % vector === 0);
    const pairs = [width, ...b, ...out].every((size) => size % 2 === 0);
    const plans = [...groupPlans({ dtype, width, vectors, pairs })];
    for (const plan of [plans[0], plans[plans.length - 1]]) {
      const { vector, piece, lanes, splits, warps } = plan;
      const forced = { name: `group ${vector}/${piece}x${lanes}x${splits}x${warps}`, plan };
      yield { pattern: csr(37, 61, 'skewed', 0.15), width, dtype, b, out, forced };
      if (width <= 33)
        yield { pattern: csr(1100, 600, 'longRows', 0.9), width, dtype, b, out, forced, beta: 1 };
    }
    const copied = groupPlans({ dtype, width: Math.ceil(width / vector) * vector, vectors: true, pairs });
    const padded = { name: 'padded group', plan: { ...copied[copied.length - 1], padded: true } };
    yield { pattern: csr(37, 61, 'skewed', 0.15), width, dtype, b, out, forced: padded, beta: 1 };
    const binned = [...binPlans({ dtype, width, vectors, pairs, bins: someBins })];
    for (const plan of [binned[0], binned[binned.length - 1]]) {
      const forced: ForcedPlan = {
        name: `bins ${plan.vector}/${plan.piece}x${plan.lanes}x${plan.splits}`,
        plan,
        items: [2, 9],
      };
      yield { pattern: csr(150, 61, 'skewed', 0.15), width, dtype, b, out, forced, beta: 1 };
    }
    for (const forced of forcedStreams(dtype, width, { vectors, pairs })) {
      for (const pattern of [csr(150, 61, 'skewed', 0.15), csr(90, 1300, 'longRows', 0.9)]) {
        yield { pattern, width, dtype, b, out, forced, beta: 1 };
      }
    }
    if (dtype === 'float32') continue;
    for (const tileRows of tileHeights) {
      const cluster = tileRows === 64 ? 2 : 1;
      const plan = spmmPlan('tiles', { columns: tileRows, cluster });
      const forced = { name: `tiles ${tileRows}/${cluster}`, plan, tileRows };
      yield { pattern: csr(70, 150, 'uniform', 0.2), width, dtype, b, out, forced };
      if (width === 64) {
        yield {
          pattern: csr(150, 70, 'uniform', 0.2),
          width,
          dtype,
          b,
          out,
          forced,
          transposeA: true,
          beta: 2,
        };
      }
    }
  }
}

function unique(specs: readonly Spec[]): OperationCase[] {
  const cases = specs.map(makeCase);
  return [...new Map(cases.map((item) => [item.name, item])).values()];
}

export const spmmLayoutCases: readonly OperationCase[] = floatDTypes.flatMap((dtype) =>
  unique([...transposedSpecs(dtype), ...rangeSpecs(dtype)]),
);
