// What prepare builds, and how copies follow their values.

import { tileHeights } from '../lib/backends/calls/spmm.js';
import {
  countTiles,
  type PanelTiles,
  panelTiles,
  shareTable,
  shareTiles,
} from '../lib/formats/tile-counts.js';
import { type CsrMatrix, type Device, explainSpmm, openDevice, spmm } from '../lib/index.js';
import { drawPattern } from './cases/sparse-patterns.js';
import { cutPanels } from './cases/spmm-variants.js';
import { Random } from './harness/random.js';
import { recordSpmmCalls } from './harness/record-calls.js';

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
      const calls = recordSpmmCalls(device);
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

  test('what it says will run is what runs', () => {
    const random = new Random('a half');
    const rowPointers = [0];
    const columnIndices: number[] = [];
    for (let row = 0; row < 512; ++row) {
      for (let column = 0; column < 512; ++column) if (random.unit() < 0.5) columnIndices.push(column);
      rowPointers.push(columnIndices.length);
    }
    const a = device.csr({ shape: [512, 512], rowPointers, columnIndices });
    const runs = (n: number): string => explainSpmm(a, device.empty([512, n])).variant;
    // Expected to be faster than tiles, of which there is no copy then, but not by so much that it would be made beside what needs none.
    expect(runs(128)).toBe('row-group');
    expect(a.prepare({ n: 128 })).toBe('strips');
    expect(runs(128)).toBe('strips');
    expect(a.prepare({ n: 128 })).toBe('strips');
    expect(runs(132)).toBe('row-group');
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
    const calls = recordSpmmCalls(device);
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
    const panels = (counts: readonly number[]): PanelTiles => panelTiles(32, Int32Array.from(counts));
    const uneven = panels(Array.from({ length: 11 }, (_, panel) => (panel === 0 ? 50 : 3)));
    // At most twice the mean of 80 / 11 tiles.
    expect(shareTiles(uneven)).toEqual({
      rows: 32,
      count: 80,
      items: 14,
      longest: 13,
      parts: 4,
      cuts: 1,
      most: 50,
    });
    const table = shareTable(uneven, shareTiles(uneven));
    for (const room of [100, table.length, table.length - 1]) {
      expect(shareTable(uneven, shareTiles(uneven), new Int32Array(room).fill(7))).toEqual(table);
    }
    expect([...table.subarray(0, 20)]).toEqual([
      0, 0, 13, 0, 0, 13, 13, 1, 0, 26, 13, 2, 0, 39, 11, 3, 1, 50, 3, -1,
    ]);
    expect([...table.subarray(56, 63)]).toEqual([0, 0, 4, 0, 0, 50, 53]);
    const even = panels([10, 0, 10]);
    expect(shareTiles(even)).toEqual({
      rows: 32,
      count: 20,
      items: 3,
      longest: 10,
      parts: 0,
      cuts: 0,
      most: 10,
    });
    expect([...shareTable(even, shareTiles(even))]).toEqual([
      0, 0, 10, -1, 1, 10, 0, -1, 2, 10, 10, -1, 0, 10, 10, 20,
    ]);
    expect(shareTiles(panels([]))).toEqual({
      rows: 32,
      count: 0,
      items: 0,
      longest: 0,
      parts: 0,
      cuts: 0,
      most: 0,
    });
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

test.each(cutPanels)('panels of the cases are cut at every height: %o', (spec) => {
  const pattern = drawPattern(spec, new Random('cut'));
  const { panels } = countTiles(pattern.rowPointers, pattern.columnIndices, pattern);
  for (const rows of tileHeights) expect(panels[rows].shares.cuts).toBe(3);
});
