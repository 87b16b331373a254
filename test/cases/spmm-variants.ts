// Every kernel of spmm forced over the shapes at which its tiles end.

import { type SpmmPlan, spmmPlan, stripHeights, type TileHeight } from '../../lib/backends/calls/spmm.js';
import { binPlans, groupPlans } from '../../lib/ops/spmm-gather-plans.js';
import { panelPlans } from '../../lib/ops/spmm-panel.js';
import type { SpmmFeatures } from '../../lib/ops/spmm-plan.js';
import { streamPlans } from '../../lib/ops/spmm-stream.js';
import { stripPlans } from '../../lib/ops/spmm-strips.js';
import { type TileFeatures, tilePlans, tileSizes } from '../../lib/ops/spmm-tiles-plan.js';
import type { FloatDType } from '../../lib/tensor/dtype.js';
import { h200 } from '../harness/plan-features.js';
import { blockShapes, csr, type PatternSpec, plant } from './sparse-patterns.js';
import type { ForcedPlan, SpmmSpec } from './spmm.js';

type Size = readonly [number, number, number];

interface Loads {
  readonly vectors: boolean;
  readonly pairs: boolean;
}

/** How rows may be loaded that have so many columns: whole vectors, pairs, single elements. */
function loadsFor(dtype: FloatDType, width: number): Loads[] {
  const found = [{ vectors: false, pairs: false }];
  if (width % 2 === 0) found.push({ vectors: false, pairs: true });
  if (width % (dtype === 'float32' ? 4 : 8) === 0) found.push({ vectors: true, pairs: true });
  return found;
}

/** Group plans that fit a width: the planner's own, and in the forms that take any. */
function plansFor(dtype: FloatDType, width: number): SpmmPlan[] {
  const plans = loadsFor(dtype, width).flatMap((loads) => groupPlans({ dtype, width, ...loads }));
  return [...new Map(plans.map((plan) => [groupName(plan), plan])).values()];
}

const groupName = ({ vector, piece, lanes, splits, warps, bundle }: SpmmPlan): string =>
  `group ${vector}/${piece}x${lanes}x${splits}x${warps}${bundle > 1 ? ` of ${bundle}` : ''}`;

function groupSpecs(dtype: FloatDType): SpmmSpec[] {
  const specs: SpmmSpec[] = [];
  const add = (pattern: PatternSpec, width: number, plan: SpmmPlan, rest: Partial<SpmmSpec> = {}): void => {
    specs.push({ pattern, width, dtype, forced: { name: groupName(plan), plan }, ...rest });
  };
  for (const width of [1, 3, 4, 8, 18, 31, 32, 33, 64, 127, 128, 129, 130, 256, 264]) {
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
  // Bundles of blocks, the last of which are empty: of as many as a block can have, and of three.
  for (const width of [1, 32, 33, 130]) {
    for (const [i, plan] of plansFor(dtype, width).entries()) {
      const bundle = i % 2 === 0 ? Math.min(8, 32 / plan.warps) : 3;
      const reduced = dtype !== 'bfloat16' && i % 4 === 0;
      add(csr(300, 61, 'skewed', 0.15), width, spmmPlan('row-group', { ...plan, bundle }), { reduced });
    }
  }
  return specs;
}

/** Every shape of row bins, with items that take blocks, warps and parts of warps in all proportions. */
const binsName = ({ vector, piece, lanes, splits }: SpmmPlan): string =>
  `bins ${vector}/${piece}x${lanes}x${splits}`;

function binSpecs(dtype: FloatDType): SpmmSpec[] {
  const specs: SpmmSpec[] = [];
  const bins = { atLeast: new Array<number>(10).fill(0) };
  const shares = [
    [0, 0],
    [3, 9],
    [2, 1e6],
    [1e6, 0],
  ] as const;
  for (const width of [1, 3, 4, 5, 8, 10, 32, 33, 34, 128, 130, 136, 257]) {
    const plans = loadsFor(dtype, width).flatMap((loads) => binPlans({ dtype, width, ...loads, bins }));
    for (const [shape, plan] of new Map(plans.map((plan) => [binsName(plan), plan]))) {
      for (const items of shares) {
        const name = `${shape} ${items.join('/')}`;
        const forced = { name, plan, items };
        const reduced = dtype !== 'bfloat16' && items[0] === 3;
        specs.push({ pattern: csr(67, 61, 'skewed', 0.15), width, dtype, forced, reduced });
        if (width > 33) continue;
        const cut = { pattern: csr(60, 1300, 'longRows', 0.9), width, dtype, forced };
        specs.push({ ...cut, alpha: 2, beta: -1, ...(width === 8 ? { batches: [2, 2] as const } : {}) });
        if (width > 8) continue;
        specs.push({ pattern: csr(30, 40, 'skewed', 0.3), width, dtype, forced, special: nonFinite(7) });
      }
    }
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

/** Tile plans of every kernel: of warps, and, where rows are vectors, of Hopper's warpgroups. */
function tilePlansFor(
  dtype: FloatDType,
  width: number,
): { rows: TileHeight; plan: SpmmPlan; name: string }[] {
  const found: { rows: TileHeight; plan: SpmmPlan; name: string }[] = [];
  for (const rows of tileSizes(dtype)) {
    for (const vectors of width % 8 === 0 ? [false, true] : [false]) {
      const features = { dtype, width, vectors, batch: 1 } as SpmmFeatures;
      for (const plan of tilePlans(features, { rows, items: 1 } as TileFeatures, h200)) {
        const name = `${plan.warps > 1 ? 'group tiles' : 'tiles'} ${rows}x${plan.columns}/${plan.cluster}`;
        found.push({ rows, plan, name });
      }
    }
  }
  return [...new Map(found.map((item) => [item.name, item])).values()];
}

/** Panels of far more tiles than others, which are cut whatever their height: entries, and blocks that lie across tiles. */
export const cutPanels: readonly PatternSpec[] = [
  csr(2000, 30_000, 'longRows', 0.9),
  { ...csr(2000, 30_000, 'longRows', 0.9), block: [4, 24] },
];

function tileSpecs(dtype: FloatDType): SpmmSpec[] {
  const specs: SpmmSpec[] = [];
  // The shapes at which tiles end take every plan, whatever else there is a third of them, in turn.
  let turn = 0;
  const add = (pattern: PatternSpec, width: number, rest: Partial<SpmmSpec> = {}, share = 3): void => {
    for (const [i, { rows, plan, name }] of tilePlansFor(dtype, width).entries()) {
      if ((i + turn) % share !== 0) continue;
      // Some without clusters, which every card has.
      const few =
        plan.cluster === 2
          ? plan.warps === 1 || plan.columns === 64
          : plan.cluster === 1 && plan.warps === 1 && [65, 104, 128].includes(width);
      const reduced = dtype !== 'bfloat16' && few && width > 60 && rest.special === undefined;
      specs.push({ pattern, width, dtype, forced: { name, plan, tileRows: rows }, reduced, ...rest });
    }
    ++turn;
  };
  for (const [rows, columns, width] of tileShapes) add(csr(rows, columns, 'uniform', 0.1), width, {}, 1);
  add(csr(150, 700, 'banded', 0.2), 40);
  add(csr(150, 90, 'empty'), 40);
  add(csr(90, 200, 'full'), 24, { alpha: 2, beta: -1 });
  add(csr(90, 200, 'full'), 72, { alpha: 2, beta: -1 });
  add(csr(90, 200, 'lastColumn'), 23, { alpha: 1, beta: 0.5 });
  add(csr(70, 150, 'skewed', 0.2), 40, { batches: [undefined, 3], beta: 1 });
  add(csr(70, 700, 'uniform', 0.1), 264, { batches: [undefined, 2] });
  add(csr(700, 1500, 'longRows', 0.9), 48, { beta: -1 });
  add(csr(700, 1500, 'longRows', 0.9), 104, { batches: [undefined, 2], alpha: -2 });
  add(csr(300, 1500, 'longRows', 0.9), 8, { special: nonFinite(40) });
  for (const pattern of cutPanels) add(pattern, 24, { beta: -1 }, 6);
  // What is not stored must not turn a value that is not finite into NaN everywhere.
  for (const step of [3, 40]) {
    add(csr(70, 150, 'uniform', 0.1), 40, { special: nonFinite(step) });
    add(csr(70, 150, 'uniform', 0.1), 264, { special: nonFinite(step), alpha: 0.5, beta: 2 });
    add(csr(40, 70, 'skewed', 0.3), 33, { special: nonFinite(step) });
  }
  add(csr(50, 90, 'uniform', 0.3), 40, {
    special: { name: 'Infinity and NaN in values', edit: (values) => plant(values, 1, 5) },
  });
  for (const block of blockShapes) {
    if (block[0] * block[1] === 1) continue;
    const pattern = { ...csr(2 * block[0] + 61, 3 * block[1] + 70, 'uniform', 0.4), block };
    const [plain, grouped] = [tilePlansFor(dtype, 40), tilePlansFor(dtype, 40).reverse()];
    for (const { rows, plan, name } of [plain[0], grouped[0], grouped[6]]) {
      specs.push({ pattern, width: 40, dtype, forced: { name, plan, tileRows: rows }, beta: 1 });
      specs.push({
        pattern,
        width: 40,
        dtype,
        forced: { name, plan, tileRows: rows },
        special: nonFinite(11),
      });
    }
  }
  return specs;
}

const nonFinite = (step: number): NonNullable<SpmmSpec['special']> => ({
  name: `NaN and Infinity in b, 1 of ${step}`,
  edit: (_values, b) => plant(b, 1, step),
});

// [m, k, n]: the edges of a panel's 32 columns, of a warp's 32 staged entries, and B in one piece, in two and in more.
const panelShapes: readonly Size[] = [
  [1, 1, 4],
  [5, 31, 8],
  [16, 33, 28],
  [17, 64, 32],
  [65, 97, 36],
  [130, 257, 64],
  [70, 1760, 68],
  [33, 4000, 8],
];

function panelSpecs(dtype: FloatDType): SpmmSpec[] {
  if (dtype !== 'float32') return [];
  const specs: SpmmSpec[] = [];
  const plans = [...panelPlans(h200)];
  // As for tiles.
  let turn = 0;
  const add = (pattern: PatternSpec, width: number, rest: Partial<SpmmSpec> = {}, share = 4): void => {
    for (const [i, plan] of plans.entries()) {
      if ((i + Math.floor(i / 4) + turn) % share !== 0) continue;
      const forced = { name: `panel ${plan.warpRows}/${plan.cluster}`, plan };
      const few = plan.cluster === 2 || (plan.cluster === 1 && [36, 68].includes(width));
      const reduced = few && width > 32 && rest.special === undefined;
      specs.push({ pattern, width, dtype, forced, reduced, ...rest });
    }
    ++turn;
  };
  for (const [rows, columns, width] of panelShapes) {
    add(csr(rows, columns, 'uniform', columns < 1000 ? 0.3 : 0.05), width, {}, columns < 1000 ? 1 : 2);
  }
  for (const columns of [32, 64, 96, 250]) add(csr(40, columns, 'full'), 12, { alpha: 2, beta: -1 });
  add(csr(21, 0, 'full'), 8);
  add(csr(150, 700, 'banded', 0.2), 40);
  add(csr(90, 200, 'lastColumn'), 24, { alpha: 1, beta: 0.5 });
  add(csr(1100, 2200, 'longRows', 0.9), 8);
  add(csr(70, 150, 'skewed', 0.2), 40, { batches: [3, 3], beta: 1 });
  add(csr(70, 2000, 'skewed', 0.05), 36, { batches: [undefined, 2] });
  add(csr(40, 70, 'skewed', 0.3), 20, { special: nonFinite(3) });
  add(csr(40, 2000, 'uniform', 0.1), 12, { special: nonFinite(40) });
  add(csr(50, 90, 'uniform', 0.3), 40, {
    special: { name: 'Infinity and NaN in values', edit: (values) => plant(values, 1, 5) },
  });
  return specs;
}

/** Every kind of kernel on a copy of B, where rows need it and where they do not. */
function paddedSpecs(dtype: FloatDType): SpmmSpec[] {
  const specs: SpmmSpec[] = [];
  const vector = dtype === 'float32' ? 4 : 8;
  for (const width of [1, 2, 3, 7, 8, 9, 31, 34, 65, 127, 129, 250]) {
    const copied = Math.ceil(width / vector) * vector;
    const alone = width % 2 === 0;
    const groups = groupPlans({ dtype, width: copied, vectors: true, pairs: true });
    const kernels: ForcedPlan[] = [
      { name: 'split', plan: spmmPlan('row-split') },
      { name: 'group', plan: groups[groups.length - 1] },
      paddedBins(dtype, copied),
    ];
    for (const { rows, plan, name } of tilePlansFor(dtype, copied)) {
      if (plan.cluster === (alone ? 1 : 2)) kernels.push({ name, plan, tileRows: rows });
    }
    if (dtype === 'float32') {
      const stripRows = alone ? 8 : 4;
      const strips = stripPlans({ width: copied, vectors: true }, stripRows);
      // Two vectors a lane where they take all columns.
      const plan = strips.find(({ vector }) => vector === 8) ?? strips[width % strips.length];
      kernels.push({ name: 'strips', plan, stripRows });
    }
    const panels =
      dtype === 'float32' ? panelPlans(h200).filter(({ cluster }) => (cluster === 1) === alone) : [];
    if (panels.length > 0) kernels.push({ name: 'panel', plan: panels[width % panels.length] });
    kernels.forEach(({ name, plan, ...rest }, i) => {
      const forced = { name: `padded ${name}`, plan: { ...plan, padded: true }, ...rest };
      const add = (pattern: PatternSpec, more: Partial<SpmmSpec> = {}): void => {
        specs.push({ pattern, width, dtype, forced, ...more });
      };
      add(csr(37, 61, 'skewed', 0.15), { reduced: i < 3 && [3, 34].includes(width) });
      // Rows of different lengths, for bins.
      if (i % 3 === width % 3) add(csr(70, 150, 'skewed', 0.1), { alpha: 2, beta: -1 });
      if (i % 3 === (width + 1) % 3) add(csr(40, 70, 'skewed', 0.3), { special: nonFinite(3) });
      if (i % 3 === (width + 2) % 3) add(csr(70, 150, 'skewed', 0.2), { batches: [undefined, 3], beta: 1 });
    });
  }
  for (const width of [34, 65, 129]) {
    const [stream] = forcedStreams(dtype, Math.ceil(width / vector) * vector, { vectors: true, pairs: true });
    const padded = { name: `padded ${stream.name}`, plan: { ...stream.plan, padded: true } };
    const reduced = dtype !== 'bfloat16' && width === 34;
    specs.push({ pattern: csr(67, 61, 'skewed', 0.15), width, dtype, forced: padded, beta: -1, reduced });
    specs.push({ pattern: csr(60, 1300, 'longRows', 0.9), width, dtype, forced: padded });
    specs.push({
      pattern: csr(90, 60, 'skewed', 0.12),
      width,
      dtype,
      forced: padded,
      batches: [undefined, 2],
    });
  }
  specs.push({
    pattern: csr(21, 18, 'skewed', 0.3),
    width: 5,
    dtype,
    batches: [3, undefined],
    forced: { name: 'padded split', plan: spmmPlan('row-split', { padded: true }) },
  });
  return specs;
}

/** Row bins of some shape for a copy of so many columns: items of blocks, warps and parts of warps. */
function paddedBins(dtype: FloatDType, width: number): ForcedPlan {
  const bins = { atLeast: new Array<number>(10).fill(0) };
  const plans = [...binPlans({ dtype, width, vectors: true, pairs: true, bins })];
  return { name: 'bins', plan: plans[plans.length - 1], items: [3, 9] };
}

const noItems = { blockItems: 0, warpItems: 0 };

/** Every stream for operands that are loaded so. */
export function forcedStreams(dtype: FloatDType, width: number, loads: Loads): ForcedPlan[] {
  const plans = streamPlans({ dtype, width, ...loads, bins: { stream: noItems, column: noItems } });
  return plans.map((plan) => ({ name: `stream ${plan.vector}/${plan.piece}`, plan }));
}

// Stretches of 16 entries: long rows of a warp, of a block, in segments; many empty ones, at the beginning, in the middle and at the end.
const streamPatterns: readonly PatternSpec[] = [
  csr(67, 61, 'skewed', 0.15),
  csr(90, 60, 'skewed', 0.12),
  csr(400, 200, 'longRows', 0.9),
  csr(60, 1300, 'longRows', 0.9),
  csr(5000, 40, 'uniform', 0.02),
  csr(4100, 7, 'lastColumn'),
  csr(4100, 3, 'empty'),
  csr(300, 2500, 'longRows', 0.9),
];

function streamSpecs(dtype: FloatDType): SpmmSpec[] {
  const specs: SpmmSpec[] = [];
  const add = (pattern: PatternSpec, width: number, rest: Partial<SpmmSpec> = {}): void => {
    const plans = loadsFor(dtype, width).flatMap((loads) => forcedStreams(dtype, width, loads));
    for (const [, forced] of new Map(plans.map((plan) => [plan.name, plan]))) {
      specs.push({ pattern, width, dtype, forced, ...rest });
    }
  };
  const widths = dtype === 'float32' ? [1, 20, 32, 36, 100] : [1, 40, 64, 72, 200];
  for (const pattern of streamPatterns) {
    for (const width of [...widths, 5, 10, 33, 70]) {
      if (width === widths[4] && pattern.rows > 1000) continue;
      add(pattern, width, { reduced: dtype !== 'bfloat16' && pattern.rows < 100 && width < 100 });
    }
  }
  for (const { name, plan } of forcedStreams(dtype, widths[2], { vectors: true, pairs: true })) {
    const forced = { name: `${name} alone`, plan: spmmPlan('stream', { ...plan, alone: true }) };
    specs.push({ pattern: streamPatterns[3], width: widths[2], dtype, forced, reduced: true });
  }
  // Blocks of one column in rounds, and past the last of them.
  add(csr(9, 9000, 'longRows'), 1);
  add(csr(9, 9000, 'longRows', 0.9), 1, { batches: [2, 2], alpha: 2, beta: -1 });
  for (const width of [1, widths[2], widths[3]]) {
    for (const pattern of [streamPatterns[0], streamPatterns[3], streamPatterns[4]]) {
      add(pattern, width, { alpha: 2, beta: -1 });
      if (pattern.rows < 100) add(pattern, width, { batches: [3, 3], beta: 0.5 });
    }
    add(streamPatterns[0], width, { batches: [2, undefined], alpha: -0.5 });
    for (const step of [3, 7]) add(csr(30, 40, 'skewed', 0.3), width, { special: nonFinite(step) });
  }
  return specs;
}

// [m, k, n]: the edges of strips of 4 and 8 rows, and of tiles of 32, 64, 128 and 256 columns.
const stripShapes: readonly Size[] = [
  [1, 1, 4],
  [3, 5, 12],
  [4, 31, 32],
  [9, 33, 36],
  [31, 100, 64],
  [40, 257, 68],
  [65, 300, 128],
  [70, 90, 132],
  [33, 640, 256],
  [21, 61, 2],
  [23, 61, 6],
  [40, 257, 62],
  [33, 100, 66],
  [70, 90, 130],
  [65, 150, 126],
];

function stripSpecs(dtype: FloatDType): SpmmSpec[] {
  if (dtype !== 'float32') return [];
  const specs: SpmmSpec[] = [];
  // As for tiles.
  let turn = 0;
  const add = (pattern: PatternSpec, width: number, rest: Partial<SpmmSpec> = {}, share = 3): void => {
    const plans = stripHeights.flatMap((stripRows) =>
      loadsFor(dtype, width)
        .filter(({ pairs }) => pairs)
        .flatMap((loads) => stripPlans({ width, ...loads }, stripRows))
        .map((plan) => ({ stripRows, plan })),
    );
    for (const [i, { stripRows, plan }] of plans.entries()) {
      if ((i + turn) % share !== 0) continue;
      const name = `strips ${stripRows}x${plan.vector}/${plan.piece}x${plan.lanes}/${plan.warps}`;
      const reduced = plan.warps === 2 && width >= 32 && rest.special === undefined;
      specs.push({ pattern, width, dtype, forced: { name, plan, stripRows }, reduced, ...rest });
    }
    ++turn;
  };
  for (const [rows, columns, width] of stripShapes) {
    add(csr(rows, columns, 'uniform', 0.3), width, {}, 1);
  }
  // Strips that end where steps, halves of rounds, rounds and chunks do, and beside it.
  for (const columns of [4, 8, 16, 28, 32, 36, 64, 96, 97, 128, 132, 200, 260]) {
    add(csr(21, columns, 'full'), columns % 64 === 0 ? 128 : 20, { alpha: 2, beta: -1 });
  }
  add(csr(150, 700, 'banded', 0.2), 40);
  add(csr(150, 90, 'empty'), 40, { beta: 2 });
  add(csr(21, 0, 'full'), 8);
  add(csr(90, 200, 'lastColumn'), 24, { alpha: 1, beta: 0.5 });
  add(csr(70, 150, 'skewed', 0.2), 40, { batches: [undefined, 3], beta: 1 });
  add(csr(70, 300, 'skewed', 0.2), 256, { batches: [undefined, 2] }, 2);
  // Strips of far more columns than others, which are cut.
  add(csr(700, 1500, 'longRows', 0.9), 48, { beta: -1 }, 2);
  add(csr(700, 1500, 'longRows', 0.9), 46, { beta: -1 }, 2);
  add(csr(700, 1500, 'longRows', 0.9), 42, { batches: [undefined, 2], alpha: 2 }, 2);
  add(csr(700, 1500, 'longRows', 0.9), 128, { batches: [undefined, 2], alpha: -2 });
  add(csr(300, 1500, 'longRows', 0.9), 8, { special: nonFinite(40) }, 2);
  for (const step of [3, 40]) {
    add(csr(70, 150, 'uniform', 0.1), 40, { special: nonFinite(step) });
    add(csr(70, 150, 'uniform', 0.1), 34, { special: nonFinite(step) });
    add(csr(70, 150, 'uniform', 0.1), 256, { special: nonFinite(step), alpha: 0.5, beta: 2 });
  }
  add(csr(50, 90, 'uniform', 0.3), 40, {
    special: { name: 'Infinity and NaN in values', edit: (values) => plant(values, 1, 5) },
  });
  return specs;
}

/** Row groups and row bins of every shape, streams, panels, strips, and tiles of every size and cluster; padded copies. */
export function variantSpecsOf(dtype: FloatDType): SpmmSpec[] {
  return [
    ...groupSpecs(dtype),
    ...binSpecs(dtype),
    ...streamSpecs(dtype),
    ...tileSpecs(dtype),
    ...panelSpecs(dtype),
    ...stripSpecs(dtype),
    ...paddedSpecs(dtype),
  ];
}
