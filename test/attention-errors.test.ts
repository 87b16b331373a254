import {
  attention,
  type Device,
  type FloatDType,
  openDevice,
  sparseAttention,
  type Tensor,
} from '../lib/index.js';

let device: Device;
let other: Device;
beforeAll(async () => {
  device = await openDevice('cpu');
  other = await openDevice('cpu');
});
afterAll(() => {
  device.dispose();
  other.dispose();
});

const shape = [2, 3, 4, 5] as const;
const packedShape = [6, 4, 5] as const;

/** Calls either operation on good operands, but for what is given. */
function call(given: Record<string, unknown>, options: Record<string, unknown> = {}): () => unknown {
  const packed = 'cumulativeQ' in options || 'cumulativeK' in options;
  return () => {
    const good = (): Tensor => device.zeros(packed ? packedShape : shape);
    const { q = good(), k = good(), v = good(), mask } = given;
    const operands = [q, k, v] as [Tensor<FloatDType>, Tensor<FloatDType>, Tensor<FloatDType>];
    return mask === undefined
      ? attention(...operands, options as never)
      : sparseAttention(...operands, mask as never, options as never);
  };
}

const disposed = (): Tensor => {
  const tensor = device.zeros(shape);
  tensor.dispose();
  return tensor;
};

describe('operands', () => {
  test.each([
    ['no tensor', () => ({ q: [1] }), 'ERR_ARGUMENT', /^q: expected a Tensor/],
    ['integers', () => ({ q: device.zeros(shape, 'int32') }), 'ERR_DTYPE', /^q: .*int32/],
    ['rank', () => ({ q: device.zeros([3, 4, 5]) }), 'ERR_SHAPE', /^q: .*batch, seq, heads, headDim/],
    ['headDim 0', () => ({ q: device.zeros([2, 3, 4, 0]) }), 'ERR_SHAPE', /^q: .*1 to 256/],
    ['headDim 257', () => ({ q: device.zeros([2, 3, 4, 257]) }), 'ERR_SHAPE', /^q: .*1 to 256/],
    ['headDim', () => ({ k: device.zeros([2, 3, 4, 6]) }), 'ERR_SHAPE', /^k: .*headDim 5/],
    ['batch', () => ({ k: device.zeros([1, 3, 4, 5]) }), 'ERR_SHAPE', /^k: .*batch 2/],
    ['heads', () => ({ k: device.zeros([2, 3, 3, 5]) }), 'ERR_SHAPE', /^k: .*divides the 4/],
    ['no kv heads', () => ({ k: device.zeros([2, 3, 0, 5]) }), 'ERR_SHAPE', /^k: .*divides the 4/],
    ['rank of k', () => ({ k: device.zeros([6, 4, 5]) }), 'ERR_SHAPE', /^k: /],
    [
      'dtype of k',
      () => ({ k: device.zeros(shape, 'float16') }),
      'ERR_DTYPE',
      /^k: expected float32, .*float16/,
    ],
    ['dtype of v', () => ({ v: device.zeros(shape, 'bfloat16') }), 'ERR_DTYPE', /^v: expected float32/],
    ['v unlike k', () => ({ v: device.zeros([2, 3, 4, 4]) }), 'ERR_SHAPE', /^v: /],
    ['disposed', () => ({ k: disposed() }), 'ERR_DISPOSED', /^k: /],
    ['device of k', () => ({ k: other.zeros(shape) }), 'ERR_DEVICE', /^k: /],
    ['device of v', () => ({ v: other.zeros(shape) }), 'ERR_DEVICE', /^v: /],
    ['no matrix', () => ({ mask: 5 }), 'ERR_ARGUMENT', /^mask: /],
    [
      'mask of another shape',
      () => ({ mask: device.csr({ shape: [3, 4], rowPointers: [0, 0, 0, 0], columnIndices: [] }) }),
      'ERR_SHAPE',
      /^mask: expected \[3, 3\]/,
    ],
    [
      'mask of another device',
      () => ({ mask: other.csr({ shape: [3, 3], rowPointers: [0, 0, 0, 0], columnIndices: [] }) }),
      'ERR_DEVICE',
      /^mask: /,
    ],
    [
      'disposed mask',
      () => {
        const mask = device.csr({ shape: [3, 3], rowPointers: [0, 0, 0, 0], columnIndices: [] });
        mask.dispose();
        return { mask };
      },
      'ERR_DISPOSED',
      /^mask: /,
    ],
  ])('%s', (_name, given, code, message) => {
    expect(call(given())).toThrow(expect.objectContaining({ code, message: expect.stringMatching(message) }));
  });
});

describe('options', () => {
  test.each([
    ['unknown key', { casual: true }, 'ERR_ARGUMENT', /unknown key 'casual'/],
    ['causal', { causal: 'left' }, 'ERR_ARGUMENT', /^causal: .*'top-left'/],
    ['scale NaN', { scale: Number.NaN }, 'ERR_ARGUMENT', /^scale: /],
    ['scale Infinity', { scale: Number.POSITIVE_INFINITY }, 'ERR_ARGUMENT', /^scale: /],
    ['scale text', { scale: '1' }, 'ERR_ARGUMENT', /^scale: /],
    ['softcap 0', { softcap: 0 }, 'ERR_ARGUMENT', /^softcap: /],
    ['softcap below 0', { softcap: -1 }, 'ERR_ARGUMENT', /^softcap: /],
    ['softcap NaN', { softcap: Number.NaN }, 'ERR_ARGUMENT', /^softcap: /],
    ['softcap too small', { softcap: 1e-20, scale: 1e20 }, 'ERR_ARGUMENT', /^softcap: /],
    ['window below 0', { window: [-1, 2] }, 'ERR_ARGUMENT', /^window.left: /],
    ['window fraction', { window: { right: 1.5 } }, 'ERR_ARGUMENT', /^window.right: /],
    ['window of three', { window: [1, 2, 3] }, 'ERR_ARGUMENT', /^window: /],
    ['window key', { window: { lft: 1 } }, 'ERR_ARGUMENT', /^window: unknown key 'lft'/],
    ['window number', { window: 3 }, 'ERR_ARGUMENT', /^window: /],
    ['logSumExp', { logSumExp: 1 }, 'ERR_ARGUMENT', /^logSumExp: /],
    ['cumulativeQ alone', { cumulativeQ: [0, 6] }, 'ERR_ARGUMENT', /^cumulativeK: /],
    ['cumulativeK alone', { cumulativeK: [0, 6] }, 'ERR_ARGUMENT', /^cumulativeQ: /],
    ['no entries', { cumulativeQ: [], cumulativeK: [0, 6] }, 'ERR_INDEX', /^cumulativeQ: /],
    [
      'first entry',
      { cumulativeQ: [1, 6], cumulativeK: [0, 6] },
      'ERR_INDEX',
      /^cumulativeQ\[0\]: expected 0/,
    ],
    ['falling', { cumulativeQ: [0, 6], cumulativeK: [0, 7, 6] }, 'ERR_INDEX', /^cumulativeK\[2\]: .*7/],
    ['fraction', { cumulativeQ: [0, 1.5, 6], cumulativeK: [0, 6] }, 'ERR_ARGUMENT', /^cumulativeQ\[1\]: /],
    ['NaN', { cumulativeQ: [0, Number.NaN], cumulativeK: [0, 6] }, 'ERR_ARGUMENT', /^cumulativeQ\[1\]: /],
    ['past 2^31', { cumulativeQ: [0, 2 ** 31], cumulativeK: [0, 6] }, 'ERR_LIMIT', /^cumulativeQ\[1\]: /],
    ['too few tokens', { cumulativeQ: [0, 5], cumulativeK: [0, 6] }, 'ERR_SHAPE', /^cumulativeQ: .*6/],
    ['too many tokens', { cumulativeQ: [0, 6], cumulativeK: [0, 7] }, 'ERR_SHAPE', /^cumulativeK: .*6/],
    [
      'another batch',
      { cumulativeQ: [0, 3, 6], cumulativeK: [0, 6] },
      'ERR_SHAPE',
      /^cumulativeK: .*2 sequences/,
    ],
  ])('%s', (_name, options, code, message) => {
    expect(call({}, options)).toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(message) }),
    );
  });

  test('packed operands have no batch dimension', () => {
    const options = { cumulativeQ: [0, 6], cumulativeK: [0, 6] };
    expect(call({ q: device.zeros(shape) }, options)).toThrow(
      expect.objectContaining({ code: 'ERR_SHAPE', message: expect.stringMatching(/^q: .*tokens, heads/) }),
    );
  });

  test('lengths of another device, or disposed', () => {
    const cumulativeK = device.cumulativeLengths([0, 6]);
    expect(call({}, { cumulativeQ: other.cumulativeLengths([0, 6]), cumulativeK })).toThrow(
      expect.objectContaining({ code: 'ERR_DEVICE', message: expect.stringMatching(/^cumulativeQ: /) }),
    );
    const cumulativeQ = device.cumulativeLengths([0, 6]);
    cumulativeQ.dispose();
    expect(call({}, { cumulativeQ, cumulativeK })).toThrow(
      expect.objectContaining({ code: 'ERR_DISPOSED', message: expect.stringMatching(/^cumulativeQ: /) }),
    );
    expect(call({}, { cumulativeQ: 5, cumulativeK })).toThrow(
      expect.objectContaining({ code: 'ERR_ARGUMENT', message: expect.stringMatching(/^cumulativeQ: /) }),
    );
  });
});

describe('outputs', () => {
  const operands = (): Tensor<FloatDType>[] => [
    device.zeros(shape),
    device.zeros(shape),
    device.zeros(shape),
  ];

  test.each([
    ['shape of out', () => ({ out: device.zeros([2, 3, 4, 6]) }), 'ERR_SHAPE', /^out: /],
    ['dtype of out', () => ({ out: device.zeros(shape, 'float16') }), 'ERR_DTYPE', /^out: /],
    ['device of out', () => ({ out: other.zeros(shape) }), 'ERR_DEVICE', /^out: /],
    ['disposed out', () => ({ out: disposed() }), 'ERR_DISPOSED', /^out: /],
    [
      'shape of logSumExp',
      () => ({ logSumExp: device.zeros([2, 3, 4]) }),
      'ERR_SHAPE',
      /^logSumExp: .*2,4,3/,
    ],
    [
      'dtype of logSumExp',
      () => ({ logSumExp: device.zeros([2, 4, 3], 'float16') }),
      'ERR_DTYPE',
      /^logSumExp: /,
    ],
  ])('%s', (_name, options, code, message) => {
    expect(call({}, options())).toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(message) }),
    );
  });

  test('memory shared with an operand or between outputs', () => {
    const [q, k, v] = operands();
    const shared = (code: RegExp) =>
      expect.objectContaining({ code: 'ERR_ARGUMENT', message: expect.stringMatching(code) });
    expect(() => attention(q, k, v, { out: q })).toThrow(shared(/^out: shares memory with q/));
    expect(() => attention(q, k, v, { out: v })).toThrow(shared(/^out: shares memory with v/));
    const sums = k.reshape([-1]).slice(0, 24).reshape([2, 4, 3]) as Tensor<'float32'>;
    expect(() => attention(q, k, v, { logSumExp: sums })).toThrow(shared(/^logSumExp: shares memory with k/));
    const out = device.zeros(shape);
    const inside = out.reshape([-1]).slice(96, 120).reshape([2, 4, 3]);
    expect(() => attention(q, k, v, { out, logSumExp: inside })).toThrow(
      shared(/^out: shares memory with logSumExp/),
    );
  });

  test('a failed allocation leaves nothing behind', async () => {
    const small = await openDevice('cpu', { memoryLimit: 4 * 480 + 10 });
    const [q, k, v] = [small.zeros(shape), small.zeros(shape), small.zeros(shape)];
    const { used } = small.memory();
    expect(() => attention(q, k, v, { logSumExp: true })).toThrow(
      expect.objectContaining({ code: 'ERR_OUT_OF_MEMORY' }),
    );
    expect(small.memory().used).toBe(used);
    expect(attention(q, k, v).shape).toEqual(shape);
    small.dispose();
  });
});
