// Sparse patterns for the cases of spmm, sddmm and sparseSoftmax.

import type { HostPattern } from '../../lib/backends/reference/sparse-pattern.js';
import type { Device } from '../../lib/device/device.js';
import { BlockSparseMatrix } from '../../lib/formats/block-sparse-matrix.js';
import { CsrMatrix } from '../../lib/formats/csr-matrix.js';
import type { SparseMatrix } from '../../lib/formats/sparse-matrix.js';
import type { FloatDType } from '../../lib/tensor/dtype.js';
import type { Drawn } from '../harness/draw.js';
import type { Random } from '../harness/random.js';

/**
 * uniform: each position with probability `density`. skewed: few long rows, many short and empty ones, the same mean. banded:
 * around the diagonal. lastColumn: one entry a row, in the last column. full, empty: all or nothing. longRows: at most one entry a row, but
 * the first, one in the middle and the last row are long.
 */
export type PatternKind = 'uniform' | 'skewed' | 'banded' | 'lastColumn' | 'full' | 'empty' | 'longRows';

export interface PatternSpec {
  readonly rows: number;
  readonly columns: number;
  readonly kind: PatternKind;
  readonly density?: number;
  /** Undefined: CSR. */
  readonly block?: readonly [number, number];
}

/** A CSR pattern of the given size. */
export const csr = (
  rows: number,
  columns: number,
  kind: PatternKind = 'uniform',
  density?: number,
): PatternSpec => ({ rows, columns, kind, ...(density === undefined ? {} : { density }) });

/** Puts NaN and the infinities at about one in `step * period` positions, scattered; `step` moves them. */
export function plant(target: Float64Array, step: number, period: number): void {
  const planted = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (let i = 0; i < target.length; ++i) {
    if ((i * 7919) % (step * period) === step) target[i] = planted[i % 3];
  }
}

/** 'csr 5x7 uniform 0.2' or 'block 16x8 33x40 full': the beginning of a case's name. */
export function patternName({ rows, columns, kind, density, block }: PatternSpec): string {
  const format = block === undefined ? 'csr' : `block ${block[0]}x${block[1]}`;
  return `${format} ${rows}x${columns} ${kind}${density === undefined ? '' : ` ${density}`}`;
}

export function drawPattern(spec: PatternSpec, random: Random): HostPattern {
  const [blockRows, blockColumns] = spec.block ?? [1, 1];
  const rows = Math.ceil(spec.rows / blockRows);
  const columns = Math.ceil(spec.columns / blockColumns);
  const pointers = [0];
  const indices: number[] = [];
  const long = [0, Math.floor(rows / 2), rows - 1];
  for (let row = 0; row < rows; ++row) {
    if (spec.kind === 'longRows' && !long.includes(row)) {
      if (random.unit() < 0.5) indices.push(random.integer(0, columns - 1));
    } else {
      const probability = rowProbability(spec, random, row, rows);
      for (let column = 0; column < columns; ++column) {
        const chance = columnProbability(spec, probability, row / rows, column, columns);
        if (random.unit() < chance) indices.push(column);
      }
    }
    pointers.push(indices.length);
  }
  return {
    rows: spec.rows,
    columns: spec.columns,
    blockRows,
    blockColumns,
    rowPointers: Int32Array.from(pointers),
    columnIndices: Int32Array.from(indices),
  };
}

function rowProbability(spec: PatternSpec, random: Random, row: number, rows: number): number {
  const density = spec.density ?? (spec.kind === 'longRows' ? 1 : 0.2);
  if (spec.kind !== 'skewed') return density;
  // A long row at a random place and in the last row, a third of the others empty.
  if (row === rows - 1 || random.unit() < 0.1) return Math.min(1, 5 * density);
  return random.unit() < 0.4 ? 0 : density / 2;
}

function columnProbability(
  spec: PatternSpec,
  probability: number,
  position: number,
  column: number,
  columns: number,
): number {
  switch (spec.kind) {
    case 'full':
      return 1;
    case 'empty':
      return 0;
    case 'lastColumn':
      return column === columns - 1 ? 1 : 0;
    case 'banded':
      return Math.abs(position - column / columns) <= probability / 2 ? 1 : 0;
    default:
      return probability;
  }
}

/** Uploads a pattern with values, [batch,] one set each. */
export function uploadSparse<D extends FloatDType>(
  device: Device,
  spec: PatternSpec,
  pattern: HostPattern,
  values: Drawn,
  dtype: D,
  batch: number | undefined,
): SparseMatrix<D> {
  const shape: [number, number] = [spec.rows, spec.columns];
  const { rowPointers, columnIndices } = pattern;
  const sets = batch === undefined ? [] : [batch];
  const set = [columnIndices.length, ...(spec.block ?? [])];
  const tensor = device.tensor(values.stored, { shape: [...sets, ...set], dtype, raw: true });
  const common = { shape, rowPointers, columnIndices, values: tensor, dtype };
  if (spec.block === undefined) return CsrMatrix.from(device, common);
  return BlockSparseMatrix.from(device, { ...common, blockShape: spec.block });
}

/** Block shapes worth a case: powers of two, thin ones, odd ones, each limit. */
export const blockShapes: readonly (readonly [number, number])[] = [
  [1, 1],
  [2, 2],
  [4, 4],
  [8, 8],
  [16, 16],
  [32, 32],
  [64, 64],
  [1, 8],
  [8, 1],
  [16, 8],
  [7, 5],
  [17, 9],
  [33, 17],
  [64, 1],
  [1, 64],
  [9, 64],
  [64, 33],
];
