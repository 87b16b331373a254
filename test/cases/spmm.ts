import type {
  RowBinsCall,
  SpmmCall,
  SpmmPlan,
  StripHeight,
  TileHeight,
} from '../../lib/backends/calls/spmm.js';
import { storedElements } from '../../lib/backends/reference/sparse-pattern.js';
import { spmmReference } from '../../lib/backends/reference/spmm.js';
import { stripCopy, tiledCopy } from '../../lib/formats/packed-copy.js';
import type { SparseMatrix } from '../../lib/formats/sparse-matrix.js';
import { countAllStrips } from '../../lib/formats/strip-counts.js';
import type { Topology } from '../../lib/formats/topology.js';
import { spmm, spmmCall, tableOf } from '../../lib/ops/spmm.js';
import { spmmNeeds } from '../../lib/ops/spmm-needs.js';
import type { CardNeeds } from '../../lib/planning/plan-device.js';
import { type FloatDType, floatDTypes } from '../../lib/tensor/dtype.js';
import type { Tensor } from '../../lib/tensor/tensor.js';
import { errorBounds } from '../harness/bound.js';
import type { OperationCase, PreparedCase } from '../harness/case.js';
import { type Drawn, draw, roundTo } from '../harness/draw.js';
import {
  blockShapes,
  csr,
  drawPattern,
  type PatternSpec,
  patternName,
  plant,
  uploadSparse,
} from './sparse-patterns.js';
import { variantSpecsOf } from './spmm-variants.js';

export interface SpmmSpec {
  readonly pattern: PatternSpec;
  readonly width: number;
  readonly dtype: FloatDType;
  readonly alpha?: number;
  readonly beta?: number;
  /** Batch of the values of A and of B; undefined for none. */
  readonly batches?: readonly [number | undefined, number | undefined];
  readonly reduced?: boolean;
  /** Runs this kernel instead of the one that the planner chooses. */
  readonly forced?: ForcedPlan;
  /** Changes inputs to what a special case needs; such a case has the exact fill alone. */
  readonly special?: {
    readonly name: string;
    readonly edit: (values: Float64Array, b: Float64Array) => void;
  };
}

/** A kernel to run instead of the one that the planner chooses. */
export interface ForcedPlan {
  readonly name: string;
  /** Of row bins and streams: without the items that take a block or a warp each. */
  readonly plan: SpmmPlan;
  readonly tileRows?: TileHeight;
  readonly stripRows?: StripHeight;
  /** Row bins: most items that take a block each, and a warp each. */
  readonly items?: readonly [number, number];
}

/** What the kernel that `forced` says needs. */
export const needsOfForced = (forced: ForcedPlan | undefined, dtype: FloatDType): CardNeeds | undefined =>
  forced && spmmNeeds(forced.plan, dtype, forced.tileRows ?? 0);

/** Runs `call` by the kernel that `forced` says. */
export function runForced(call: SpmmCall, matrix: SparseMatrix, { plan, items }: ForcedPlan): void {
  const { spmm: run } = matrix.device.backend.operations;
  const { topology } = matrix;
  const tables = (own: SpmmPlan): RowBinsCall => {
    const found = tableOf(own, topology, matrix.bins);
    if (found === undefined) throw new Error('the rows are about equally long');
    return found;
  };
  if (plan.variant === 'stream') {
    const bins = tables(plan);
    const { stream, column } = topology.bins as NonNullable<Topology['bins']>;
    const { blockItems, warpItems } = plan.lanes === 1 ? column : stream;
    run({ ...call, plan: { ...plan, blockItems, warpItems }, bins });
  } else if (items === undefined) {
    const { tiles, strips } = matrix.values;
    run({ ...call, plan, tiles: tiles?.call, strips: strips?.call });
  } else {
    const bins = tables(plan);
    const blockItems = Math.min(items[0], bins.items);
    const warpItems = Math.min(items[1], bins.items - blockItems);
    run({ ...call, plan: { ...plan, blockItems, warpItems }, bins });
  }
}

export function makeSpmmCase(spec: SpmmSpec): OperationCase {
  const { pattern: shape, width, dtype, alpha = 1, beta = 0, batches = [], special, forced } = spec;
  const parts = [patternName(shape), `n=${width}`];
  if (alpha !== 1) parts.push(`alpha=${alpha}`);
  if (beta !== 0) parts.push(`beta=${beta}`);
  if (batches.length > 0) parts.push(`batch=${batches.map((size) => size ?? 'none').join('/')}`);
  if (forced !== undefined) parts.push(forced.name);
  if (special !== undefined) parts.push(special.name);
  const prepare: OperationCase['prepare'] = (fill, random): PreparedCase => {
    const pattern = drawPattern(shape, random);
    const [batchA, batchB] = batches;
    const batch = batchA ?? batchB;
    const nnz = storedElements(pattern);
    let values = draw(fill, random, (batchA ?? 1) * nnz, dtype);
    let b = draw(fill, random, (batchB ?? 1) * shape.columns * width, dtype);
    if (special !== undefined) {
      special.edit(values.values, b.values);
      [values, b] = [roundTo(dtype, values.values), roundTo(dtype, b.values)];
    }
    const sets = batch ?? 1;
    const c: Drawn | undefined =
      beta === 0 ? undefined : draw(fill, random, sets * shape.rows * width, dtype);
    const outShape = [...(batch === undefined ? [] : [batch]), shape.rows, width];
    return {
      outputs: [{ name: 'c', shape: outShape, dtype, ...(c === undefined ? {} : { initial: c.stored }) }],
      bind(device) {
        const matrix = uploadSparse(device, shape, pattern, values, dtype, batchA);
        const bShape = [...(batchB === undefined ? [] : [batchB]), shape.columns, width];
        const dense = device.tensor(b.stored, { shape: bShape, dtype, raw: true });
        if (forced?.tileRows !== undefined) {
          const rows = forced.tileRows;
          matrix.values.tiles = tiledCopy(matrix, rows);
        }
        if (forced?.stripRows !== undefined) {
          const rows = forced.stripRows;
          const { rowPointers, columnIndices, columns } = pattern;
          const { strips } = countAllStrips(rowPointers, columnIndices, new Int32Array(columns));
          matrix.values.strips = stripCopy(matrix, strips[rows]);
        }
        return {
          inputs: [...matrix.ownedTensors(), dense],
          run: ([out]) => {
            if (forced !== undefined) {
              runForced(spmmCall(matrix, dense, out, alpha, beta), matrix, forced);
              return;
            }
            spmm(matrix, dense, { out: out as Tensor<FloatDType>, alpha, beta });
          },
        };
      },
      expected() {
        const result = spmmReference({
          pattern,
          width,
          batch: sets,
          values: values.values,
          valuesStride: batchA === undefined ? 0 : nnz,
          b: b.values,
          ldb: width,
          bStride: batchB === undefined ? 0 : shape.columns * width,
          c: c?.values,
          ldc: width,
          cStride: shape.rows * width,
          alpha,
          beta,
        });
        const terms = (index: number): number =>
          result.terms[Math.floor(index / width) % shape.rows] + (beta === 0 ? 1 : 2);
        return [
          { values: result.values, bound: errorBounds(dtype, result.values, terms, result.magnitudes) },
        ];
      },
    };
  };
  return {
    operation: 'spmm',
    name: `${parts.join(' ')} ${dtype}`,
    dtype,
    ...(spec.reduced === undefined ? {} : { reduced: spec.reduced }),
    needs: needsOfForced(forced, dtype),
    ...(special === undefined ? {} : { fills: ['exact'] }),
    prepare,
  };
}

// [m, k, n]: each side of a vector (4 and 8 columns), of a subwarp's tile (8, 32, 64 columns) and of a warp's (32, 128, 256).
const shapes: readonly (readonly [number, number, number])[] = [
  [1, 1, 1],
  [1, 64, 1],
  [100, 20, 2],
  [5, 7, 3],
  [128, 32, 4],
  [13, 9, 5],
  [8, 16, 7],
  [16, 16, 8],
  [8, 16, 9],
  [20, 24, 12],
  [17, 17, 16],
  [31, 33, 31],
  [64, 64, 32],
  [65, 63, 33],
  [12, 20, 36],
  [15, 15, 63],
  [33, 128, 64],
  [14, 14, 65],
  [9, 30, 72],
  [17, 40, 100],
  [10, 20, 127],
  [64, 100, 128],
  [40, 64, 129],
  [11, 20, 132],
  [20, 30, 255],
  [20, 30, 256],
  [9, 50, 257],
  [6, 10, 264],
  [3, 5, 520],
];

const emptyShapes: readonly (readonly [number, number, number])[] = [
  [0, 5, 4],
  [4, 0, 8],
  [4, 0, 7],
  [4, 8, 0],
  [0, 0, 0],
];

const scalars: readonly (readonly [number, number])[] = [
  [2, 0],
  [-0.5, 1],
  [1, 1],
  [1, -0.25],
  [0, 0],
  [0, 2],
];

const batches: readonly (readonly [number | undefined, number | undefined])[] = [
  [3, undefined],
  [undefined, 3],
  [3, 3],
  [1, 1],
  [1, undefined],
  [0, undefined],
  [undefined, 0],
];

const specials: readonly NonNullable<SpmmSpec['special']>[] = [
  { name: 'NaN and Infinity in b', edit: (_values, b) => plant(b, 3, 11) },
  { name: 'NaN and Infinity in values', edit: (values) => plant(values, 5, 11) },
  {
    name: 'Infinity times a stored zero',
    edit: (values, b) => {
      values.fill(0);
      plant(b, 4, 11);
    },
  },
  {
    name: 'overflow of float16',
    edit: (values, b) => {
      values.fill(192);
      b.fill(256);
    },
  },
  {
    name: 'subnormal products',
    edit: (values, b) => {
      values.fill(2 ** -12);
      b.fill(2 ** -11);
    },
  },
];

function specsOf(dtype: FloatDType): SpmmSpec[] {
  const specs: SpmmSpec[] = [];
  for (const [m, k, width] of shapes) {
    const reduced = [1, 9, 64, 72, 129, 264].includes(width) && dtype !== 'bfloat16';
    specs.push({ pattern: csr(m, k, 'uniform', 0.15), width, dtype, reduced });
    specs.push({ pattern: csr(m, k, 'skewed', 0.3), width, dtype });
  }
  for (const [m, k, width] of emptyShapes) specs.push({ pattern: csr(m, k, 'full'), width, dtype });
  for (const kind of ['banded', 'lastColumn', 'full', 'empty'] as const) {
    for (const width of [1, 17, 40]) specs.push({ pattern: csr(19, 23, kind), width, dtype });
  }
  for (const [alpha, beta] of scalars) {
    for (const width of [24, 33]) {
      specs.push({ pattern: csr(20, 30, 'skewed', 0.2), width, dtype, alpha, beta });
      specs.push({ pattern: { ...csr(20, 30), block: [8, 8] }, width, dtype, alpha, beta });
    }
  }
  for (const sizes of batches) {
    for (const width of [16, 17]) {
      specs.push({ pattern: csr(21, 18, 'skewed', 0.3), width, dtype, batches: sizes });
      specs.push({ pattern: { ...csr(21, 18), block: [4, 8] }, width, dtype, batches: sizes });
    }
  }
  specs.push({ pattern: csr(9, 12), width: 8, dtype, batches: [2, 2], alpha: 2, beta: -1, reduced: true });
  for (const special of specials) {
    specs.push({ pattern: csr(24, 32, 'uniform', 0.3), width: 16, dtype, special });
    specs.push({ pattern: csr(24, 32, 'skewed', 0.2), width: 5, dtype, special });
    specs.push({ pattern: { ...csr(23, 31, 'uniform', 0.4), block: [4, 4] }, width: 20, dtype, special });
  }
  return [...specs, ...blockSpecsOf(dtype)];
}

function blockSpecsOf(dtype: FloatDType): SpmmSpec[] {
  const specs: SpmmSpec[] = [];
  for (const block of blockShapes) {
    const [r, c] = block;
    const reduced = ['8,8', '16,8', '32,32', '64,33', '1,1'].includes(String(block)) && dtype === 'float16';
    const large = r * c > 256;
    // Whole blocks, then edge blocks that hang over the matrix by all but one row and column.
    const whole = large ? csr(r, 3 * c, 'uniform', 0.7) : csr(3 * r, 4 * c, 'uniform', 0.5);
    specs.push({ pattern: { ...whole, block }, width: large ? 17 : 33, dtype });
    const hanging = large ? csr(r + 1, c + 1, 'full') : csr(2 * r + 1, 3 * c + 1, 'skewed', 0.5);
    specs.push({ pattern: { ...hanging, block }, width: large ? 20 : 64, dtype, reduced });
    specs.push({ pattern: { ...csr(r + 1, 2 * c + 1, 'full'), block }, width: 1, dtype });
    specs.push({ pattern: { ...csr(r, 2 * c, 'lastColumn'), block }, width: large ? 65 : 130, dtype });
  }
  specs.push({ pattern: { ...csr(0, 8, 'full'), block: [4, 4] }, width: 8, dtype });
  specs.push({ pattern: { ...csr(8, 0, 'full'), block: [4, 4] }, width: 8, dtype });
  specs.push({ pattern: { ...csr(8, 8, 'full'), block: [4, 4] }, width: 0, dtype });
  specs.push({ pattern: { ...csr(40, 40, 'empty'), block: [16, 16] }, width: 20, dtype });
  return specs;
}

export const spmmCases: readonly OperationCase[] = [
  ...floatDTypes.flatMap(specsOf),
  ...floatDTypes.flatMap(variantSpecsOf),
].map(makeSpmmCase);
