import fc from 'fast-check';
import { BlockSparseMatrix, CsrMatrix, type Device, openDevice, type WarptileError } from '../lib/index.js';

let device: Device;
beforeEach(async () => {
  device = await openDevice('cpu');
});
afterEach(() => device.dispose());

function errorOf(body: () => unknown): { code: string; message: string } {
  try {
    body();
  } catch (error) {
    const { code, message } = error as WarptileError;
    return { code, message };
  }
  throw new Error('nothing was thrown');
}

const good = { shape: [3, 4] as const, rowPointers: [0, 2, 2, 3], columnIndices: [1, 3, 0] };

describe('CsrMatrix', () => {
  test('holds pattern, values and facts', () => {
    const a = device.csr({ ...good, values: [1.5, -2, 3], dtype: 'float16' });
    expect(a.format).toBe('csr');
    expect(a.shape).toEqual([3, 4]);
    expect(a.nnz).toBe(3);
    expect(a.dtype).toBe('float16');
    expect(a.batch).toBeUndefined();
    expect([...a.rowPointers.dataSync()]).toEqual(good.rowPointers);
    expect([...a.columnIndices.dataSync()]).toEqual(good.columnIndices);
    expect([...a.values.dataSync()]).toEqual([1.5, -2, 3]);
    expect(a.topology).toMatchObject({ stored: 3, rows: 3, columns: 4, longestRow: 2, bins: undefined });
    expect(a.topology.emptyShare).toBeCloseTo(1 / 3);
    expect(a.topology.variation).toBeCloseTo(Math.sqrt(2 / 3));
  });

  test.each(['float32', 'float16', 'bfloat16'] as const)('values default to ones in %s', (dtype) => {
    const a = device.csr({ ...good, dtype });
    expect([...a.values.dataSync()]).toEqual([1, 1, 1]);
    expect(a.values.dtype).toBe(dtype);
  });

  test('index data that was checked cannot be overwritten', async () => {
    const a = device.csr(good);
    const other = device.tensor([9, 9, 9], { dtype: 'int32' });
    for (const matrix of [a, a.withValues(a.values), await a.to(device)]) {
      for (const indices of [
        matrix.columnIndices,
        matrix.columnIndices.reshape([3]),
        matrix.rowPointers.slice(1),
      ]) {
        expect(indices.readOnly).toBe(true);
        expect(errorOf(() => indices.copyFrom(other)).code).toBe('ERR_ARGUMENT');
      }
    }
    expect(a.values.readOnly).toBe(false);
    expect([...a.columnIndices.dataSync()]).toEqual(good.columnIndices);
    const copy = a.columnIndices.clone();
    copy.copyFrom(other);
    expect([...copy.dataSync()]).toEqual([9, 9, 9]);
  });

  test('takes batches, and tensors as values', async () => {
    const values = device.tensor([1, 2, 3, 4, 5, 6], { shape: [2, 3] });
    const a = device.csr({ ...good, values });
    expect(a.batch).toBe(2);
    values.dispose();
    const dense = await a.toDense();
    expect(dense.shape).toEqual([2, 3, 4]);
    expect([...dense.dataSync().subarray(12)]).toEqual([0, 4, 0, 5, 0, 0, 0, 0, 6, 0, 0, 0]);
    expect(device.csr({ ...good, batch: 0 }).values.shape).toEqual([0, 3]);
    expect(device.csr({ ...good, batch: 4 }).values.size).toBe(12);
  });

  test('withValues shares the pattern; each handle is disposed by itself', () => {
    const a = device.csr({ ...good, values: [1, 2, 3] });
    const values = device.tensor([4, 5, 6], { dtype: 'bfloat16' });
    const b = a.withValues(values);
    expect(b.topology).toBe(a.topology);
    a.dispose();
    expect(a.disposed).toBe(true);
    values.dispose();
    expect(b.disposed).toBe(false);
    expect([...b.values.dataSync()]).toEqual([4, 5, 6]);
    expect([...b.columnIndices.dataSync()]).toEqual(good.columnIndices);
    b.dispose();
    b.dispose();
    expect(device.memory().handles).toBe(0);
    expect(errorOf(() => b.withValues(values)).code).toBe('ERR_DISPOSED');
  });

  test('withValues checks dtype, shape and device', async () => {
    const a = device.csr(good);
    expect(errorOf(() => a.withValues(device.zeros([4]))).code).toBe('ERR_SHAPE');
    expect(errorOf(() => a.withValues(device.zeros([2, 2, 3]))).code).toBe('ERR_SHAPE');
    expect(errorOf(() => a.withValues(device.zeros([3], 'int32') as never)).code).toBe('ERR_DTYPE');
    expect(errorOf(() => a.withValues([1, 2, 3] as never)).code).toBe('ERR_ARGUMENT');
    const other = await openDevice('cpu');
    expect(errorOf(() => a.withValues(other.zeros([3]))).code).toBe('ERR_DEVICE');
    const moved = await a.to(other);
    expect(moved.device).toBe(other);
    expect([...moved.values.dataSync()]).toEqual([1, 1, 1]);
    other.dispose();
    expect(errorOf(() => moved.checkUsable('a')).code).toBe('ERR_DISPOSED');
  });

  test('tidy keeps a returned matrix and frees others', () => {
    const kept = device.tidy(() => {
      device.csr(good);
      return device.csr(good);
    });
    expect(device.memory().handles).toBe(3);
    kept.dispose();
    expect(device.memory().handles).toBe(0);
  });

  test('zero-sized shapes', async () => {
    for (const [rows, columns] of [
      [0, 0],
      [0, 5],
      [3, 0],
    ]) {
      const rowPointers = new Array(rows + 1).fill(0);
      const a = device.csr({ shape: [rows, columns], rowPointers, columnIndices: [], values: [] });
      expect(a.nnz).toBe(0);
      expect((await a.toDense()).shape).toEqual([rows, columns]);
    }
  });

  const bad: [string, object, string, string][] = [
    [
      'pointers that fall',
      { rowPointers: [0, 2, 1, 3] },
      'ERR_INDEX',
      'rowPointers[2]: expected an integer from 2 to 3, received 1',
    ],
    ['pointers past nnz', { rowPointers: [0, 2, 4, 3] }, 'ERR_INDEX', 'rowPointers[2]'],
    ['a first pointer other than 0', { rowPointers: [1, 2, 2, 3] }, 'ERR_INDEX', 'rowPointers[0]'],
    ['a last pointer other than nnz', { rowPointers: [0, 2, 2, 2] }, 'ERR_INDEX', 'rowPointers[3]'],
    ['NaN pointers', { rowPointers: [0, Number.NaN, 2, 3] }, 'ERR_INDEX', 'rowPointers[1]'],
    ['fractional pointers', { rowPointers: [0, 1.5, 2, 3] }, 'ERR_INDEX', 'rowPointers[1]'],
    ['undefined pointers', { rowPointers: [0, undefined, 2, 3] }, 'ERR_INDEX', 'rowPointers[1]'],
    [
      'too few pointers',
      { rowPointers: [0, 3] },
      'ERR_SHAPE',
      'rowPointers: expected 4 elements for 3 rows, received 2',
    ],
    ['no pointers', { rowPointers: undefined }, 'ERR_ARGUMENT', 'rowPointers'],
    [
      'unsorted columns',
      { columnIndices: [3, 1, 0] },
      'ERR_INDEX',
      'columnIndices[1]: expected an integer from 4 to 3, ascending within the row, received 1',
    ],
    ['repeated columns', { columnIndices: [3, 3, 0] }, 'ERR_INDEX', 'columnIndices[1]'],
    ['columns out of range', { columnIndices: [1, 4, 0] }, 'ERR_INDEX', 'columnIndices[1]'],
    ['negative columns', { columnIndices: [-1, 3, 0] }, 'ERR_INDEX', 'columnIndices[0]'],
    ['NaN columns', { columnIndices: [1, 3, Number.NaN] }, 'ERR_INDEX', 'columnIndices[2]'],
    ['string columns', { columnIndices: ['1', 3, 0] }, 'ERR_INDEX', 'columnIndices[0]'],
    ['bigint columns', { columnIndices: new BigInt64Array(3) }, 'ERR_ARGUMENT', 'columnIndices'],
    [
      'shared columns',
      { columnIndices: new Int32Array(new SharedArrayBuffer(12)) },
      'ERR_ARGUMENT',
      'columnIndices',
    ],
    ['detached columns', { columnIndices: detached() }, 'ERR_ARGUMENT', 'columnIndices'],
    ['too many entries', { columnIndices: new Array(2 ** 31) }, 'ERR_LIMIT', 'columnIndices'],
    ['too many columns', { shape: [3, 2 ** 31] }, 'ERR_LIMIT', 'shape'],
    ['too many rows', { shape: [2 ** 31, 3] }, 'ERR_LIMIT', 'shape'],
    ['a shape of one size', { shape: [3] }, 'ERR_SHAPE', 'shape'],
    ['a NaN shape', { shape: [3, Number.NaN] }, 'ERR_SHAPE', 'shape'],
    ['a negative shape', { shape: [-3, 4] }, 'ERR_SHAPE', 'shape'],
    ['too few values', { values: [1, 2] }, 'ERR_SHAPE', '3 elements'],
    ['values of another dtype', { values: 'f16' }, 'ERR_ARGUMENT', 'data'],
    ['a fractional batch', { batch: 1.5 }, 'ERR_ARGUMENT', 'batch'],
    ['values short of the batch', { batch: 2, values: [1, 2, 3] }, 'ERR_SHAPE', '6 elements'],
    ['an integer dtype', { dtype: 'int32' }, 'ERR_DTYPE', 'dtype'],
    ['an unknown dtype', { dtype: 'float64' }, 'ERR_DTYPE', 'dtype'],
    ['an unknown key', { rowPointer: [0] }, 'ERR_ARGUMENT', "unknown key 'rowPointer'"],
  ];
  test.each(bad)('rejects %s and keeps nothing', (_name, change, code, message) => {
    const error = errorOf(() => device.csr({ ...good, ...change } as never));
    expect(error.code).toBe(code);
    expect(error.message).toContain(message);
    expect(device.memory().handles).toBe(0);
  });

  test('rejects tensor values that do not fit', () => {
    expect(errorOf(() => device.csr({ ...good, values: device.zeros([4]) })).code).toBe('ERR_SHAPE');
    const three = device.zeros([2, 3]);
    expect(errorOf(() => device.csr({ ...good, batch: 3, values: three })).code).toBe('ERR_SHAPE');
    expect(errorOf(() => device.csr({ ...good, dtype: 'float16', values: three as never })).code).toBe(
      'ERR_DTYPE',
    );
  });

  test('rejects missing options, and use of a closed device', () => {
    expect(errorOf(() => device.csr(undefined as never)).code).toBe('ERR_ARGUMENT');
    device.dispose();
    expect(errorOf(() => device.csr(good)).code).toBe('ERR_DISPOSED');
  });

  test('an allocation that fails leaves nothing behind', async () => {
    const small = await openDevice('cpu', { memoryLimit: 20 });
    expect(errorOf(() => small.csr(good)).code).toBe('ERR_OUT_OF_MEMORY');
    expect(small.memory().handles).toBe(0);
    small.dispose();
  });
});

function detached(): Int32Array {
  const array = new Int32Array(3);
  structuredClone(array.buffer, { transfer: [array.buffer] });
  return array;
}

describe('BlockSparseMatrix', () => {
  test('an edge block hangs over the matrix', async () => {
    const values = Float32Array.from({ length: 12 }, (_, i) => i + 1);
    const a = device.blockSparse({
      shape: [3, 4],
      blockShape: [2, 3],
      rowPointers: [0, 1, 2],
      columnIndices: [0, 1],
      values,
    });
    expect(a.format).toBe('block-sparse');
    expect([a.blocks, a.nnz]).toEqual([2, 12]);
    expect(a.values.shape).toEqual([2, 2, 3]);
    expect([...(await a.toDense()).dataSync()]).toEqual([1, 2, 3, 0, 4, 5, 6, 0, 0, 0, 0, 7]);
  });

  test('batches, other values, copies', async () => {
    const a = device.blockSparse({
      shape: [4, 4],
      blockShape: [2, 2],
      rowPointers: [0, 1, 1],
      columnIndices: [1],
      batch: 3,
    });
    expect(a.batch).toBe(3);
    const b = a.withValues(device.tensor([1, 2, 3, 4], { shape: [1, 2, 2], dtype: 'float16' }));
    a.dispose();
    expect([...(await b.toDense()).dataSync()]).toEqual([0, 0, 1, 2, 0, 0, 3, 4, ...new Array(8).fill(0)]);
    const copy = await b.to(device);
    b.dispose();
    expect(copy.blockShape).toEqual([2, 2]);
    expect(errorOf(() => copy.withValues(device.zeros([4]))).code).toBe('ERR_SHAPE');
  });

  test.each([
    ['a block of 0', { blockShape: [0, 2] }, 'ERR_SHAPE', 'blockShape'],
    ['a block of 65', { blockShape: [2, 65] }, 'ERR_SHAPE', 'blockShape'],
    ['no block', { blockShape: undefined }, 'ERR_SHAPE', 'blockShape'],
    ['a block column out of range', { columnIndices: [2] }, 'ERR_INDEX', 'columnIndices[0]'],
    ['pointers of elements', { rowPointers: [0, 1, 1, 1, 1] }, 'ERR_SHAPE', 'rowPointers'],
    ['values of one element a block', { values: [1] }, 'ERR_SHAPE', '4 elements'],
  ])('rejects %s', (_name, change, code, message) => {
    const options = {
      shape: [4, 4],
      blockShape: [2, 2],
      rowPointers: [0, 1, 1],
      columnIndices: [1],
      ...change,
    };
    const error = errorOf(() => device.blockSparse(options as never));
    expect(error.code).toBe(code);
    expect(error.message).toContain(message);
    expect(device.memory().handles).toBe(0);
  });
});

test('fromDense and toDense are inverse', async () => {
  const size = fc.integer({ min: 0, max: 9 });
  const problem = fc
    .tuple(size, size, fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 4 }))
    .chain(([m, k, r, c]) =>
      fc.record({
        shape: fc.constant([m, k] as const),
        blockShape: fc.constant([r, c] as const),
        data: fc.array(fc.oneof(fc.constant(0), fc.integer({ min: -8, max: 8 })), {
          minLength: m * k,
          maxLength: m * k,
        }),
      }),
    );
  await fc.assert(
    fc.asyncProperty(problem, async ({ shape, blockShape, data }) => {
      const dtype = 'float16' as const;
      const csr = CsrMatrix.fromDense(device, data, { shape, dtype });
      const blocks = BlockSparseMatrix.fromDense(device, data, { shape, blockShape, dtype });
      expect(csr.nnz).toBe(data.filter((value) => value !== 0).length);
      expect([...(await csr.toDense()).dataSync()]).toEqual(data.map((value) => value + 0));
      expect([...(await blocks.toDense()).dataSync()]).toEqual(data.map((value) => value + 0));
    }),
    { numRuns: 60, seed: 1 },
  );
  expect(errorOf(() => CsrMatrix.fromDense(device, [1, 2], { shape: [1, 1] })).code).toBe('ERR_SHAPE');
});
