import { type SpmmPlan, spmmPlan } from '../lib/backends/calls/spmm.js';
import { groupPlaced, groupPlans, groupTime } from '../lib/ops/spmm-gather-plans.js';
import { groupOccupancy } from '../lib/ops/spmm-occupancy.js';
import { bestWithTiles, describePlan, placed, type SpmmFeatures, selectSpmm } from '../lib/ops/spmm-plan.js';
import { streamPlans } from '../lib/ops/spmm-stream.js';
import { floatDTypes } from '../lib/tensor/dtype.js';
import { spmmFeatures as features, h200 } from './harness/plan-features.js';

describe('selectSpmm', () => {
  test('is a pure function that lists every variant with a time or a problem', () => {
    const { plan, candidates } = selectSpmm(features(), h200);
    const again = selectSpmm(features(), h200);
    expect([again.plan, again.candidates]).toEqual([plan, candidates]);
    expect(candidates.map(({ variant }) => variant)).toEqual([
      'row-split',
      'row-group',
      'row-bins',
      'tiles',
      'panel',
      'stream',
      'strips',
    ]);
    for (const { us, problem } of candidates) expect(us === undefined).toBe(problem !== undefined);
    const fastest = candidates.reduce((a, b) => ((b.us ?? 1e9) < (a.us ?? 1e9) ? b : a));
    expect(plan.variant).toBe(fastest.variant);
  });

  test.each([
    [{ batchedValues: true }, 'tiles', 'needs one set of values'],
    [{ columns: 2 ** 22 }, 'tiles', 'needs at most 2097152 columns'],
    [{}, 'tiles', 'needs an up-to-date copy'],
    [{ format: 'block-sparse' }, 'row-group', 'needs a CSR matrix'],
  ] as const)('refuses to force an impossible variant: %o', (change, variant, problem) => {
    expect(() => selectSpmm(features(change as Partial<SpmmFeatures>), h200, variant)).toThrow(
      expect.objectContaining({ code: 'ERR_UNSUPPORTED', message: expect.stringContaining(problem) }),
    );
  });

  test('has a time for tiles of a matrix without columns', () => {
    const tiles = { rows: 64, count: 0, items: 8, longest: 0, parts: 0, most: 0 } as const;
    const { candidates } = selectSpmm(features({ columns: 0, stored: 0, width: 8, tiles }), h200);
    expect(candidates.find(({ variant }) => variant === 'tiles')?.us).toBeGreaterThan(0);
  });

  test('decides as before where the best plan with tiles is known', () => {
    const tiles = { rows: 64, count: 400, items: 40, longest: 16, parts: 0, most: 16 } as const;
    const variants = [8, 64, 245].map((width) => {
      const problem = features({ width, vectors: width % 8 === 0, stored: 300_000, rows: 2500, tiles });
      const { plan, candidates } = selectSpmm(problem, h200);
      const known = bestWithTiles(problem, tiles, h200);
      const choice = selectSpmm(problem, h200, undefined, known);
      expect([choice.plan, choice.candidates]).toEqual([plan, candidates]);
      return describePlan(known.plan ?? plan);
    });
    expect(variants.map((plan) => /padded/.test(plan))).toEqual([false, false, true]);
  });

  test('uses clusters only where the device has them', () => {
    const tiles = { rows: 32, count: 128, items: 16, longest: 8, parts: 0, most: 8 } as const;
    const { plan } = selectSpmm(features({ tiles, width: 32 }), { ...h200, clusters: false }, 'tiles');
    expect(plan.cluster).toBe(1);
  });

  test('pads operands of many products whose rows are not aligned, and few others', () => {
    const odd = features({ vectors: false, width: 245, rows: 8000, columns: 8000, longestRow: 900 });
    const many = { ...odd, stored: 4_000_000 };
    const { plan } = selectSpmm(many, h200);
    expect(plan.padded).toBe(true);
    expect(plan.vector).toBe(8);
    expect(describePlan(plan)).toMatch(/, padded$/);
    expect(selectSpmm({ ...many, width: 240, vectors: true }, h200).plan.padded).toBe(false);
    // A copy of one column would hold eight.
    expect(selectSpmm({ ...many, width: 1 }, h200).plan.padded).toBe(false);
    const few = { ...odd, rows: 512, columns: 512, stored: 1000, longestRow: 4 };
    expect(selectSpmm(few, h200).plan.padded).toBe(false);
    // Copies would take gigabytes.
    expect(selectSpmm({ ...many, columns: 2 ** 22 }, h200).plan.padded).toBe(false);
  });

  test('takes tiles on padded copies', () => {
    const tiles = { rows: 64, count: 64 * 63, items: 63, longest: 64, parts: 0, most: 64 } as const;
    const odd = features({ vectors: false, width: 129, rows: 4000, columns: 4096, stored: 4_000_000, tiles });
    const { plan } = selectSpmm(odd, h200);
    expect(plan).toMatchObject({ variant: 'tiles', padded: true, warps: 4 });
  });

  test('counts the lines that pieces touch, and rows of B near that neighbours share', () => {
    const timeOf = (change: Partial<SpmmFeatures>, loads: Partial<SpmmPlan>): number => {
      const plan = spmmPlan('row-group', { vector: 4, splits: 4, warps: 4, lanes: 8, ...loads });
      return groupTime(features({ dtype: 'float32', vectors: false, ...change }), h200, plan);
    };
    // uniform-588x1796-d0.272 with 41 columns, where these took 19 us and 10 for copies with whole vectors.
    const long = { rows: 588, columns: 1796, stored: 288_149, longestRow: 560, width: 41 };
    expect(timeOf(long, { piece: 1 })).toBeGreaterThan(1.3 * timeOf(long, { piece: 4 }));
    const far = { rows: 200_000, columns: 200_000, stored: 4_000_000, longestRow: 40, width: 126 };
    const pieces = { piece: 2, lanes: 32, splits: 1, warps: 1 };
    expect(timeOf({ ...far, stripSpan: 50 }, pieces)).toBeLessThan(0.8 * timeOf(far, pieces));
  });

  test('shares rows of three columns out among four lanes', () => {
    // uniform-7985x14681-d0.0341 with three columns, where lanes alone took 28 us instead of 12: each load touched a line of its own.
    const operands = { dtype: 'float32', width: 3, vectors: false, pairs: false } as const;
    const pattern = { rows: 7985, columns: 14_681, stored: 4_000_450, longestRow: 600 };
    const timeOf = (loads: Partial<SpmmPlan>): number =>
      groupTime(features({ ...operands, ...pattern }), h200, spmmPlan('row-group', loads));
    const alone = timeOf({ vector: 4, piece: 1, lanes: 1, splits: 32 });
    expect(timeOf({ vector: 1, piece: 1, lanes: 4, splits: 8 })).toBeLessThan(0.8 * alone);
    expect(alone).toBeGreaterThan(20);
    const lanesOf = (width: number): number[] =>
      groupPlans({ ...operands, width }).flatMap(({ vector, lanes }) => (vector === 1 ? [lanes] : []));
    expect([lanesOf(3).includes(4), lanesOf(5).includes(4)]).toEqual([true, false]);
  });

  test('bundles the blocks of row groups that those of the next kernel would crowd', () => {
    // uniform-1232x2019-d0.0343 with 156 columns: five blocks a multiprocessor that holds eight took 10.6 us, one of five 7.2.
    const pattern = { rows: 1232, columns: 2019, stored: 85_314, longestRow: 94 };
    const problem = features({ ...pattern, width: 156, vectors: false });
    const plan = spmmPlan('row-group', { vector: 8, piece: 2, lanes: 16, splits: 2 });
    const bundleOf = (change: Partial<SpmmFeatures>, card = h200, splits = 2): number =>
      groupPlaced({ ...problem, ...change }, card, { ...plan, splits }).bundle;
    expect(groupOccupancy(problem, h200.multiprocessors, plan)).toEqual({ blocks: 5, resident: 8 });
    expect(bundleOf({})).toBe(5);
    // uniform-3653x12971-d0.0132 with 66 columns: 25.1 us by blocks of their own, 21.1 in bundles of seven.
    const wide = { rows: 3653, columns: 12_971, stored: 625_500, longestRow: 220, width: 66 } as const;
    const loads = spmmPlan('row-group', { vector: 4, piece: 2, lanes: 32 });
    const { us, bundle } = groupPlaced(features({ ...wide, dtype: 'float32', vectors: false }), h200, loads);
    expect(bundle).toBe(7);
    expect(us).toBeGreaterThan(0.85 * 21.1);
    expect(us).toBeLessThan(1.15 * 21.1);
    // Fewer leave room enough, more fill all there is; others would need another kernel, or do not overlap.
    expect([
      bundleOf({}, h200, 1),
      bundleOf({ rows: 3000, stored: 207_000 }),
      bundleOf({ batch: 2, rows: 616 }),
      bundleOf({}, { ...h200, clusters: false }),
    ]).toEqual([1, 1, 1, 1]);
    const { plan: chosen } = selectSpmm(problem, h200, 'row-group');
    expect(chosen.bundle).toBe(groupPlaced(problem, h200, chosen).bundle);
    expect(Object.keys(chosen)).toEqual(Object.keys(plan));
  });

  test('shares out the entries of one column where rows are uneven', () => {
    // A window of 9,073 tokens, 27 of them global: 5.1 us as a stream, of which 7.3 were expected, 5.9 by bins.
    const pattern = { rows: 9073, columns: 9073, stored: 733_104, longestRow: 9073, stripSpan: 9073 };
    const atLeast = [9532, 9532, 9532, 9532, 9532, 9528, 486, 486, 486, 459];
    const long = { segments: 135, longRows: 27, blockItems: 135, warpItems: 0, longest: 2048 };
    const column = { items: 638, ...long, stretch: 1000, at: 0 };
    const bins = { items: 9532, segments: 486, limit: 512, atLeast, stream: column, column };
    const operands = { dtype: 'float32', width: 1, vectors: false, pairs: false } as const;
    const { plan, candidates } = selectSpmm(features({ ...pattern, ...operands, bins }), h200);
    expect(plan.variant).toBe('stream');
    const us = candidates.find(({ variant }) => variant === 'stream')?.us;
    expect(us).toBeGreaterThan(0.85 * 5.1);
    expect(us).toBeLessThan(1.15 * 5.1);
  });

  test('knows how many clusters a card holds at once, and how far their operands are', () => {
    // 512x16384, a tenth stored, 512 columns: 30.0 us by clusters of four blocks, 62.4 by those of eight, for which 17.7 were expected.
    const tiles = { rows: 128, count: 1024, items: 4, longest: 256, parts: 0, most: 256 } as const;
    const pattern = { rows: 512, columns: 16_384, stored: 838_000, longestRow: 1750 };
    const { plan, candidates } = selectSpmm(features({ ...pattern, width: 512, tiles }), h200, 'tiles');
    expect([plan.columns, plan.cluster]).toEqual([128, 4]);
    const us = candidates.find(({ variant }) => variant === 'tiles')?.us;
    expect(us).toBeGreaterThan(0.85 * 30);
    expect(us).toBeLessThan(1.15 * 30);
  });

  test('runs streams alone that the next kernel would crowd', () => {
    // power-law-8807-3 with 307 columns: 15.5 us with blocks of the next kernel beside its own, 10.8 alone.
    const pattern = { rows: 8807, columns: 8807, stored: 26_158, longestRow: 132 };
    const stream = { items: 1766, segments: 0, longRows: 0, blockItems: 4, warpItems: 68 };
    const tables = {
      stream: { ...stream, longest: 132, stretch: 16, at: 0 },
      column: { ...stream, items: 900 },
    };
    const bins = { items: 8807, segments: 0, limit: 512, atLeast: [], ...tables };
    const problem = features({ ...pattern, dtype: 'float32', width: 307, vectors: false, pairs: false });
    const plans = streamPlans({ ...problem, bins: { stream, column: stream } });
    const alone = (width: number): boolean[] =>
      plans.map(
        (plan) =>
          placed({ ...problem, width, bins: bins as unknown as SpmmFeatures['bins'] }, h200, plan).alone,
      );
    // By four columns a lane there are twice the blocks, ten a multiprocessor that holds as many.
    expect(plans.map(({ vector }) => vector)).toEqual([4, 8]);
    expect([alone(307), alone(60), alone(2000)]).toEqual([
      [false, true],
      [false, false],
      [false, false],
    ]);
  });

  test.each(floatDTypes)('every %s plan shares out a warp and fits some kernel', (dtype) => {
    for (const width of [1, 2, 3, 4, 7, 8, 9, 16, 31, 32, 33, 64, 100, 128, 256, 257, 4096]) {
      for (const vectors of [true, false]) {
        const vector = dtype === 'float32' ? 4 : 8;
        if (vectors && width % vector !== 0) continue;
        const pairs = width % 2 === 0;
        const plans = [...groupPlans(features({ dtype, width, vectors, pairs }))];
        expect(plans.length).toBeGreaterThan(0);
        const wide = width <= 4 || width > 2 * vector;
        expect(plans.some(({ piece }) => piece === 2)).toBe(pairs && !vectors && wide);
        for (const plan of plans) {
          expect(plan.vector % plan.piece).toBe(0);
          expect(vectors ? [vector] : [1, 2]).toContain(plan.piece);
          expect(32 % (plan.lanes * plan.splits)).toBe(0);
          if (plan.warps > 1) expect(plan.lanes * plan.splits).toBe(32);
        }
      }
    }
  });
});
