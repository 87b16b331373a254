// Problems for planners: sizes, patterns and copies of every kind, whether or not a matrix has all of them.

import { stripHeights } from '../../lib/backends/calls/spmm.js';
import { binRows } from '../../lib/formats/row-bins.js';
import { tileShapes } from '../../lib/formats/tile-shapes.js';
import type { SddmmFeatures } from '../../lib/ops/sddmm-plan.js';
import type { SpmmFeatures } from '../../lib/ops/spmm-plan.js';
import { tileSizes } from '../../lib/ops/spmm-tiles-plan.js';
import { type FloatDType, floatDTypes } from '../../lib/tensor/dtype.js';
import type { Random } from './random.js';

/** An integer in [low, high], small ones as likely as large ones. */
function size(random: Random, low: number, high: number): number {
  return Math.round(Math.exp(random.uniform(Math.log(low), Math.log(high))));
}

type Pattern = Pick<
  SpmmFeatures & SddmmFeatures,
  'dtype' | 'format' | 'rows' | 'columns' | 'stored' | 'longestRow'
> & { readonly rowPointers: Int32Array };

function drawPattern(random: Random): Pattern {
  const [rows, columns] = [size(random, 1, 4000), size(random, 1, 200_000)];
  const mean = size(random, 1, Math.min(60, columns));
  const rowPointers = new Int32Array(rows + 1);
  let longestRow = 0;
  for (let row = 0; row < rows; ++row) {
    const length = random.unit() < 0.02 ? mean * 40 : random.integer(0, 2 * mean);
    longestRow = Math.max(longestRow, Math.min(length, columns));
    rowPointers[row + 1] = rowPointers[row] + Math.min(length, columns);
  }
  const format = random.unit() < 0.9 ? 'csr' : 'block-sparse';
  return {
    dtype: random.pick(floatDTypes),
    format,
    rows,
    columns,
    stored: rowPointers[rows],
    longestRow,
    rowPointers,
  };
}

const widths = [1, 2, 3, 5, 8, 16, 17, 30, 32, 33, 64, 66, 100, 128, 256, 512];
const vectorOf = (dtype: FloatDType): number => (dtype === 'float32' ? 4 : 8);

export function randomSpmmFeatures(random: Random): SpmmFeatures {
  const { rowPointers, ...pattern } = drawPattern(random);
  const { dtype, rows, stored, longestRow } = pattern;
  const width = random.pick(widths);
  const shares = (high: number) => {
    const count = size(random, 1, stored + 2);
    const items = Math.ceil(rows / high);
    const longest = Math.ceil((2 * count) / items);
    return { count, items, longest, parts: random.pick([0, 0, 7]), most: longest + 3 };
  };
  const [tall, low] = [random.pick(tileSizes(dtype)), random.pick(stripHeights)];
  return {
    ...pattern,
    width,
    bins: random.unit() < 0.5 ? binRows(rowPointers, longestRow) : undefined,
    batch: random.pick([1, 1, 2, 70_000]),
    batchedValues: random.unit() < 0.1,
    vectors: width % vectorOf(dtype) === 0 && random.unit() < 0.9,
    pairs: width % 2 === 0,
    farRows: random.unit() < 0.05,
    padded: false,
    tiles: random.unit() < 0.7 ? { rows: tall, ...shares(tall) } : undefined,
    stripSpan: random.unit() < 0.8 ? size(random, 8, 200_000) : undefined,
    strips: random.unit() < 0.5 ? { rows: low, ...shares(low) } : undefined,
  };
}

export function randomSddmmFeatures(random: Random): SddmmFeatures {
  const { rowPointers, ...pattern } = drawPattern(random);
  const { dtype, stored } = pattern;
  const depth = random.pick(widths);
  return {
    ...pattern,
    depth,
    batch: random.pick([1, 1, 3]),
    tiles: tileShapes.map(() => size(random, 1, stored + 2)),
    mapped: tileShapes.map(() => random.unit() < 0.7),
    vectors: depth % vectorOf(dtype) === 0 && random.unit() < 0.9,
    pairs: depth % 2 === 0,
    lines: random.unit() < 0.5,
  };
}
