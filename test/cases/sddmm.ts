import type { SddmmPlan } from '../../lib/backends/calls/sddmm.js';
import { sddmmReference } from '../../lib/backends/reference/sddmm.js';
import { storedElements } from '../../lib/backends/reference/sparse-pattern.js';
import { sddmm, sddmmCall, tilesFor } from '../../lib/ops/sddmm.js';
import { sddmmNeeds } from '../../lib/ops/sddmm-needs.js';
import { type FloatDType, floatDTypes } from '../../lib/tensor/dtype.js';
import type { Tensor } from '../../lib/tensor/tensor.js';
import { errorBounds } from '../harness/bound.js';
import type { OperationCase, PreparedCase } from '../harness/case.js';
import { draw, roundTo } from '../harness/draw.js';
import { sddmmVariantSpecsOf } from './sddmm-variants.js';
import {
  blockShapes,
  csr,
  drawPattern,
  type PatternSpec,
  patternName,
  plant,
  uploadSparse,
} from './sparse-patterns.js';

export interface SddmmSpec {
  readonly pattern: PatternSpec;
  readonly depth: number;
  readonly dtype: FloatDType;
  readonly alpha?: number;
  readonly scaleByMask?: boolean;
  /** Batch of the mask's values, of A and of B; undefined for none. */
  readonly batches?: readonly [number | undefined, number | undefined, number | undefined];
  readonly reduced?: boolean;
  /** Runs this kernel instead of the one that the planner chooses. */
  readonly forced?: { readonly name: string; readonly plan: SddmmPlan };
  /** Changes A and B to what a special case needs; such a case has the exact fill alone. */
  readonly special?: { readonly name: string; readonly edit: (a: Float64Array, b: Float64Array) => void };
}

function makeCase(spec: SddmmSpec): OperationCase {
  const {
    pattern: shape,
    depth,
    dtype,
    alpha = 1,
    scaleByMask = false,
    batches = [],
    special,
    forced,
  } = spec;
  const parts = [patternName(shape), `k=${depth}`];
  if (alpha !== 1) parts.push(`alpha=${alpha}`);
  if (scaleByMask) parts.push('scaled');
  if (batches.length > 0) parts.push(`batch=${batches.map((size) => size ?? 'none').join('/')}`);
  if (forced !== undefined) parts.push(forced.name);
  if (special !== undefined) parts.push(special.name);
  const prepare: OperationCase['prepare'] = (fill, random): PreparedCase => {
    const pattern = drawPattern(shape, random);
    const [batchMask, batchA, batchB] = batches;
    const batch = (scaleByMask ? batchMask : undefined) ?? batchA ?? batchB;
    const nnz = storedElements(pattern);
    const factors = draw(fill, random, (batchMask ?? 1) * nnz, dtype);
    let a = draw(fill, random, (batchA ?? 1) * shape.rows * depth, dtype);
    let b = draw(fill, random, (batchB ?? 1) * shape.columns * depth, dtype);
    if (special !== undefined) {
      special.edit(a.values, b.values);
      [a, b] = [roundTo(dtype, a.values), roundTo(dtype, b.values)];
    }
    const leading = batch === undefined ? [] : [batch];
    return {
      outputs: [
        { name: 's', shape: [...leading, pattern.columnIndices.length, ...(shape.block ?? [])], dtype },
      ],
      bind(device) {
        const mask = uploadSparse(device, shape, pattern, factors, dtype, batchMask);
        const aShape = [...(batchA === undefined ? [] : [batchA]), shape.rows, depth];
        const bShape = [...(batchB === undefined ? [] : [batchB]), shape.columns, depth];
        const left = device.tensor(a.stored, { shape: aShape, dtype, raw: true });
        const right = device.tensor(b.stored, { shape: bShape, dtype, raw: true });
        return {
          inputs: [...mask.ownedTensors(), left, right],
          run: ([values]) => {
            if (forced !== undefined) {
              const out = mask.withValues(values as Tensor<FloatDType>);
              const call = sddmmCall(left, right, out, alpha, scaleByMask ? mask : undefined);
              const { plan } = forced;
              device.backend.operations.sddmm({ ...call, plan, tiles: tilesFor(mask, plan) });
              return;
            }
            sddmm(mask, left, right, {
              out: mask.withValues(values as Tensor<FloatDType>),
              alpha,
              scaleByMask,
            });
          },
        };
      },
      expected() {
        const result = sddmmReference({
          pattern,
          depth,
          batch: batch ?? 1,
          a: a.values,
          lda: depth,
          aStride: batchA === undefined ? 0 : shape.rows * depth,
          b: b.values,
          ldb: depth,
          bStride: batchB === undefined ? 0 : shape.columns * depth,
          factors: scaleByMask ? factors.values : undefined,
          factorsStride: batchMask === undefined ? 0 : nnz,
          alpha,
        });
        const bound = errorBounds(dtype, result.values, () => depth + 2, result.magnitudes);
        return [{ values: result.values, bound }];
      },
    };
  };
  return {
    operation: 'sddmm',
    name: `${parts.join(' ')} ${dtype}`,
    dtype,
    ...(spec.reduced === undefined ? {} : { reduced: spec.reduced }),
    needs: forced && sddmmNeeds(forced.plan, dtype, depth),
    ...(special === undefined ? {} : { fills: ['exact'] }),
    prepare,
  };
}

// [m, n, k]: k on each side of a vector (4 and 8) and of a subwarp's step (8, 32 and 64).
const shapes: readonly (readonly [number, number, number])[] = [
  [1, 1, 1],
  [1, 64, 2],
  [64, 1, 3],
  [5, 7, 4],
  [13, 9, 5],
  [16, 16, 7],
  [20, 24, 8],
  [33, 17, 9],
  [31, 33, 12],
  [64, 64, 16],
  [65, 63, 31],
  [40, 30, 32],
  [12, 20, 33],
  [33, 40, 40],
  [14, 14, 63],
  [17, 50, 64],
  [9, 30, 65],
  [20, 20, 72],
  [30, 20, 100],
  [24, 40, 128],
  [10, 20, 129],
  [11, 12, 257],
  [200, 3, 8],
  [3, 200, 8],
];

const emptyShapes: readonly (readonly [number, number, number])[] = [
  [0, 5, 4],
  [5, 0, 4],
  [5, 6, 0],
  [0, 0, 0],
];

const batches: readonly NonNullable<SddmmSpec['batches']>[] = [
  [undefined, 3, 3],
  [undefined, 3, undefined],
  [undefined, undefined, 3],
  [2, undefined, undefined],
  [2, 2, 2],
  [undefined, 1, undefined],
  [undefined, 0, 0],
];

const specials: readonly NonNullable<SddmmSpec['special']>[] = [
  { name: 'NaN and Infinity in a', edit: (a) => plant(a, 5, 23) },
  { name: 'NaN and Infinity in b', edit: (_a, b) => plant(b, 3, 23) },
  {
    name: 'overflow of float16',
    edit: (a, b) => {
      a.fill(192);
      b.fill(256);
    },
  },
  {
    name: 'subnormal products',
    edit: (a, b) => {
      a.fill(2 ** -12);
      b.fill(2 ** -11);
    },
  },
];

function specsOf(dtype: FloatDType): SddmmSpec[] {
  const specs: SddmmSpec[] = [];
  for (const [m, n, depth] of shapes) {
    const reduced = [1, 7, 8, 33, 72].includes(depth) && dtype !== 'bfloat16';
    specs.push({ pattern: csr(m, n, 'uniform', 0.15), depth, dtype, reduced });
    specs.push({ pattern: csr(m, n, 'skewed', 0.3), depth, dtype });
  }
  for (const [m, n, depth] of emptyShapes) specs.push({ pattern: csr(m, n, 'full'), depth, dtype });
  for (const kind of ['banded', 'lastColumn', 'full', 'empty'] as const) {
    for (const depth of [17, 40]) specs.push({ pattern: csr(19, 23, kind), depth, dtype });
  }
  for (const scaleByMask of [false, true]) {
    for (const depth of [24, 33]) {
      specs.push({ pattern: csr(20, 30, 'skewed'), depth, dtype, alpha: -0.5, scaleByMask });
      specs.push({ pattern: { ...csr(20, 30), block: [8, 8] }, depth, dtype, alpha: 2, scaleByMask });
      for (const sizes of batches) {
        specs.push({ pattern: csr(21, 18, 'skewed', 0.3), depth, dtype, scaleByMask, batches: sizes });
      }
    }
    for (const sizes of batches) {
      specs.push({
        pattern: { ...csr(21, 18), block: [4, 8] },
        depth: 20,
        dtype,
        scaleByMask,
        batches: sizes,
      });
    }
  }
  specs.push({ pattern: csr(9, 12), depth: 8, dtype, alpha: 0, reduced: true });
  for (const special of specials) {
    specs.push({ pattern: csr(24, 32, 'uniform', 0.3), depth: 16, dtype, special });
    specs.push({ pattern: csr(24, 32, 'skewed', 0.2), depth: 5, dtype, special });
    specs.push({ pattern: { ...csr(23, 31, 'uniform', 0.4), block: [4, 4] }, depth: 20, dtype, special });
  }
  for (const block of blockShapes) {
    const [r, c] = block;
    const reduced = ['8,8', '16,8', '32,32', '64,33', '1,1'].includes(String(block)) && dtype === 'float16';
    const large = r * c > 256;
    // Whole blocks, then edge blocks that hang over the matrix by all but one row and column.
    const whole = large ? csr(r, 3 * c, 'uniform', 0.7) : csr(3 * r, 4 * c, 'uniform', 0.5);
    specs.push({ pattern: { ...whole, block }, depth: large ? 9 : 33, dtype });
    const hanging = large ? csr(r + 1, c + 1, 'full') : csr(2 * r + 1, 3 * c + 1, 'skewed', 0.5);
    specs.push({ pattern: { ...hanging, block }, depth: large ? 33 : 64, dtype, reduced });
    specs.push({ pattern: { ...csr(r + 1, 2 * c + 1, 'full'), block }, depth: 1, dtype, scaleByMask: true });
  }
  specs.push({ pattern: { ...csr(8, 12, 'full'), block: [4, 4] }, depth: 0, dtype });
  specs.push({ pattern: { ...csr(0, 12, 'full'), block: [4, 4] }, depth: 8, dtype });
  return specs;
}

export const sddmmCases: readonly OperationCase[] = [
  ...floatDTypes.flatMap(specsOf),
  ...floatDTypes.flatMap(sddmmVariantSpecsOf),
].map(makeCase);
