import { type Device, explainSpmm, openDevice, spmm, type Tensor } from '../lib/index.js';
import { errorOf } from './harness/errors.js';

let device: Device;
beforeEach(async () => {
  device = await openDevice('cpu');
});
afterEach(() => device.dispose());

const identity = (size: number) =>
  device.csr({
    shape: [size, size],
    rowPointers: Int32Array.from({ length: size + 1 }, (_, i) => i),
    columnIndices: Int32Array.from({ length: size }, (_, i) => i),
  });
const counted = (shape: readonly number[]): Tensor<'float32'> => {
  const size = shape.reduce((product, value) => product * value, 1);
  return device.tensor(
    Float32Array.from({ length: size }, (_, i) => i),
    { shape },
  );
};

describe('spmm with ranges of columns', () => {
  test('bColumns makes a result of that width', () => {
    const c = spmm(identity(2), counted([2, 5]), { bColumns: [1, 4] });
    expect(c.shape).toEqual([2, 3]);
    expect([...c.dataSync()]).toEqual([1, 2, 3, 6, 7, 8]);
  });

  test('outColumns leaves the others alone', () => {
    const out = device.tensor(new Float32Array(12).fill(9), { shape: [2, 6] });
    expect(spmm(identity(2), counted([2, 5]), { out, bColumns: [0, 2], outColumns: [3, 5] })).toBe(out);
    expect([...out.dataSync()]).toEqual([9, 9, 9, 0, 1, 9, 9, 9, 9, 5, 6, 9]);
    spmm(identity(2), counted([2, 2]), { out, outColumns: [4, 6], beta: 2 });
    expect([...out.dataSync()]).toEqual([9, 9, 9, 0, 2, 19, 9, 9, 9, 5, 14, 21]);
  });

  test('columns of one tensor that are apart may be read and written', () => {
    const both = counted([2, 4]);
    spmm(identity(2), both, { out: both, bColumns: [0, 2], outColumns: [2, 4] });
    expect([...both.dataSync()]).toEqual([0, 1, 0, 1, 4, 5, 4, 5]);
    for (const outColumns of [
      [0, 2],
      [1, 3],
    ] as const) {
      const overlapping = () => spmm(identity(2), both, { out: both, bColumns: [0, 2], outColumns });
      expect(errorOf(overlapping)).toMatchObject({ code: 'ERR_ARGUMENT' });
    }
    const reshaped = counted([4, 2]);
    const other = reshaped.reshape([2, 4]);
    const a = device.csr({ shape: [2, 4], rowPointers: [0, 0, 0], columnIndices: [] });
    const rowsDiffer = () => spmm(a, reshaped, { out: other, bColumns: [0, 1], outColumns: [1, 2] });
    expect(errorOf(rowsDiffer)).toMatchObject({ code: 'ERR_ARGUMENT' });
  });

  test('with a batch', () => {
    const out = device.zeros([2, 2, 3]);
    spmm(identity(2), counted([2, 2, 4]), { out, bColumns: [2, 4], outColumns: [1, 3] });
    expect([...out.dataSync()]).toEqual([0, 2, 3, 0, 6, 7, 0, 10, 11, 0, 14, 15]);
  });

  test('an empty range, and empty operands', () => {
    const out = counted([2, 3]);
    spmm(identity(2), counted([2, 3]), { out, bColumns: [3, 3], outColumns: [0, 0] });
    expect(spmm(identity(2), counted([2, 3]), { bColumns: [3, 3] }).shape).toEqual([2, 0]);
    const none = device.csr({ shape: [2, 0], rowPointers: [0, 0, 0], columnIndices: [] });
    spmm(none, counted([0, 8]), { out, bColumns: [5, 6], outColumns: [2, 3] });
    expect([...out.dataSync()]).toEqual([0, 1, 0, 3, 4, 0]);
  });

  test('the plan heeds where rows begin', () => {
    const a = identity(8);
    const group = (wide: number, start: number): string | undefined =>
      explainSpmm(a, counted([8, wide]), { bColumns: [start, start + 64] }).candidates[1].parameters;
    for (const parameters of [group(64, 0), group(128, 64)]) expect(parameters).toMatch(/vector 4,/);
    for (const parameters of [group(128, 62), group(67, 0)]) expect(parameters).toMatch(/vector (1|4 by 1),/);
  });

  test.each([
    [{ bColumns: [2, 1] }, 'ERR_ARGUMENT', /bColumns: expected \[start, end\] with 0 <= start <= end <= 5/],
    [{ bColumns: [0, 6] }, 'ERR_ARGUMENT', /bColumns/],
    [{ bColumns: [-1, 2] }, 'ERR_ARGUMENT', /bColumns/],
    [{ bColumns: [0.5, 2] }, 'ERR_ARGUMENT', /bColumns/],
    [{ bColumns: [0] }, 'ERR_ARGUMENT', /bColumns: expected \[start, end\]/],
    [{ bColumns: '02' }, 'ERR_ARGUMENT', /bColumns/],
    [{ outColumns: [0, 5] }, 'ERR_ARGUMENT', /outColumns: expected none without out/],
    [{ outColumns: [0, 4], wide: 8 }, 'ERR_SHAPE', /outColumns: expected 5 columns/],
    [{ outColumns: [4, 9], wide: 8 }, 'ERR_ARGUMENT', /outColumns/],
    [{ outColumns: [0, 5], wide: 8, rows: 3 }, 'ERR_SHAPE', /out: expected \[2,8\]/],
    [{ bColumns: [0, 2], wide: 5 }, 'ERR_SHAPE', /out: expected \[2,2\]/],
  ])('%o is an error', (change, code, message) => {
    const { wide, rows = 2, ...ranges } = change as { wide?: number; rows?: number };
    const out = wide === undefined ? {} : { out: device.zeros([rows, wide]) };
    const error = errorOf(() => spmm(identity(2), counted([2, 5]), { ...ranges, ...out }));
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
  });

  test('outColumns with an out of the wrong kind is an error', () => {
    const [a, b] = [identity(2), counted([2, 2])];
    const attempt = (out: unknown) =>
      errorOf(() => spmm(a, b, { out: out as Tensor<'float32'>, outColumns: [0, 2] })).code;
    expect(attempt(7)).toBe('ERR_ARGUMENT');
    expect(attempt(device.zeros([1, 2, 4]))).toBe('ERR_SHAPE');
    expect(attempt(device.zeros([2, 4], 'float16'))).toBe('ERR_DTYPE');
    const gone = device.zeros([2, 4]);
    gone.dispose();
    expect(attempt(gone)).toBe('ERR_DISPOSED');
  });
});
