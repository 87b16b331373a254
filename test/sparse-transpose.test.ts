import fc from 'fast-check';
import { transposeIndices } from '../lib/formats/transposed-pattern.js';
import { CsrMatrix, type Device, explainSpmm, openDevice, spmm } from '../lib/index.js';
import { floatDTypes } from '../lib/tensor/dtype.js';
import { errorOf } from './harness/errors.js';
import { recordSpmmCalls } from './harness/record-calls.js';

let device: Device;
beforeEach(async () => {
  device = await openDevice('cpu');
});
afterEach(() => device.dispose());

// [[0, 2, 0, 0], [3, 0, 0, 4], [0, 5, 0, 6]]
const pattern = { rowPointers: [0, 1, 3, 5], columnIndices: [1, 0, 3, 1, 3] };
const make = (options: object = {}): CsrMatrix =>
  device.csr({ shape: [3, 4], ...pattern, values: [2, 3, 4, 5, 6], ...options });

/** How often values have been transposed on the device. */
function countTransposes(): () => number {
  let count = 0;
  const { operations } = device.backend;
  const run = operations.transposeValues;
  operations.transposeValues = (call) => {
    ++count;
    run(call);
  };
  return () => count;
}

describe('transpose', () => {
  test('has the transposed pattern and values', async () => {
    const t = make().transpose();
    expect(t.shape).toEqual([4, 3]);
    expect([...t.rowPointers.dataSync()]).toEqual([0, 1, 3, 3, 5]);
    expect([...t.columnIndices.dataSync()]).toEqual([1, 0, 2, 1, 2]);
    expect([...t.values.dataSync()]).toEqual([3, 2, 5, 4, 6]);
    expect(t.rowPointers.readOnly && t.columnIndices.readOnly).toBe(true);
    expect(t.topology).toMatchObject({ stored: 5, rows: 4, columns: 3, longestRow: 2, emptyShare: 0.25 });
  });

  test('of blocks that hang over the matrix, and of a batch', async () => {
    const blocks = device.blockSparse({
      shape: [3, 5],
      blockShape: [2, 3],
      rowPointers: [0, 2, 3],
      columnIndices: [0, 1, 1],
      values: Float32Array.from({ length: 36 }, (_, i) => i + 1),
      batch: 2,
    });
    const t = blocks.transpose();
    expect(t.blockShape).toEqual([3, 2]);
    const [dense, transposed] = [await (await blocks.toDense()).data(), await (await t.toDense()).data()];
    for (let set = 0; set < 2; ++set) {
      for (let i = 0; i < 3; ++i) {
        for (let j = 0; j < 5; ++j) {
          expect(transposed[(set * 5 + j) * 3 + i]).toBe(dense[(set * 3 + i) * 5 + j]);
        }
      }
    }
  });

  test('of a transpose is the matrix', () => {
    const rows = fc.uniqueArray(fc.integer({ min: 0, max: 8 }), { maxLength: 9 });
    fc.assert(
      fc.property(fc.array(rows, { minLength: 0, maxLength: 7 }), (lists) => {
        const rowPointers = [0];
        const columnIndices: number[] = [];
        for (const list of lists) {
          columnIndices.push(...list.sort((a, b) => a - b));
          rowPointers.push(columnIndices.length);
        }
        const values = columnIndices.map((_, i) => i + 1);
        const a = device.csr({ shape: [lists.length, 9], rowPointers, columnIndices, values });
        const twice = a.transpose().transpose();
        expect(twice.shape).toEqual(a.shape);
        expect(twice.topology).toEqual(a.topology);
        for (const part of ['rowPointers', 'columnIndices', 'values'] as const) {
          expect(twice[part].dataSync()).toEqual(a[part].dataSync());
        }
      }),
      { numRuns: 100 },
    );
  });

  test('keeps its values when those of the matrix change', () => {
    const a = make();
    const t = a.transpose();
    a.values.copyFrom(device.tensor([1, 1, 1, 1, 1]));
    expect([...t.values.dataSync()]).toEqual([3, 2, 5, 4, 6]);
    expect([...a.transpose().values.dataSync()]).toEqual([1, 1, 1, 1, 1]);
  });

  test('shares its pattern with every other over the same pattern', () => {
    const a = make();
    const other = a.withValues(device.tensor([1, 2, 3, 4, 5], { dtype: 'float16' }));
    const [t, u] = [a.transpose(), other.transpose()];
    expect(u.topology).toBe(t.topology);
    expect(u.rowPointers.storage).toBe(t.rowPointers.storage);
    expect([...u.values.dataSync()]).toEqual([2, 1, 4, 3, 5]);
  });

  test('outlives the matrix; everything is freed in the end', () => {
    const before = device.memory().handles;
    const a = make();
    const other = a.withValues(a.values);
    const t = a.transpose();
    a.dispose();
    expect([...other.transpose().values.dataSync()]).toEqual([3, 2, 5, 4, 6]);
    other.dispose();
    expect([...t.values.dataSync()]).toEqual([3, 2, 5, 4, 6]);
    t.dispose();
    // The transpose of `other` was never disposed: its values, and the pattern of it.
    expect(device.memory().handles).toBe(before + 3);
  });

  test('in tidy, frees what is not returned', () => {
    const before = device.memory().handles;
    const t = device.tidy(() => {
      const a = make();
      a.transpose();
      spmm(a, device.zeros([3, 2]), { transposeA: true });
      return a.transpose();
    });
    expect([...t.values.dataSync()]).toEqual([3, 2, 5, 4, 6]);
    t.dispose();
    expect(device.memory().handles).toBe(before);
  });

  test('a pattern built in tidy serves the matrix afterwards', () => {
    const a = make();
    const [empty, b] = [device.memory().handles, device.tensor([1, 0, 0], { shape: [3, 1] })];
    device.tidy(() => a.transpose());
    device.tidy(() => spmm(a, b, { transposeA: true }));
    expect([...spmm(a, b, { transposeA: true }).dataSync()]).toEqual([0, 2, 0, 0]);
    expect(device.memory().handles).toBeGreaterThan(empty);
  });

  test('transposeIndices sorts by column, then by row', () => {
    const { rowPointers, columnIndices, order } = transposeIndices(
      Int32Array.from(pattern.rowPointers),
      Int32Array.from(pattern.columnIndices),
      4,
    );
    expect([...rowPointers]).toEqual([0, 1, 3, 3, 5]);
    expect([...columnIndices]).toEqual([1, 0, 2, 1, 2]);
    expect([...order]).toEqual([1, 0, 3, 2, 4]);
  });

  test('of a disposed matrix, or a pattern with too many columns, is an error', () => {
    const wide = device.csr({ shape: [1, 2 ** 31 - 1], rowPointers: [0, 0], columnIndices: [] });
    expect(errorOf(() => wide.transpose())).toMatchObject({ code: 'ERR_LIMIT' });
    const a = make();
    a.dispose();
    expect(errorOf(() => a.transpose())).toMatchObject({ code: 'ERR_DISPOSED' });
  });
});

describe('spmm with transposeA', () => {
  const b = () => device.tensor([1, 2, 3, 4, 5, 6], { shape: [3, 2] });

  test('multiplies by the transpose', () => {
    expect([...spmm(make(), b(), { transposeA: true }).dataSync()]).toEqual([9, 12, 27, 34, 0, 0, 42, 52]);
  });

  test.each(floatDTypes)('agrees with the product of transpose() in %s', (dtype) => {
    const a = make({ dtype });
    const dense = device.tensor([1, 2, 3, 4, 5, 6], { shape: [3, 2], dtype });
    const out = device.tensor([1, 1, 1, 1, 1, 1, 1, 1], { shape: [4, 2], dtype });
    const same = out.clone();
    spmm(a, dense, { transposeA: true, out, alpha: 2, beta: -1 });
    spmm(a.transpose(), dense, { out: same, alpha: 2, beta: -1 });
    expect(out.dataSync()).toEqual(same.dataSync());
  });

  test('transposes the values once, and again when they change', () => {
    const [a, dense] = [make(), b()];
    const count = countTransposes();
    spmm(a, dense, { transposeA: true });
    spmm(a, dense, { transposeA: true });
    expect(count()).toBe(1);
    a.values.copyFrom(device.tensor([1, 1, 1, 1, 1]));
    const changed = spmm(a, dense, { transposeA: true });
    expect(count()).toBe(2);
    expect([...changed.dataSync()]).toEqual([3, 4, 6, 8, 0, 0, 8, 10]);
    // Another matrix over the pattern has values of its own.
    spmm(a.withValues(a.values), dense, { transposeA: true });
    expect(count()).toBe(3);
  });

  test('inside a capture the pattern must exist', () => {
    const [a, dense, out] = [make(), b(), device.zeros([4, 2])];
    const record = () => device.capture(() => spmm(a, dense, { transposeA: true, out }));
    const { code, message } = errorOf(record);
    expect(code).toBe('ERR_UNSUPPORTED');
    expect(message).toMatch(/transpose\(\) or prepare/);
    expect(errorOf(() => device.capture(() => a.transpose())).code).toBe('ERR_UNSUPPORTED');
    a.transpose().dispose();
    record().replay();
    expect([...out.dataSync()]).toEqual([9, 12, 27, 34, 0, 0, 42, 52]);
  });

  test('recorded before or after the values are copied, a graph follows them', () => {
    const [dense, ones] = [b(), device.tensor([1, 1, 1, 1, 1])];
    for (const first of ['transpose', 'spmm', 'prepare']) {
      const [a, out] = [make(), device.zeros([4, 2])];
      if (first === 'transpose') a.transpose().dispose();
      else if (first === 'spmm') spmm(a, dense, { transposeA: true }).dispose();
      else a.prepare({ n: 2, transposeA: true });
      const graph = device.capture(() => spmm(a, dense, { transposeA: true, out }));
      expect([...out.dataSync()]).toEqual(new Array(8).fill(0));
      graph.replay();
      expect([...out.dataSync()]).toEqual([9, 12, 27, 34, 0, 0, 42, 52]);
      expect(spmm(a, dense, { transposeA: true }).dataSync()).toEqual(out.dataSync());
      a.values.copyFrom(ones);
      graph.replay();
      expect([...out.dataSync()]).toEqual([3, 4, 6, 8, 0, 0, 8, 10]);
      expect(spmm(a, dense, { transposeA: true }).dataSync()).toEqual(out.dataSync());
      a.dispose();
      out.copyFrom(device.zeros([4, 2]));
      graph.replay();
      expect([...out.dataSync()]).toEqual([3, 4, 6, 8, 0, 0, 8, 10]);
      graph.dispose();
    }
  });

  test('values written within a recording are transposed in it, replay after replay', () => {
    const [a, dense] = [make(), b()];
    const [early, late, source] = [
      device.zeros([4, 2]),
      device.zeros([4, 2]),
      device.tensor([1, 1, 1, 1, 1]),
    ];
    spmm(a, dense, { transposeA: true }).dispose();
    const graph = device.capture(() => {
      spmm(a, dense, { transposeA: true, out: early });
      a.values.copyFrom(source);
      spmm(a, dense, { transposeA: true, out: late });
    });
    graph.replay();
    expect([...early.dataSync()]).toEqual([9, 12, 27, 34, 0, 0, 42, 52]);
    expect([...late.dataSync()]).toEqual([3, 4, 6, 8, 0, 0, 8, 10]);
    source.copyFrom(device.tensor([2, 2, 2, 2, 2]));
    graph.replay();
    expect([...early.dataSync()]).toEqual([3, 4, 6, 8, 0, 0, 8, 10]);
    expect([...late.dataSync()]).toEqual([6, 8, 12, 16, 0, 0, 16, 20]);
    expect(spmm(a, dense, { transposeA: true }).dataSync()).toEqual(late.dataSync());
  });

  test('may run on a copy of its own in tiles', () => {
    const size = 70;
    const a = CsrMatrix.fromDense(
      device,
      Float32Array.from({ length: size * 40 }, (_, i) => (i % 3) - 1),
      { shape: [size, 40], dtype: 'float16' },
    );
    const dense = device.tensor(
      Float32Array.from({ length: size * 8 }, (_, i) => (i % 5) - 2),
      { shape: [size, 8], dtype: 'float16' },
    );
    const plain = spmm(a, dense, { transposeA: true }).dataSync();
    expect(a.prepare({ n: 8, transposeA: true, variant: 'tiles' })).toBe('tiles');
    expect(
      explainSpmm(a, dense, { transposeA: true }).candidates.find(({ variant }) => variant === 'tiles')?.us,
    ).toBeGreaterThan(0);
    const calls = recordSpmmCalls(device);
    const out = device.zeros([40, 8], 'float16');
    const graph = device.capture(() => spmm(a, dense, { transposeA: true, variant: 'tiles', out }));
    expect(calls[0].tiles).toBeDefined();
    graph.replay();
    expect(out.dataSync()).toEqual(plain);
    // A replay brings the transposed values up to date, and then the tiles made of them.
    a.values.copyFrom(device.tensor(new Float32Array(a.nnz).fill(2), { dtype: 'float16' }));
    graph.replay();
    expect(out.dataSync()).toEqual(spmm(a, dense, { transposeA: true, variant: 'row-split' }).dataSync());
  });

  test.each([
    ['transposeA', 'ERR_ARGUMENT', /transposeA: expected true or false/],
    ['out', 'ERR_SHAPE', /out: expected \[4,2\]/],
    ['b', 'ERR_SHAPE', /b: expected \[3, any\]/],
    ['overlap', 'ERR_ARGUMENT', /shares memory with the values of a/],
  ])('a wrong %s is an error', (wrong, code, message) => {
    const a = device.csr({
      shape: [3, 4],
      rowPointers: [0, 2, 5, 8],
      columnIndices: [0, 1, 0, 1, 2, 0, 2, 3],
    });
    const dense = device.zeros(wrong === 'b' ? [4, 2] : [3, 2]);
    const out =
      wrong === 'overlap' ? a.values.reshape([4, 2]) : device.zeros(wrong === 'out' ? [3, 2] : [4, 2]);
    const transposeA = (wrong === 'transposeA' ? 1 : true) as boolean;
    const before = device.memory().handles;
    const error = errorOf(() => spmm(a, dense, { transposeA, out }));
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
    expect(device.memory().handles).toBe(before);
  });
});
