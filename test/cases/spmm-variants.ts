// Every kernel of spmm forced over the shapes at which its tiles end.

import type { SpmmPlan } from '../../lib/backends/calls/spmm.js';
import { floatTileColumns, floatTileSizes } from '../../lib/ops/spmm-float-tiles.js';
import { groupPlans } from '../../lib/ops/spmm-plan.js';
import type { FloatDType } from '../../lib/tensor/dtype.js';
import type { PatternKind, PatternSpec } from './sparse-patterns.js';
import type { SpmmSpec } from './spmm.js';

type Size = readonly [number, number, number];

const csr = (rows: number, columns: number, kind: PatternKind, density?: number): PatternSpec => ({
  rows,
  columns,
  kind,
  ...(density === undefined ? {} : { density }),
});

/** Group plans that fit a width: the planner's own, and in the vector-free form, which takes any. */
function plansFor(dtype: FloatDType, width: number): SpmmPlan[] {
  const vector = dtype === 'float32' ? 4 : 8;
  const features = { dtype, width } as Parameters<typeof groupPlans>[0];
  const plain = [...groupPlans({ ...features, vectors: false })];
  return width % vector === 0 ? [...plain, ...groupPlans({ ...features, vectors: true })] : plain;
}

const groupName = ({ vector, lanes, splits, warps }: SpmmPlan): string =>
  `group ${vector}x${lanes}x${splits}x${warps}`;

function groupSpecs(dtype: FloatDType): SpmmSpec[] {
  const specs: SpmmSpec[] = [];
  const add = (pattern: PatternSpec, width: number, plan: SpmmPlan, rest: Partial<SpmmSpec> = {}): void => {
    specs.push({ pattern, width, dtype, forced: { name: groupName(plan), plan }, ...rest });
  };
  for (const width of [1, 3, 8, 31, 32, 33, 64, 127, 128, 129, 256, 264]) {
    for (const plan of plansFor(dtype, width)) {
      const reduced = dtype !== 'bfloat16' && plan.warps < 4 && [1, 32, 256].includes(width);
      add(csr(37, 61, 'skewed', 0.15), width, plan, { reduced });
    }
  }
  // Rows of many rounds, and beta with batches.
  for (const plan of plansFor(dtype, 8)) {
    add(csr(5, 700, 'uniform', 0.7), 8, plan);
    add(csr(1100, 700, 'longRows'), 8, plan, { alpha: 2, beta: -1 });
    add(csr(21, 18, 'skewed', 0.3), 8, plan, { batches: [3, 3], alpha: -0.5, beta: 1 });
  }
  for (const plan of plansFor(dtype, 32)) {
    add(csr(1100, 600, 'longRows', 0.9), 32, plan, { batches: [undefined, 2], reduced: plan.warps === 8 });
    add(csr(30, 40, 'skewed', 0.3), 32, plan, { special: nonFinite(7) });
  }
  for (const plan of plansFor(dtype, 5)) {
    add(csr(1100, 700, 'longRows'), 5, plan, { batches: [2, undefined] });
    add(csr(30, 40, 'uniform', 0.3), 5, plan, { special: nonFinite(7) });
  }
  return specs;
}

// [m, k, n]: the edges of each size of tile and of its depth of 64.
const tileShapes: readonly Size[] = [
  [1, 1, 1],
  [7, 5, 3],
  [31, 63, 8],
  [32, 64, 31],
  [33, 65, 32],
  [63, 127, 33],
  [64, 128, 64],
  [65, 129, 63],
  [127, 100, 65],
  [128, 300, 127],
  [129, 640, 128],
  [70, 1100, 129],
  [40, 200, 136],
];

/** Rows of a tile and columns of a block: the kernels there are. */
const tileKernels = (dtype: FloatDType): readonly (readonly [number, number])[] =>
  dtype === 'float32'
    ? floatTileSizes.flatMap((rows) => floatTileColumns(rows).map((columns) => [rows, columns] as const))
    : [
        [32, 32],
        [64, 64],
        [128, 128],
      ];

type Forced = NonNullable<SpmmSpec['forced']>;

function forcedTiles(dtype: FloatDType): Forced[] {
  return tileKernels(dtype).flatMap(([tileRows, columns]) =>
    [1, 2, 4, 8].map((cluster) => {
      const shared = { variant: 'tiles', vector: 1, lanes: 32, splits: 1, warps: 1 } as const;
      return {
        name: `tiles ${tileRows}x${columns}/${cluster}`,
        plan: { ...shared, columns, cluster },
        tileRows,
      };
    }),
  );
}

function tileSpecs(dtype: FloatDType): SpmmSpec[] {
  const specs: SpmmSpec[] = [];
  for (const forced of forcedTiles(dtype)) {
    for (const [rows, columns, width] of tileShapes) {
      const reduced = dtype !== 'bfloat16' && forced.plan.cluster === 2 && width > 60;
      specs.push({ pattern: csr(rows, columns, 'uniform', 0.1), width, dtype, forced, reduced });
    }
    specs.push({ pattern: csr(150, 700, 'banded', 0.2), width: 40, dtype, forced });
    specs.push({ pattern: csr(150, 90, 'empty'), width: 40, dtype, forced });
    specs.push({ pattern: csr(90, 200, 'full'), width: 24, dtype, forced, alpha: 2, beta: -1 });
    specs.push({ pattern: csr(90, 200, 'lastColumn'), width: 23, dtype, forced, alpha: 1, beta: 0.5 });
    specs.push({
      pattern: csr(70, 150, 'skewed', 0.2),
      width: 40,
      dtype,
      forced,
      batches: [undefined, 3],
      beta: 1,
    });
    // What is not stored must not turn a value that is not finite into NaN everywhere.
    for (const step of [3, 40]) {
      specs.push({
        pattern: csr(70, 150, 'uniform', 0.1),
        width: 40,
        dtype,
        forced,
        special: nonFinite(step),
      });
      specs.push({
        pattern: csr(40, 70, 'skewed', 0.3),
        width: 33,
        dtype,
        forced,
        special: nonFinite(step),
      });
    }
    specs.push({
      pattern: csr(50, 90, 'uniform', 0.3),
      width: 40,
      dtype,
      forced,
      special: { name: 'Infinity and NaN in values', edit: (values) => plantAll(values, 5) },
    });
  }
  return specs;
}

const nonFinite = (step: number): NonNullable<SpmmSpec['special']> => ({
  name: `NaN and Infinity in b, 1 of ${step}`,
  edit: (_values, b) => plantAll(b, step),
});

function plantAll(target: Float64Array, step: number): void {
  const planted = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (let i = 0; i < target.length; ++i) if ((i * 7919) % step === 1) target[i] = planted[i % 3];
}

/** Panels that are cut into parts: three rows see everything, the others next to nothing. */
function cutPanelSpecs(dtype: FloatDType): SpmmSpec[] {
  if (dtype !== 'float32') return [];
  const pattern = csr(2200, 16_000, 'longRows', 0.3);
  return forcedTiles(dtype).flatMap((forced): SpmmSpec[] => [
    { pattern, width: 12, dtype, forced, reduced: forced.plan.cluster === 2 },
    { pattern, width: 5, dtype, forced, alpha: 2, beta: -1 },
    { pattern, width: 8, dtype, forced, batches: [undefined, 2], special: nonFinite(1000) },
  ]);
}

/** Row groups of every shape, and tiles of every size and cluster. */
export function variantSpecsOf(dtype: FloatDType): SpmmSpec[] {
  return [...groupSpecs(dtype), ...tileSpecs(dtype), ...cutPanelSpecs(dtype)];
}
