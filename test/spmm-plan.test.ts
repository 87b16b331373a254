import { type SpmmCall, tileHeights } from '../lib/backends/calls/spmm.js';
import { binRows } from '../lib/formats/row-bins.js';
import { streamColumn, streamRows } from '../lib/formats/row-stream.js';
import { countTiles, type PanelTiles, shareTable, shareTiles } from '../lib/formats/tile-counts.js';
import { type CsrMatrix, type Device, explainSpmm, openDevice, spmm } from '../lib/index.js';
import { groupPlans } from '../lib/ops/spmm-gather-plans.js';
import { bestWithTiles, describePlan, type SpmmFeatures, selectSpmm } from '../lib/ops/spmm-plan.js';
import { floatDTypes } from '../lib/tensor/dtype.js';
import { spmmFeatures as features, h200 } from './harness/plan-features.js';
import { Random } from './harness/random.js';

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
    const odd = features({ vectors: false, width: 245, rows: 8000, columns: 8000, longestRow: 300 });
    const many = { ...odd, stored: 1_000_000 };
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

  test.each(floatDTypes)('every %s plan shares out a warp and fits some kernel', (dtype) => {
    for (const width of [1, 2, 3, 4, 7, 8, 9, 16, 31, 32, 33, 64, 100, 128, 256, 257, 4096]) {
      for (const vectors of [true, false]) {
        const vector = dtype === 'float32' ? 4 : 8;
        if (vectors && width % vector !== 0) continue;
        const pairs = width % 2 === 0;
        const plans = [...groupPlans(features({ dtype, width, vectors, pairs }))];
        expect(plans.length).toBeGreaterThan(0);
        expect(plans.some(({ piece }) => piece === 2)).toBe(pairs && !vectors && width > 2 * vector);
        for (const plan of plans) {
          expect(plan.vector % plan.piece).toBe(0);
          expect(vectors ? [vector] : plan.vector === vector ? [1, 2] : [1]).toContain(plan.piece);
          expect(32 % (plan.lanes * plan.splits)).toBe(0);
          if (plan.warps > 1) expect(plan.lanes * plan.splits).toBe(32);
        }
      }
    }
  });
});

describe('binRows', () => {
  const pointers = (lengths: readonly number[]): Int32Array => {
    const result = new Int32Array(lengths.length + 1);
    lengths.forEach((length, row) => {
      result[row + 1] = result[row] + length;
    });
    return result;
  };

  test('leaves even patterns alone', () => {
    expect(binRows(pointers(new Array(5000).fill(600)), 600)).toBeUndefined();
    expect(binRows(pointers([5, 6, 5]), 6)).toBeUndefined();
    expect(binRows(pointers([]), 0)).toBeUndefined();
  });

  test('lists every row once by descending length, long ones in segments', () => {
    const random = new Random('bins');
    const lengths = Array.from({ length: 3000 }, () => random.integer(0, 70));
    lengths[0] = 4000;
    lengths[17] = 999;
    lengths[1024] = 1024;
    lengths[2999] = 513;
    const rowPointers = pointers(lengths);
    const { items, segments, longRows, limit, atLeast, table, stream } = binRows(rowPointers, 4000) ?? fail();
    expect(limit).toBe(512);
    expect(stream.at).toBe(4 * Math.ceil((4 * items + 3 * longRows) / 4));
    expect(longRows).toBe(4);
    expect(segments).toBe(8 + 2 + 2 + 2);
    expect(items).toBe(lengths.length - longRows + segments);
    const rowOf = (entry: number): number => rowPointers.findIndex((start) => start > entry) - 1;
    const sizes: number[] = [];
    const covered = new Map<number, number[]>();
    const slots = new Map<number, number>();
    for (let item = 0; item < items; ++item) {
      const [first, past, target] = table.subarray(4 * item, 4 * item + 3);
      sizes.push(past - first);
      const row = target >= 0 ? target : rowOf(first);
      covered.set(row, [...(covered.get(row) ?? []), first, past]);
      expect(target < 0).toBe(lengths[row] > limit);
      if (target < 0) slots.set(~target, row);
    }
    atLeast.forEach((count, exponent) => {
      expect(count).toBe(sizes.filter((size) => size >= 2 ** exponent).length);
      for (const size of sizes.slice(0, count)) expect(size).toBeGreaterThanOrEqual(2 ** exponent);
    });
    expect(covered.size).toBe(lengths.length);
    for (const [row, ends] of covered) {
      const sorted = ends.sort((a, b) => a - b);
      expect(sorted[0]).toBe(rowPointers[row]);
      expect(sorted[sorted.length - 1]).toBe(rowPointers[row + 1]);
      for (let i = 1; i + 1 < sorted.length; i += 2) expect(sorted[i]).toBe(sorted[i + 1]);
    }
    let next = 0;
    for (let i = 0; i < longRows; ++i) {
      const [row, first, past] = table.subarray(4 * items + 3 * i, 4 * items + 3 * i + 3);
      expect(first).toBe(next);
      for (let slot = first; slot < past; ++slot) expect(slots.get(slot)).toBe(row);
      next = past;
    }
    expect(next).toBe(segments);
  });
});

describe('streamRows and streamColumn', () => {
  // Counts of the rows' entries: long ones, empty ones in all places, more of them than a stretch or a step takes.
  const random = new Random('stream');
  const lengths = Array.from({ length: 3000 }, () => (random.unit() < 0.3 ? 0 : random.integer(1, 20)));
  lengths.fill(0, 0, 70);
  lengths.fill(0, 1000, 1300);
  lengths.fill(0, 2950);
  for (const [row, length] of [
    [0, 40],
    [71, 5000],
    [400, 17],
    [401, 64],
    [402, 65],
    [900, 20_001],
    [2000, 512],
    [2001, 513],
    [2949, 1025],
  ]) {
    lengths[row] = length;
  }
  const rowPointers = new Int32Array(lengths.length + 1);
  for (const [row, length] of lengths.entries()) rowPointers[row + 1] = rowPointers[row] + length;
  const steps = new Uint8Array(rowPointers[lengths.length]);
  const tables = { wide: streamRows(rowPointers, steps), column: streamColumn(rowPointers) };

  test.each(['wide', 'column'] as const)('write every row once from every entry: %s', (kind) => {
    const { items, segments, longRows, blockItems, warpItems, table, longest, stretch } = tables[kind];
    expect(table.length).toBe(4 * items + 3 * longRows);
    const written = new Uint8Array(lengths.length);
    const read = new Uint8Array(steps.length);
    const slots: (readonly number[] | undefined)[] = new Array(segments).fill(undefined);
    for (let item = 0; item < items; ++item) {
      const [first, past, target, extra] = table.slice(4 * item, 4 * item + 4);
      for (let entry = first; entry < past; ++entry) ++read[entry];
      if (item < blockItems + warpItems) {
        expect(past - first).toBeLessThanOrEqual(longest);
        expect(steps.subarray(first, past).every((step) => kind === 'column' || step === 0)).toBe(true);
        if (target < 0) slots[~target] = [first, past];
        else {
          ++written[target];
          expect([first, past]).toEqual([rowPointers[target], rowPointers[target + 1]]);
        }
      } else if (kind === 'column') {
        expect([first, past]).toEqual([rowPointers[target], rowPointers[target + extra]]);
        expect(past - first + (first % 4)).toBeLessThanOrEqual(1024);
        for (let row = target; row < target + extra; ++row) ++written[row];
      } else {
        expect(past - first).toBeLessThanOrEqual(stretch);
        let row = target - extra;
        for (let i = 0; i < extra; ++i) ++written[row++];
        for (let entry = first; entry < past; ++entry) {
          expect(entry < rowPointers[row + 1]).toBe(true);
          if (steps[entry] > 0) expect(entry).toBe(rowPointers[row + 1] - 1);
          for (let i = 0; i < steps[entry]; ++i) ++written[row++];
        }
      }
    }
    let slot = 0;
    for (let i = 0; i < longRows; ++i) {
      const [row, first, past] = table.slice(4 * items + 3 * i, 4 * items + 3 * i + 3);
      ++written[row];
      expect(first).toBe(slot);
      let at = rowPointers[row];
      for (; slot < past; ++slot) {
        expect(slots[slot]?.[0]).toBe(at);
        at = slots[slot]?.[1] ?? 0;
      }
      expect(at).toBe(rowPointers[row + 1]);
    }
    expect(slot).toBe(segments);
    expect(written.every((times) => times === 1)).toBe(true);
    expect(read.every((times) => times === 1)).toBe(true);
    expect(segments).toBeGreaterThan(0);
  });
});

describe('prepare', () => {
  let device: Device;
  beforeEach(async () => {
    device = await openDevice('cpu');
  });
  afterEach(() => device.dispose());

  const make = (density = 0.5, dtype: 'float16' | 'float32' = 'float16'): CsrMatrix<typeof dtype> => {
    const random = new Random('prepare');
    const rowPointers = [0];
    const columnIndices: number[] = [];
    for (let row = 0; row < 70; ++row) {
      for (let column = 0; column < 130; ++column) if (random.unit() < density) columnIndices.push(column);
      rowPointers.push(columnIndices.length);
    }
    const values = columnIndices.map(() => random.integer(-3, 3));
    return device.csr({ shape: [70, 130], rowPointers, columnIndices, values, dtype });
  };
  const operand = (n: number) =>
    device.tensor(
      Float32Array.from({ length: 130 * n }, (_, i) => (i % 7) - 3),
      {
        shape: [130, n],
        dtype: 'float16',
      },
    );
  /** The calls that reach the backend. */
  const spy = (): SpmmCall[] => {
    const calls: SpmmCall[] = [];
    const { operations } = device.backend;
    const run = operations.spmm;
    operations.spmm = (call) => {
      calls.push(call);
      run(call);
    };
    return calls;
  };

  test('changes the variant, not the result, and explain says so', async () => {
    const [a, b] = [make(), operand(64)];
    expect(explainSpmm(a, b).candidates.find(({ variant }) => variant === 'tiles')?.problem).toMatch(
      /up-to-date copy/,
    );
    const plain = await spmm(a, b).data();
    expect(a.prepare({ n: 64, variant: 'tiles' })).toBe('tiles');
    const explained = explainSpmm(a, b);
    expect(explained.candidates.find(({ variant }) => variant === 'tiles')?.us).toBeGreaterThan(0);
    expect(explained.reason).toMatch(/expected to take [\d.]+ us/);
    expect(await spmm(a, b, { variant: 'tiles' }).data()).toEqual(plain);
  });

  test.each(['out of an operation', 'copyFrom', 'a view', 'a replay'])(
    'a copy is out of use once its values change by %s, until it is prepared again',
    async (way) => {
      const [a, b, c] = [make(), operand(8), device.zeros([70, 8], 'float16')];
      const other = device.tensor(new Float32Array(a.nnz).fill(2), { dtype: 'float16' });
      const graph = way === 'a replay' ? device.capture(() => a.values.copyFrom(other)) : undefined;
      a.prepare({ n: 8, variant: 'tiles' });
      const calls = spy();
      spmm(a, b, { out: c, variant: 'tiles' });
      expect(calls[0].tiles).toBeDefined();
      if (graph !== undefined) graph.replay();
      else if (way === 'copyFrom') a.values.copyFrom(other);
      else if (way === 'a view') a.values.reshape([1, a.nnz]).copyFrom(other.reshape([1, a.nnz]));
      else {
        const identity = device.csr({
          shape: [a.nnz, a.nnz],
          rowPointers: Int32Array.from({ length: a.nnz + 1 }, (_, i) => i),
          columnIndices: Int32Array.from({ length: a.nnz }, (_, i) => i),
          dtype: 'float16',
        });
        const [source, out] = [other.reshape([a.nnz, 1]), a.values.reshape([a.nnz, 1])];
        spmm(identity, source, { out });
      }
      expect(() => spmm(a, b, { out: c, variant: 'tiles' })).toThrow(
        expect.objectContaining({ code: 'ERR_UNSUPPORTED' }),
      );
      const after = await spmm(a, b).data();
      expect(calls.at(-1)?.tiles).toBeUndefined();
      a.prepare({ n: 8, variant: 'tiles' });
      spmm(a, b, { out: c, variant: 'tiles' });
      expect(calls.at(-1)?.tiles).toBeDefined();
      expect(await c.data()).toEqual(after);
    },
  );

  test('takes all memory of a copy or, where it does not suffice, none', async () => {
    device.dispose();
    device = await openDevice('cpu', { memoryLimit: 40_000 });
    const a = make();
    const { used, handles } = device.memory();
    expect(() => a.prepare({ n: 8, variant: 'tiles' })).toThrow(
      expect.objectContaining({ code: 'ERR_OUT_OF_MEMORY' }),
    );
    expect(device.memory()).toMatchObject({ used, handles });
    a.dispose();
    expect(device.memory()).toMatchObject({ used: 0, handles: 0 });
  });

  test('a recorded copy follows its values, and outlives the matrix', async () => {
    const [a, b, c] = [make(), operand(8), device.zeros([70, 8], 'float16')];
    a.prepare({ n: 8, variant: 'tiles' });
    const graph = device.capture(() => spmm(a, b, { out: c, variant: 'tiles' }));
    graph.replay();
    expect(await c.data()).toEqual(await spmm(a, b, { variant: 'row-split' }).data());
    const other = device.tensor(new Float32Array(a.nnz).fill(2), { dtype: 'float16' });
    a.values.copyFrom(other);
    graph.replay();
    const changed = await spmm(a, b, { variant: 'row-split' }).data();
    expect(await c.data()).toEqual(changed);
    a.dispose();
    c.copyFrom(device.zeros([70, 8], 'float16'));
    graph.replay();
    expect(await c.data()).toEqual(changed);
    graph.dispose();
  });

  test('values written within a recording are not read from a copy', () => {
    const [a, b, c] = [make(), operand(8), device.zeros([70, 8], 'float16')];
    const other = device.tensor(new Float32Array(a.nnz).fill(2), { dtype: 'float16' });
    a.prepare({ n: 8, variant: 'tiles' });
    const calls = spy();
    device.capture(() => {
      a.values.copyFrom(other);
      spmm(a, b, { out: c });
    });
    expect(calls[0].tiles).toBeUndefined();
  });

  test('frees the copy with the values, in and out of tidy', () => {
    const a = make();
    const before = device.memory().handles;
    device.tidy(() => {
      a.prepare({ n: 8, variant: 'tiles' });
    });
    expect(device.memory().handles).toBeGreaterThan(before);
    spmm(a, operand(8), { variant: 'tiles' }).dispose();
    a.dispose();
    const empty = device.memory().handles;
    device.tidy(() => {
      make().prepare({ n: 8, variant: 'tiles' });
    });
    expect(device.memory().handles).toBe(empty);
  });

  test('refuses what it cannot do', () => {
    const a = make();
    const unsupported = expect.objectContaining({ code: 'ERR_UNSUPPORTED' });
    expect(() => device.capture(() => a.prepare({ n: 8 }))).toThrow(unsupported);
    const argument = expect.objectContaining({ code: 'ERR_ARGUMENT' });
    expect(() => a.prepare({ n: 0 })).toThrow(argument);
    expect(() => a.prepare({ n: 8, variant: 'row-group' as 'tiles' })).toThrow(argument);
    expect(() => a.prepare({ n: 8, x: 1 } as { n: number })).toThrow(argument);
    expect(() => a.prepare(undefined as never)).toThrow(argument);
    expect(() => spmm(a, operand(8), { variant: 'fast' as 'tiles' })).toThrow(argument);
    a.dispose();
    expect(() => a.prepare({ n: 8 })).toThrow(expect.objectContaining({ code: 'ERR_DISPOSED' }));
  });

  test.each([
    [1, 1],
    [16, 8],
    [7, 5],
    [33, 64],
    [64, 1],
  ])('counts the tiles that blocks of %i x %i meet', (blockRows, blockColumns) => {
    const random = new Random(`tiles ${blockRows} ${blockColumns}`);
    const [rows, columns] = [300, 1000];
    const pointers = [0];
    const indices: number[] = [];
    const found = tileHeights.map(() => new Set<string>());
    for (let row = 0; row * blockRows < rows; ++row) {
      for (let column = 0; column * blockColumns < columns; ++column) {
        if (random.unit() >= 0.02) continue;
        indices.push(column);
        for (let i = row * blockRows; i < Math.min(rows, (row + 1) * blockRows); ++i) {
          for (let j = column * blockColumns; j < Math.min(columns, (column + 1) * blockColumns); ++j) {
            tileHeights.forEach((height, at) => {
              found[at].add(`${Math.floor(i / height)} ${Math.floor(j / 64)}`);
            });
          }
        }
      }
      pointers.push(indices.length);
    }
    const extents = { rows, columns, blockRows, blockColumns };
    const counts = countTiles(Int32Array.from(pointers), Int32Array.from(indices), extents);
    tileHeights.forEach((height, at) => {
      const expected = new Array<number>(Math.ceil(rows / height)).fill(0);
      for (const tile of found[at]) ++expected[Number.parseInt(tile, 10)];
      expect([...counts.panels[height].counts]).toEqual(expected);
      expect(counts.panels[height]).toMatchObject({ count: found[at].size, most: Math.max(...expected) });
    });
    if (blockRows > 1 || blockColumns > 1) return;
    const squares = (size: number): number =>
      new Set(
        [...found[0]].map((tile) => {
          const [panel, column] = tile.split(' ').map(Number);
          return `${Math.floor((32 * panel) / size)} ${Math.floor((64 * column) / size)}`;
        }),
      ).size;
    expect(counts.shapes).toEqual([found[0].size, found[1].size, squares(128), squares(256)]);
  });

  test('leaves the tiles of very wide patterns uncounted, and makes no copy of them', () => {
    const parts = { rowPointers: [0, 2, 2, 3], columnIndices: [0, 2 ** 31 - 2, 7], values: [1, 2, 3] };
    const a = device.csr({ shape: [3, 2 ** 31 - 1], ...parts, dtype: 'float16' });
    expect(a.topology.tiles.panels[32]).toMatchObject({ counts: new Int32Array(1), count: 0, most: 0 });
    expect(a.topology.tiles.shapes).toEqual([3, 3, 3, 3]);
    expect(a.prepare({ n: 64 })).not.toBe('tiles');
    expect(() => a.prepare({ n: 64, variant: 'tiles' })).toThrow(
      expect.objectContaining({ code: 'ERR_UNSUPPORTED' }),
    );
    a.dispose();
  });

  test('cuts panels of far more tiles than most', () => {
    const panels = (counts: readonly number[]): PanelTiles => ({
      counts: Int32Array.from(counts),
      count: counts.reduce((sum, tiles) => sum + tiles, 0),
      most: Math.max(0, ...counts),
    });
    const uneven = panels(Array.from({ length: 11 }, (_, panel) => (panel === 0 ? 50 : 3)));
    // At most twice the mean of 80 / 11 tiles.
    expect(shareTiles(uneven)).toEqual({ count: 80, items: 14, longest: 13, parts: 4, cuts: 1, most: 50 });
    const table = shareTable(uneven, shareTiles(uneven));
    for (const room of [100, table.length, table.length - 1]) {
      expect(shareTable(uneven, shareTiles(uneven), new Int32Array(room).fill(7))).toEqual(table);
    }
    expect([...table.subarray(0, 20)]).toEqual([
      0, 0, 13, 0, 0, 13, 13, 1, 0, 26, 13, 2, 0, 39, 11, 3, 1, 50, 3, -1,
    ]);
    expect([...table.subarray(56, 63)]).toEqual([0, 0, 4, 0, 0, 50, 53]);
    const even = panels([10, 0, 10]);
    expect(shareTiles(even)).toEqual({ count: 20, items: 3, longest: 10, parts: 0, cuts: 0, most: 10 });
    expect([...shareTable(even, shareTiles(even))]).toEqual([
      0, 0, 10, -1, 1, 10, 0, -1, 2, 10, 10, -1, 0, 10, 10, 20,
    ]);
    expect(shareTiles(panels([]))).toEqual({ count: 0, items: 0, longest: 0, parts: 0, cuts: 0, most: 0 });
    expect([...shareTable(panels([]), shareTiles(panels([])))]).toEqual([0]);
  });

  test('refuses tiles of many times the memory of the matrix', () => {
    const n = 20_000;
    const diagonal = device.csr({
      shape: [n, 64 * n],
      rowPointers: Int32Array.from({ length: n + 1 }, (_, i) => i),
      columnIndices: Int32Array.from({ length: n }, (_, i) => 64 * i),
      dtype: 'float16',
    });
    expect(() => diagonal.prepare({ n: 32, variant: 'tiles' })).toThrow(
      expect.objectContaining({ code: 'ERR_LIMIT' }),
    );
    expect(diagonal.prepare({ n: 32 })).not.toBe('tiles');
  });
});
