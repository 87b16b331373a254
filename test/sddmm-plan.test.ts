// Which kernel sddmm chooses, and what it says about it.

import type { SddmmPlan, SddmmVariant } from '../lib/backends/calls/sddmm.js';
import { mapTiles } from '../lib/formats/tile-map.js';
import { tileShapes } from '../lib/formats/tile-shapes.js';
import { type Device, explainSddmm, openDevice, sddmm } from '../lib/index.js';
import { sddmmOccupancy } from '../lib/ops/sddmm-occupancy.js';
import { describeSddmmPlan, gatherPlans, type SddmmFeatures, selectSddmm } from '../lib/ops/sddmm-plan.js';
import { expectedSddmm, sddmmTime } from '../lib/ops/sddmm-time.js';
import { errorOf } from './harness/errors.js';
import { a6000, sddmmFeatures as features, h200 } from './harness/plan-features.js';

/** Eight lanes. */
const none = { vector: 1, lanes: 8, splits: 1, tile: 0, bundle: 1, alone: false, padded: false } as const;

describe('selectSddmm', () => {
  it('is a pure function that lists every variant once', () => {
    const choice = selectSddmm(features(), h200);
    const again = selectSddmm(features(), h200);
    expect([again.plan, again.candidates]).toEqual([choice.plan, choice.candidates]);
    expect(choice.candidates.map(({ variant }) => variant)).toEqual([
      'segments',
      'rows',
      'gather',
      'tiles',
      'staged',
      'warpgroups',
    ]);
    for (const { variant, us } of choice.candidates) {
      if (variant === 'staged') expect(us).toBeUndefined();
      else expect(us).toBeGreaterThan(0);
    }
  });

  it('counts what lanes past the depth read', () => {
    // uniform-2605x2636-d0.197, 39 columns: copies by eight lanes were taken to read 160 bytes a row, read 256, and took 56 us instead of 26.
    const plan = { ...none, variant: 'rows', vector: 4 } as const;
    const pattern = { rows: 2605, columns: 2636, stored: 1_350_902, longestRow: 600 };
    const timeOf = (depth: number): number =>
      sddmmTime(features({ dtype: 'float32', ...pattern, depth }), h200, plan);
    // 1.19 times as long, with rows on lines.
    expect(timeOf(40)).toBeGreaterThan(0.95 * timeOf(64));
    const odd = { vectors: false, pairs: false, lines: false, tiles: [3444, 1722, 441, 121] };
    const choice = selectSddmm(features({ dtype: 'float32', ...pattern, ...odd, depth: 39 }), h200);
    expect(choice.plan).toMatchObject({ variant: 'rows', lanes: 4, padded: true });
  });

  it.each<[string, Partial<SddmmFeatures>, string]>([
    ['dense half matrices', { stored: 5_000_000, longestRow: 1300 }, 'warpgroups'],
    ['sparse uniform matrices', { stored: 336_000, longestRow: 110 }, 'rows'],
    ['float32 of one in ten', { dtype: 'float32' }, 'staged'],
    ['dense float32', { dtype: 'float32', stored: 8_000_000, longestRow: 2200 }, 'tiles'],
    [
      'skewed graphs',
      {
        rows: 117_659,
        columns: 117_659,
        stored: 285_000,
        longestRow: 1000,
        tiles: [200_000, 180_000, 160_000, 140_000],
      },
      'gather',
    ],
    [
      'attention windows',
      {
        rows: 16_384,
        columns: 16_384,
        stored: 8_257_792,
        longestRow: 512,
        tiles: [4600, 2300, 640, 190],
      },
      'warpgroups',
    ],
    ['blocks', { format: 'block-sparse' }, 'segments'],
  ])('chooses for %s', (_name, change, variant) => {
    expect(selectSddmm(features(change), h200).plan.variant).toBe(variant);
  });

  it('takes warpgroups on Hopper alone', () => {
    const dense = features({ stored: 5_000_000, longestRow: 1300 });
    expect(selectSddmm(dense, h200).plan).toMatchObject({ variant: 'warpgroups', vector: 8, tile: 128 });
    const other = { ...h200, clusters: false };
    expect(selectSddmm(dense, other).plan.variant).toBe('tiles');
    expect(() => selectSddmm(dense, other, 'warpgroups')).toThrow('needs compute capability 9.0');
  });

  it('leaves rows of 16 bytes to other kernels than warpgroups', () => {
    // pruned-magnitude-transformer-0.9-33288x512, k = 8: rows 14.5 us, warpgroups 22.4.
    const tall = { rows: 33_288, columns: 512, stored: 1_705_874, longestRow: 150 };
    const problem = features({ ...tall, tiles: [8328, 4168, 1044, 262], depth: 8 });
    expect(selectSddmm(problem, h200).plan.variant).toBe('rows');
    expect(selectSddmm({ ...problem, depth: 32 }, h200).plan.variant).toBe('warpgroups');
  });

  it('expects lanes to search for their rows where most are empty', () => {
    const plan = { ...none, variant: 'gather', vector: 1 } as const;
    // uniform-2958x150-d0.00360, k = 3, which takes 3.15 us; rows 1.75.
    const few = { rows: 2958, columns: 150, stored: 1624, longestRow: 4, tiles: [279, 141, 48, 12] };
    const problem = features({
      ...few,
      dtype: 'float32',
      depth: 3,
      vectors: false,
      pairs: false,
      lines: false,
    });
    expect(sddmmTime(problem, h200, plan)).toBeGreaterThan(2.8);
    expect(selectSddmm(problem, h200).plan.variant).toBe('rows');
    const empty = features({ rows: 0, stored: 0, longestRow: 0, tiles: [0, 0, 0, 0] });
    expect(sddmmTime(empty, h200, plan)).not.toBeNaN();
  });

  it('takes no tile that another card has no room for', () => {
    const sparse = features({ dtype: 'float32', stored: 336_000, longestRow: 110, depth: 512 });
    expect(selectSddmm(sparse, h200, 'staged').plan.tile).toBe(256);
    expect(selectSddmm(sparse, a6000, 'staged').plan.tile).toBeLessThan(256);
  });

  it.each<[string, Partial<SddmmFeatures>]>([
    ['nothing stored', { stored: 0, longestRow: 0, tiles: [0, 0, 0, 0] }],
    ['no depth', { depth: 0 }],
    ['no rows', { rows: 0, stored: 0, longestRow: 0, tiles: [0, 0, 0, 0] }],
    ['no columns', { columns: 0, stored: 0, longestRow: 0, tiles: [0, 0, 0, 0] }],
    ['a large batch', { batch: 100_000 }],
    ['2^31 - 1 rows', { rows: 2 ** 31 - 2 }],
  ])('has a plan for %s', (_name, change) => {
    for (const dtype of ['float32', 'float16', 'bfloat16'] as const) {
      for (const [vectors, lines] of [
        [false, false],
        [true, false],
        [true, true],
      ]) {
        const { plan, candidates } = selectSddmm(features({ ...change, dtype, vectors, lines }), h200);
        expect(plan.lanes).toBeGreaterThan(0);
        for (const { us } of candidates) expect(us).not.toBeNaN();
      }
    }
  });

  it('pads operands of many products whose rows are not aligned, and few others', () => {
    const odd = {
      vectors: false,
      lines: false,
      dtype: 'float16',
      rows: 10_000,
      columns: 6000,
      depth: 321,
    } as const;
    const many = features({ ...odd, stored: 2_000_000, longestRow: 250 });
    const { plan, candidates } = selectSddmm(many, h200);
    expect(plan.padded).toBe(true);
    expect(plan.vector).toBe(8);
    expect(describeSddmmPlan(plan)).toMatch(/, padded$/);
    expect(candidates.find(({ variant }) => variant === plan.variant)?.parameters).toMatch(/padded/);
    const lined = { ...many, vectors: true, lines: true, depth: 320 };
    expect(selectSddmm(lined, h200).plan.padded).toBe(false);
    // A copy of one column would hold eight.
    expect(selectSddmm({ ...many, depth: 1 }, h200).plan.padded).toBe(false);
    const few = features({ ...odd, stored: 200, longestRow: 2 });
    expect(selectSddmm(few, h200).plan.padded).toBe(false);
    // Copies would take gigabytes.
    expect(selectSddmm({ ...many, columns: 2 ** 22 }, h200).plan.padded).toBe(false);
  });

  it('knows what made it choose plans that were slower than others', () => {
    const chosen = (change: Partial<SddmmFeatures>) => selectSddmm(features(change), h200).plan;
    // rmat-16-9, k = 299, float16: segments 224 us, gather 114.
    const graph = { rows: 65_536, columns: 65_536, stored: 553_472, longestRow: 4187 };
    const loads = { vectors: false, pairs: false, lines: false };
    const tiles = [181_463, 140_604, 75_075, 33_519];
    expect(chosen({ ...graph, ...loads, tiles, depth: 299 }).variant).toBe('gather');
    // banded-5981-12-100%, k = 124: staged tiles 10.9 us, rows 8.4. banded-8192-256-25%, k = 512: 131 by tiles of 64 rows, 191 by rows.
    const band = { rows: 5981, columns: 5981, stored: 149_369, longestRow: 25, tiles: [373, 280, 139, 70] };
    expect(chosen({ dtype: 'float32', ...band, depth: 124, lines: false }).variant).toBe('rows');
    const wide = {
      rows: 8192,
      columns: 8192,
      stored: 1_038_341,
      longestRow: 163,
      tiles: [2264, 1132, 314, 94],
    };
    expect(chosen({ dtype: 'float32', ...wide, depth: 512 }).variant).toBe('staged');
    // uniform-6757x1996-d0.0958, k = 18: a lane alone 26.0 us, which was expected to take 17.9.
    const odd = { rows: 6757, columns: 1996, stored: 1_291_960, longestRow: 235 };
    const pairs = { vectors: false, pairs: true, lines: false };
    const scattered = features({
      dtype: 'float32',
      ...odd,
      ...pairs,
      tiles: [6784, 3392, 848, 216],
      depth: 18,
    });
    const alone = { ...none, variant: 'rows', vector: 2, lanes: 1 } as const;
    expect(sddmmTime(scattered, h200, alone)).toBeGreaterThan(0.85 * 26);
    // With two columns there is one step, and registers for more blocks.
    expect(sddmmOccupancy(scattered, h200.multiprocessors, alone).resident).toBe(10);
    expect(sddmmOccupancy({ ...scattered, depth: 2 }, h200.multiprocessors, alone).resident).toBe(16);
  });

  it('bundles blocks by rows that the next kernel would crowd, and runs others alone', () => {
    // uniform-2048x512-80%, k = 512: 40.4 us with blocks of the next kernel beside it, 31.3 alone.
    const pattern = { rows: 2048, columns: 512, stored: 210_310, longestRow: 136, tiles: [512, 256, 64, 16] };
    const long = features({ dtype: 'float32', ...pattern, depth: 512 });
    const plan = { ...none, variant: 'rows', vector: 4, lanes: 16 } as const;
    const { multiprocessors } = h200;
    const placing = (one: SddmmPlan, problem = long, card = h200): readonly [boolean, number] => {
      const { alone, bundle } = expectedSddmm(problem, card, one);
      return [alone, bundle];
    };
    expect(sddmmOccupancy(long, multiprocessors, plan)).toEqual({ blocks: 4, resident: 6 });
    expect(placing(plan)).toEqual([false, 4]);
    // Of a card that places no blocks of the next kernel.
    expect(placing(plan, long, { ...h200, clusters: false })).toEqual([false, 1]);
    expect(sddmmTime(long, h200, plan)).toBeGreaterThan(0.8 * 31.3);
    expect(sddmmTime(long, h200, plan)).toBeLessThan(1.2 * 31.3);
    // uniform-4096-98%, k = 128, float16: eight blocks of nine, 13.0 us by themselves, 11.4 in a bundle. Five of nine gain nothing.
    const narrow = { ...none, variant: 'rows', vector: 8, lanes: 4 } as const;
    const sparse = features({ stored: 336_098, longestRow: 120 });
    expect(sddmmOccupancy(sparse, multiprocessors, narrow)).toEqual({ blocks: 8, resident: 9 });
    expect(placing(narrow, sparse)).toEqual([false, 8]);
    expect(placing(narrow, { ...sparse, rows: 2640, stored: 216_000 })).toEqual([false, 1]);
    // Twice the blocks leave no room, half of them room enough, and short kernels lose more than they gain.
    for (const splits of [2, 4, 8]) expect(placing({ ...plan, splits })).toEqual([false, 1]);
    expect(placing(plan, { ...long, rows: 1024 })).toEqual([false, 1]);
    expect(placing(plan, { ...long, stored: 10_000, longestRow: 12, depth: 64 })).toEqual([false, 1]);
    // Three tiles a multiprocessor that holds four.
    const tiled = features({ dtype: 'float32', ...pattern, depth: 512, tiles: [512, 390, 64, 16] });
    const tiles = { ...none, variant: 'tiles', vector: 4, tile: 64 } as const;
    expect(sddmmOccupancy(tiled, multiprocessors, tiles)).toEqual({ blocks: 3, resident: 4 });
    expect(placing(tiles, tiled)).toEqual([true, 1]);
    const { plan: chosen } = selectSddmm(long, h200);
    expect([chosen.alone, chosen.bundle]).toEqual(placing(chosen));
  });

  it('reads rows of a few pairs of columns by a lane each', () => {
    // uniform-3400x1818-d0.152, k = 6, float32: 11.2 us by single columns.
    const pattern = {
      rows: 3400,
      columns: 1818,
      stored: 942_999,
      longestRow: 330,
      tiles: [6099, 3078, 783, 210],
    };
    const few = features({ dtype: 'float32', ...pattern, depth: 6, vectors: false, lines: false });
    const { plan } = selectSddmm(few, h200);
    expect([plan.variant, plan.vector, plan.lanes]).toEqual(['rows', 2, 1]);
    const single = { ...none, variant: 'rows', vector: 1, lanes: 1, splits: 2 } as const;
    expect(sddmmTime(few, h200, single)).toBeGreaterThan(0.8 * 11.2);
    const lanesOf = (depth: number): number[] =>
      [...gatherPlans({ ...few, depth })].flatMap(({ vector, lanes }) => (vector === 2 ? [lanes] : []));
    expect([lanesOf(18).includes(1), lanesOf(22).includes(1)]).toEqual([true, false]);
  });

  it('expects rows to take longer that lie across lines, or that a warp sweeps for long', () => {
    const plan = { ...none, variant: 'rows', vector: 4 } as const;
    const rowsTime = (change: Partial<SddmmFeatures>): number =>
      sddmmTime(features({ dtype: 'float32', depth: 52, ...change }), h200, plan);
    // Five patterns took 1.03 to 1.09 times as long.
    expect(rowsTime({ lines: false })).toBeGreaterThan(1.02 * rowsTime({ lines: true }));
    // uniform-3580x15989-d0.0699, which takes 127 us: 832 MB of rows of B.
    const long = { rows: 3580, columns: 15_989, stored: 4_000_878, longestRow: 1230 };
    expect(rowsTime({ ...long, tiles: [28_000, 14_000, 3500, 882] })).toBeGreaterThan(87);
  });

  // By eight lanes that load vectors of float32, on an H200, 2026-11-22: microseconds with rows across lines and on them, and of rows of 64
  // columns; rows, columns, stored, longest row, tiles.
  it.each([
    [45.1, 43.1, 36.6, 2605, 2636, 1_350_293, 586, [3444, 1722, 441, 121]],
    [11.5, 10.6, 9.46, 4000, 4000, 320_013, 117, [7875, 3969, 1024, 256]],
    [28.2, 27.4, 24, 30_000, 30_000, 449_821, 31, [281_688, 191_699, 55_189, 13_923]],
    [16.5, 15.9, 13.7, 1000, 9000, 450_143, 520, [4512, 2256, 568, 144]],
    [10.5, 10.1, 8.68, 5277, 241, 229_617, 68, [660, 332, 84, 21]],
  ])(
    'expects rows of 52 columns to take about the %s and %s us measured, and of 64 the %s',
    (...measured) => {
      const [across, on, whole, rows, columns, stored, longestRow, tiles] = measured;
      const plan = { ...none, variant: 'rows', vector: 4 } as const;
      const pattern = { dtype: 'float32', rows, columns, stored, longestRow, tiles } as const;
      for (const [us, depth, lines] of [
        [across, 52, false],
        [on, 52, true],
        [whole, 64, true],
      ] as const) {
        const expected = sddmmTime(features({ ...pattern, depth, lines }), h200, plan);
        expect(expected).toBeGreaterThan(0.8 * us);
        expect(expected).toBeLessThan(1.2 * us);
      }
    },
  );

  it.each<[string, Partial<SddmmFeatures>, SddmmVariant]>([
    ['needs a CSR mask', { format: 'block-sparse' }, 'rows'],
    ['needs a CSR mask', { format: 'block-sparse' }, 'gather'],
    ['needs a CSR mask', { format: 'block-sparse' }, 'tiles'],
    ['rows of A and B below 2 GiB', { depth: 2 ** 30 }, 'gather'],
    ['needs float32', {}, 'staged'],
    ['needs float16 or bfloat16', { dtype: 'float32' }, 'warpgroups'],
    ['multiples of 16 bytes', { vectors: false, depth: 1 }, 'warpgroups'],
    ['needs a column', { depth: 0 }, 'warpgroups'],
    ['one stored element in 1024', { stored: 4000 }, 'tiles'],
    ['a stored element', { stored: 0 }, 'tiles'],
    ['while recording', { mapped: [false, false, false, false] }, 'tiles'],
  ])('says that it %s', (message, change, variant) => {
    expect(() => selectSddmm(features(change), h200, variant)).toThrow(message);
  });

  it('expects the same of kernels that take no tiles where a map of them cannot be made', () => {
    const without = { mapped: [false, false, false, false] };
    // uniform-512x4608-90%, whose graphs ran `gather` in 48 us instead of `rows` in 32.
    const short = features({
      dtype: 'float32',
      rows: 512,
      columns: 4608,
      stored: 235_782,
      longestRow: 520,
      tiles: [1152, 576, 144, 36],
      depth: 512,
    });
    for (const change of [{}, { dtype: 'float32' }, { stored: 336_000 }] as const) {
      const times = (all: SddmmFeatures) =>
        selectSddmm(all, h200).candidates.filter(({ variant }) => variant === 'rows' || variant === 'gather');
      expect(times(features({ ...change, ...without }))).toEqual(times(features(change)));
    }
    expect(selectSddmm(short, h200).plan.variant).toBe('rows');
    expect(selectSddmm({ ...short, ...without }, h200).plan).toEqual(selectSddmm(short, h200).plan);
  });
});

describe('sddmm', () => {
  let device: Device;
  beforeAll(async () => {
    device = await openDevice('cpu');
  });
  afterAll(() => device.dispose());

  it('runs a forced variant, explains its choice and refuses what is impossible', () => {
    const mask = device.csr({
      shape: [2, 3],
      rowPointers: [0, 2, 3],
      columnIndices: [0, 2, 1],
      values: [1, 1, 1],
    });
    const blocks = device.blockSparse({
      shape: [2, 3],
      blockShape: [2, 3],
      rowPointers: [0, 1],
      columnIndices: [0],
      values: [1, 1, 1, 1, 1, 1],
    });
    const a = device.tensor([1, 2, 3, 4, 5, 6, 7, 8], { shape: [2, 4] });
    const b = device.tensor([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 1], { shape: [3, 4] });
    for (const variant of ['auto', 'segments', 'rows', 'gather', 'tiles'] as const) {
      expect([...sddmm(mask, a, b, { variant }).values.dataSync()]).toEqual([1, 7, 6]);
    }
    const { variant, reason, candidates } = explainSddmm(mask, a, b);
    expect(candidates.map((candidate) => candidate.variant)).toContain(variant);
    expect(reason).toMatch(/expected to take .* us, the least; /);
    expect(errorOf(() => sddmm(blocks, a, b, { variant: 'tiles' })).code).toBe('ERR_UNSUPPORTED');
    expect(errorOf(() => sddmm(mask, a, b, { variant: 'fast' as 'rows' })).code).toBe('ERR_ARGUMENT');
  });

  it('counts and maps the tiles of a pattern', () => {
    const [rows, columns] = [300, 700];
    const rowPointers = [0];
    const columnIndices: number[] = [];
    for (let row = 0; row < rows; ++row) {
      // Every seventh row is empty; others step through the columns, some densely.
      for (let column = row % 11; row % 7 !== 0 && column < columns; column += row % 5 === 0 ? 1 : 90) {
        if ((column * 7 + row) % 3 !== 0) columnIndices.push(column);
      }
      rowPointers.push(columnIndices.length);
    }
    const values = columnIndices.map(() => 1);
    const mask = device.csr({ shape: [rows, columns], rowPointers, columnIndices, values });
    const [pointers, indices] = [Int32Array.from(rowPointers), Int32Array.from(columnIndices)];
    for (const [index, shape] of tileShapes.entries()) {
      const inTile = new Map<string, number[]>();
      for (let row = 0; row < rows; ++row) {
        for (let e = rowPointers[row]; e < rowPointers[row + 1]; ++e) {
          const place = `${Math.floor(row / shape.rows)},${Math.floor(columnIndices[e] / shape.columns)}`;
          inTile.set(place, [...(inTile.get(place) ?? []), e]);
        }
      }
      const count = mask.topology.tiles.shapes[index];
      expect(count).toBe(inTile.size);
      const { table, shifts, entries, units } = mapTiles(pointers, indices, columns, shape, count);
      const met: number[] = [];
      for (let tile = 0; tile < count; ++tile) {
        const [panel, column, first, firstUnit] = table.subarray(4 * tile, 4 * tile + 4);
        const [, , past, pastUnit] = table.subarray(4 * tile + 4, 4 * tile + 8);
        const elements = Array.from(entries.subarray(first, past), (entry, local) => {
          const element = local + shifts[tile * shape.rows + (entry >> 8)];
          // Its row and column, or what the next line finds wrong.
          const row = panel * shape.rows + (entry >> 8);
          const right =
            columnIndices[element] === column * shape.columns + (entry & 255) &&
            rowPointers[row] <= element &&
            element < rowPointers[row + 1];
          return right ? element : -1;
        });
        expect(elements).toEqual(inTile.get(`${panel},${column}`));
        let local = 0;
        for (let unit = firstUnit; unit < pastUnit; ++unit) {
          const [place, columnBytes] = units.subarray(2 * unit, 2 * unit + 2);
          const [begin, size, row] = [place & 0xffff, (place >>> 16) & 0xff, place >>> 24];
          // The last one stands in for those that a unit lacks.
          const right = [0, 1, 2, 3].every((i) => {
            const entry = entries[first + begin + Math.min(i, size - 1)];
            return entry >> 8 === row && (entry & 255) === ((columnBytes >>> (8 * i)) & 255);
          });
          // A unit that is wrong in any way ends the count early.
          if (begin !== local || size < 1 || size > 4 || !right) break;
          local += size;
        }
        expect(local).toBe(past - first);
        met.push(...elements);
      }
      expect(met.sort((x, y) => x - y)).toEqual(columnIndices.map((_, e) => e));
    }
  });
});
