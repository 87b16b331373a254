import { type Device, openDevice, sddmm, sparseSoftmax, spmm } from '../lib/index.js';
import { errorOf } from './harness/errors.js';

let device: Device;
beforeAll(async () => {
  device = await openDevice('cpu');
});
afterAll(() => device.dispose());

describe('errors of spmm, sddmm and sparseSoftmax', () => {
  const parts = { shape: [2, 3] as const, rowPointers: [0, 1, 2], columnIndices: [0, 2] };
  const a = () => device.csr(parts);
  const b = (...shape: number[]) => device.zeros(shape);

  const rejected: [string, () => unknown, string, string][] = [
    ['spmm: a tensor as a', () => spmm(b(2, 3) as never, b(3, 4)), 'ERR_ARGUMENT', 'a: expected a CsrMatrix'],
    ['spmm: an array as b', () => spmm(a(), [1] as never), 'ERR_ARGUMENT', 'b: expected a Tensor'],
    [
      'spmm: rows of b',
      () => spmm(a(), b(4, 4)),
      'ERR_SHAPE',
      'b: expected [3, any] or [batch, 3, any], received [4, 4]',
    ],
    ['spmm: a vector b', () => spmm(a(), b(3)), 'ERR_SHAPE', 'b: expected'],
    [
      'spmm: dtype of b',
      () => spmm(a(), device.zeros([3, 4], 'float16') as never),
      'ERR_DTYPE',
      'b: expected',
    ],
    [
      'spmm: batches differ',
      () => spmm(device.csr({ ...parts, batch: 2 }), b(3, 3, 4)),
      'ERR_SHAPE',
      'b: expected a batch of 2',
    ],
    ['spmm: shape of out', () => spmm(a(), b(3, 4), { out: b(2, 5) }), 'ERR_SHAPE', 'out: expected [2,4]'],
    [
      'spmm: batch of out',
      () => spmm(a(), b(5, 3, 4), { out: b(2, 4) }),
      'ERR_SHAPE',
      'out: expected [5,2,4]',
    ],
    ['spmm: NaN alpha', () => spmm(a(), b(3, 4), { alpha: Number.NaN }), 'ERR_ARGUMENT', 'alpha'],
    ['spmm: alpha past float32', () => spmm(a(), b(3, 4), { alpha: 1e39 }), 'ERR_ARGUMENT', 'alpha'],
    ['spmm: beta without out', () => spmm(a(), b(3, 4), { beta: 1 }), 'ERR_ARGUMENT', 'beta'],
    [
      'spmm: unknown option',
      () => spmm(a(), b(3, 4), { gamma: 1 } as never),
      'ERR_ARGUMENT',
      "unknown key 'gamma'",
    ],
    ['sddmm: rows of a', () => sddmm(a(), b(3, 4), b(3, 4)), 'ERR_SHAPE', 'a: expected [2, any]'],
    ['sddmm: rows of b', () => sddmm(a(), b(2, 4), b(2, 4)), 'ERR_SHAPE', 'b: expected [3, 4]'],
    ['sddmm: depths differ', () => sddmm(a(), b(2, 4), b(3, 5)), 'ERR_SHAPE', 'b: expected [3, 4]'],
    [
      'sddmm: integers',
      () => sddmm(a(), device.zeros([2, 4], 'int32') as never, b(3, 4)),
      'ERR_DTYPE',
      'a: expected',
    ],
    [
      'sddmm: batches differ',
      () => sddmm(a(), b(2, 2, 4), b(3, 3, 4)),
      'ERR_SHAPE',
      'b: expected a batch of 2',
    ],
    [
      'sddmm: out over another pattern',
      () => sddmm(a(), b(2, 4), b(3, 4), { out: a() }),
      'ERR_ARGUMENT',
      'same pattern',
    ],
    [
      'sddmm: out a tensor',
      () => sddmm(a(), b(2, 4), b(3, 4), { out: b(2) as never }),
      'ERR_ARGUMENT',
      'out: expected',
    ],
    [
      'sddmm: scaleByMask of another dtype',
      () => sddmm(device.csr({ ...parts, dtype: 'float16' }), b(2, 4), b(3, 4), { scaleByMask: true }),
      'ERR_DTYPE',
      'mask',
    ],
    [
      'sddmm: scaleByMask not a boolean',
      () => sddmm(a(), b(2, 4), b(3, 4), { scaleByMask: 1 as never }),
      'ERR_ARGUMENT',
      'scaleByMask',
    ],
    ['softmax: a tensor', () => sparseSoftmax(b(2) as never), 'ERR_ARGUMENT', 'matrix: expected'],
    [
      'softmax: infinite scale',
      () => sparseSoftmax(a(), { scale: Number.POSITIVE_INFINITY }),
      'ERR_ARGUMENT',
      'scale',
    ],
    [
      'softmax: out over another pattern',
      () => sparseSoftmax(a(), { out: a() }),
      'ERR_ARGUMENT',
      'same pattern',
    ],
  ];
  test.each(rejected)('%s', (_name, body, code, message) => {
    const error = errorOf(body);
    expect(error.code).toBe(code);
    expect(error.message).toContain(message);
  });

  test('out sharing memory with an input', () => {
    const [mask, square] = [a(), device.csr({ ...parts, shape: [3, 3], rowPointers: [0, 1, 2, 2] })];
    const dense = b(3, 4);
    expect(errorOf(() => spmm(square, dense, { out: dense })).message).toContain('shares memory with b');
    const values = b(3, 2);
    const [first, second] = [values.slice(0, 2).reshape([2, 2]), values.slice(1, 3).reshape([2, 2])];
    const matrix = mask.withValues(first);
    expect(errorOf(() => sparseSoftmax(matrix, { out: mask.withValues(second) })).code).toBe('ERR_ARGUMENT');
    expect(
      errorOf(() => sddmm(matrix, b(2, 1), b(3, 1), { out: mask.withValues(second), scaleByMask: true }))
        .code,
    ).toBe('ERR_ARGUMENT');
    const [left, right] = [b(2, 1), b(3, 1)];
    expect(errorOf(() => sddmm(mask, left, right, { out: mask.withValues(left.reshape([2])) })).code).toBe(
      'ERR_ARGUMENT',
    );
  });

  test('disposed operands and other devices', async () => {
    const matrix = a();
    const dense = b(3, 4);
    matrix.dispose();
    expect(errorOf(() => spmm(matrix, dense)).code).toBe('ERR_DISPOSED');
    dense.dispose();
    expect(errorOf(() => spmm(a(), dense)).message).toContain('b: the tensor has been disposed');
    const other = await openDevice('cpu');
    expect(errorOf(() => spmm(a(), other.zeros([3, 4]))).code).toBe('ERR_DEVICE');
    other.dispose();
  });
});
