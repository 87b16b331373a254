// Every kernel of sddmm forced over the shapes at which its segments and tiles end.

import type { SddmmPlan } from '../../lib/backends/calls/sddmm.js';
import { describeSddmmPlan, gatherPlans, type SddmmFeatures, tilePlans } from '../../lib/ops/sddmm-plan.js';
import type { FloatDType } from '../../lib/tensor/dtype.js';
import { h200, sddmmFeatures } from '../harness/plan-features.js';
import type { SddmmSpec } from './sddmm.js';
import { csr, plant } from './sparse-patterns.js';

type Shape = readonly [number, number, number];

const features = (dtype: FloatDType, depth: number, vectors: boolean, pairs = vectors): SddmmFeatures =>
  sddmmFeatures({
    dtype,
    rows: 64,
    columns: 64,
    stored: 64,
    longestRow: 1000,
    tiles: [1, 1, 1, 1],
    depth,
    vectors,
    pairs,
    lines: vectors,
  });

const named = (plan: SddmmPlan): NonNullable<SddmmSpec['forced']> => ({
  name: `${plan.variant} ${describeSddmmPlan(plan)}`,
  plan,
});

/** Plans of rows and gather for a depth, without vectors too. One and the most warps a row. */
function gathersFor(dtype: FloatDType, depth: number): SddmmPlan[] {
  const vector = dtype === 'float32' ? 4 : 8;
  const forms = [features(dtype, depth, false)];
  if (depth % 2 === 0) forms.push(features(dtype, depth, false, true));
  if (depth % vector === 0) forms.push(features(dtype, depth, true));
  const plans = forms.flatMap((problem) => [...gatherPlans(problem)]);
  return [...new Map(plans.map((plan) => [named(plan).name, plan])).values()].filter(
    ({ variant, splits }) => variant === 'gather' || splits === 1 || splits === 8,
  );
}

function gatherSpecs(dtype: FloatDType): SddmmSpec[] {
  const specs: SddmmSpec[] = [];
  for (const depth of [1, 5, 6, 8, 24, 32, 33, 34, 64, 72, 128, 130, 136, 264, 520]) {
    for (const plan of gathersFor(dtype, depth)) {
      const reduced = dtype !== 'bfloat16' && [1, 32, 264].includes(depth);
      specs.push({ pattern: csr(23, 61, 'skewed', 0.15), depth, dtype, forced: named(plan), reduced });
    }
  }
  // Bundles of blocks, the last of which are empty: of as many as a block can have, and of three.
  for (const depth of [6, 32, 130]) {
    for (const [i, plan] of gathersFor(dtype, depth).entries()) {
      if (plan.variant !== 'rows') continue;
      const bundle = i % 2 === 0 ? 3 : plan.lanes <= 4 ? 8 : plan.lanes === 16 ? 6 : 4;
      const forced = { name: `${named(plan).name} of ${bundle}`, plan: { ...plan, bundle } };
      const reduced = dtype !== 'bfloat16' && depth === 32;
      specs.push({ pattern: csr(90, 61, 'skewed', 0.15), depth, dtype, forced, reduced });
    }
  }
  for (const depth of [40, 7, 14]) {
    for (const plan of gathersFor(dtype, depth)) {
      const forced = named(plan);
      // Long rows; more empty rows than a warp looks past at once; ends of a segment and one element more or less.
      specs.push({ pattern: csr(3, 900, 'uniform', 0.6), depth, dtype, forced });
      specs.push({ pattern: csr(700, 5, 'uniform', 0.02), depth, dtype, forced });
      for (const stored of [31, 33, 129]) {
        specs.push({ pattern: csr(1, stored, 'full'), depth, dtype, forced });
      }
      specs.push({ pattern: csr(128, 1, 'full'), depth, dtype, forced });
      specs.push({
        pattern: csr(21, 18, 'skewed', 0.3),
        depth,
        dtype,
        forced,
        batches: [2, 2, 2],
        scaleByMask: true,
      });
      specs.push({
        pattern: csr(21, 18, 'skewed', 0.3),
        depth,
        dtype,
        forced,
        batches: [undefined, 3, undefined],
        alpha: -2,
      });
    }
  }
  return specs;
}

// [m, n, k]: the edges of each tile and of its steps over the depth; k is a multiple of 8 throughout.
const tileEdges: readonly Shape[] = [
  [1, 1, 8],
  [31, 33, 16],
  [32, 32, 24],
  [33, 31, 32],
  [63, 65, 40],
  [64, 64, 64],
  [65, 63, 72],
  [127, 129, 128],
  [128, 128, 56],
  [129, 127, 136],
  [255, 257, 40],
  [257, 256, 8],
  [40, 300, 200],
  [300, 40, 264],
  [50, 50, 520],
];

// Depths at which rows are not aligned.
const scalarEdges: readonly Shape[] = [
  [33, 65, 1],
  [70, 90, 3],
  [70, 90, 13],
  [70, 90, 27],
  [64, 64, 7],
  [129, 130, 33],
  [40, 70, 65],
  [20, 129, 131],
];

function variantsOf(dtype: FloatDType, vectors: boolean): ('tiles' | 'staged' | 'warpgroups')[] {
  if (dtype === 'float32') return ['tiles', 'staged'];
  return vectors ? ['tiles', 'warpgroups'] : ['tiles'];
}

function tileSpecs(dtype: FloatDType): SddmmSpec[] {
  const specs: SddmmSpec[] = [];
  const plansOf = (depth: number, vectors: boolean): SddmmPlan[] =>
    // As if enough were stored for every shape.
    variantsOf(dtype, vectors).flatMap((variant) => [
      ...tilePlans({ ...features(dtype, depth, vectors), stored: 1e6 }, variant, h200),
    ]);
  for (const plan of plansOf(1, false)) {
    for (const [rows, columns, depth] of scalarEdges) {
      const reduced = dtype !== 'bfloat16' && depth === 33;
      specs.push({ pattern: csr(rows, columns, 'skewed', 0.2), depth, dtype, forced: named(plan), reduced });
    }
  }
  for (const plan of plansOf(64, true)) {
    const forced = named(plan);
    for (const [rows, columns, depth] of tileEdges) {
      const reduced = dtype !== 'bfloat16' && rows > 60 && rows < 130;
      specs.push({ pattern: csr(rows, columns, 'uniform', 0.1), depth, dtype, forced, reduced });
    }
    // More units than a block sums at once; more elements than are loaded early.
    specs.push({ pattern: csr(90, 200, 'full'), depth: 24, dtype, forced });
    specs.push({ pattern: csr(300, 260, 'full'), depth: 72, dtype, forced });
    // Rows of one chunk, two and more: those of a stage are filled with copies.
    for (const depth of [4, 8, 16, 24].map((floats) => (dtype === 'float32' ? floats : 2 * floats))) {
      specs.push({ pattern: csr(150, 290, 'skewed', 0.2), depth, dtype, forced });
    }
    specs.push({ pattern: csr(150, 290, 'skewed', 0.2), depth: 40, dtype, forced });
    specs.push({ pattern: csr(150, 290, 'lastColumn'), depth: 40, dtype, forced });
    specs.push({ pattern: csr(150, 290, 'empty'), depth: 40, dtype, forced });
    if (plan.variant !== 'warpgroups') {
      specs.push({ pattern: csr(40, 70, 'uniform', 0.2), depth: 0, dtype, forced });
    }
    for (const columns of [33, 300, 700]) {
      specs.push({
        pattern: csr(300, columns, 'banded', 0.1),
        depth: 40,
        dtype,
        forced,
        reduced: columns === 300,
      });
    }
    specs.push({
      pattern: csr(70, 150, 'skewed', 0.2),
      depth: 16,
      dtype,
      forced,
      batches: [3, 3, 3],
      scaleByMask: true,
    });
    specs.push({
      pattern: csr(70, 150, 'full'),
      depth: 136,
      dtype,
      forced,
      batches: [2, 2, 2],
      scaleByMask: true,
    });
    specs.push({
      pattern: csr(70, 150, 'skewed', 0.2),
      depth: 16,
      dtype,
      forced,
      batches: [undefined, undefined, 3],
      alpha: -0.5,
    });
    // More tiles than a device runs at once: blocks of warpgroups take several.
    for (const batches of [
      [undefined, 150, undefined],
      [undefined, 150, 150],
    ] as const) {
      specs.push({ pattern: csr(20, 140, 'uniform', 0.3), depth: 136, dtype, forced, batches });
    }
    // Products that are not stored must go nowhere.
    for (const step of [5, 40]) {
      specs.push({
        pattern: csr(70, 150, 'uniform', 0.1),
        depth: 24,
        dtype,
        forced,
        special: {
          name: `NaN and Infinity, 1 of ${step}`,
          edit: (a, b) => {
            plant(a, 1, step);
            plant(b, 1, step);
          },
        },
      });
    }
  }
  return specs;
}

/** Every kind of kernel on copies of A and B, where rows need them and where they do not. */
function paddedSpecs(dtype: FloatDType): SddmmSpec[] {
  const specs: SddmmSpec[] = [];
  const vector = dtype === 'float32' ? 4 : 8;
  for (const depth of [0, 1, 2, 3, 7, 8, 10, 33, 130, 250]) {
    const given = { ...features(dtype, Math.ceil(depth / vector) * vector, true), stored: 1e6 };
    const kernels = [
      ...[...gatherPlans(given)].filter(({ splits }) => splits === 1).slice(-2),
      ...variantsOf(dtype, true)
        .filter((variant) => depth > 0 || variant === 'tiles')
        .flatMap((variant) => [...tilePlans(given, variant, h200)]),
    ];
    kernels.forEach((kernel, i) => {
      const forced = named({ ...kernel, padded: true });
      const reduced = dtype !== 'bfloat16' && depth === 7;
      specs.push({ pattern: csr(70, 131, 'skewed', 0.15), depth, dtype, forced, reduced });
      if ((i + depth) % 3 !== 0) return;
      const batched = { pattern: csr(21, 18, 'uniform', 0.3), depth, dtype, forced };
      specs.push({ ...batched, batches: [2, 2, 2], scaleByMask: true });
      specs.push({ ...batched, batches: [undefined, 3, undefined], alpha: -2 });
    });
  }
  return specs;
}

/** Rows, gather, tiles, staged and warpgroups of every shape; padded copies. */
export function sddmmVariantSpecsOf(dtype: FloatDType): SddmmSpec[] {
  return [...gatherSpecs(dtype), ...tileSpecs(dtype), ...paddedSpecs(dtype)];
}
