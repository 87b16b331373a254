import {
  type Device,
  type DType,
  type HostData,
  openDevice,
  type Tensor,
  type TensorOptions,
} from '../lib/index.js';
import { dtypeInfo, dtypes } from '../lib/tensor/dtype.js';
import { errorOf, rejectionOf } from './harness/errors.js';

let device: Device;
let other: Device;
let handles: number;
beforeAll(async () => {
  device = await openDevice('cpu');
  other = await openDevice('cpu');
});
afterAll(() => {
  device.dispose();
  other.dispose();
});
// No test leaves memory behind.
beforeEach(() => {
  handles = device.memory().handles;
});
afterEach(() => {
  expect(device.memory().handles).toBe(handles);
});

const numbers = (length: number): number[] => Array.from({ length }, (_, i) => i);

describe('upload and read-back', () => {
  test.each(dtypes)('%s: as numbers and as stored elements', async (dtype) => {
    using tensor = device.tensor([0, 1, 2, 100], { dtype, shape: [2, 2] });
    expect([tensor.dtype, tensor.shape, tensor.size, tensor.byteLength, tensor.disposed]).toEqual([
      dtype,
      [2, 2],
      4,
      4 * dtypeInfo[dtype].bytes,
      false,
    ]);
    expect([...(await tensor.data())]).toEqual([0, 1, 2, 100]);
    expect(tensor.dataSync()).toEqual(await tensor.data());
    const raw = await tensor.rawData();
    expect(tensor.rawDataSync()).toEqual(raw);
    using again = device.tensor(raw, { dtype, shape: [2, 2], raw: true });
    expect(again.rawDataSync()).toEqual(raw);
    expect(again.dataSync()).toEqual(tensor.dataSync());
  });

  test('what data() returns is the caller’s own', () => {
    using tensor = device.tensor([1, 2]);
    tensor.dataSync()[0] = 7;
    tensor.rawDataSync()[1] = 7;
    expect([...tensor.dataSync()]).toEqual([1, 2]);
  });

  test('what was uploaded is copied', () => {
    const source = Float32Array.of(1, 2);
    using tensor = device.tensor(source);
    source.fill(9);
    expect([...tensor.dataSync()]).toEqual([1, 2]);
  });

  test.each([
    ['numbers', [1, 2, 3]],
    ['Float64Array', Float64Array.of(1, 2, 3)],
    ['Float32Array', Float32Array.of(1, 2, 3)],
    ['Int32Array', Int32Array.of(1, 2, 3)],
    ['Uint32Array', Uint32Array.of(1, 2, 3)],
    ['Int16Array', Int16Array.of(1, 2, 3)],
    ['Uint16Array', Uint16Array.of(1, 2, 3)],
    ['Int8Array', Int8Array.of(1, 2, 3)],
    ['Uint8Array', Uint8Array.of(1, 2, 3)],
    ['Uint8ClampedArray', Uint8ClampedArray.of(1, 2, 3)],
    ['Buffer', Buffer.from([1, 2, 3])],
    ['a part of a larger buffer', new Float32Array([9, 1, 2, 3, 9]).subarray(1, 4)],
  ])('takes %s for every dtype', (_, data) => {
    for (const dtype of dtypes) {
      using tensor = device.tensor(data as HostData, { dtype });
      expect([...tensor.dataSync()]).toEqual([1, 2, 3]);
    }
  });

  test('floats keep NaN, infinities and the sign of zero', () => {
    for (const dtype of ['float32', 'float16', 'bfloat16'] as const) {
      const values = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0];
      using tensor = device.tensor(values, { dtype });
      expect([...tensor.dataSync()]).toEqual(values);
    }
    using overflowing = device.tensor([1e39, 65520, -65520], { dtype: 'float16' });
    expect([...overflowing.dataSync()]).toEqual([1, 1, -1].map((sign) => sign / 0));
  });

  test.each<[DType, number, number]>([
    ['int32', -(2 ** 31), 2 ** 31 - 1],
    ['int8', -128, 127],
    ['uint8', 0, 255],
  ])('%s holds %d to %d and nothing else', (dtype, low, high) => {
    using tensor = device.tensor([low, high], { dtype });
    expect([...tensor.dataSync()]).toEqual([low, high]);
    for (const value of [
      low - 1,
      high + 1,
      0.5,
      Number.NaN,
      Number.POSITIVE_INFINITY,
      '1',
      null,
      undefined,
      true,
    ]) {
      const error = errorOf(() => device.tensor([0, value as number], { dtype }));
      expect(error.code).toBe('ERR_ARGUMENT');
      expect(error.message).toMatch(`data[1]: expected an integer from ${low} to ${high}, received`);
    }
  });

  test.each<[string, unknown, unknown, string, RegExp]>([
    ['no data', undefined, undefined, 'ERR_ARGUMENT', /data: expected an array of numbers or a typed array/],
    ['a number', 3, undefined, 'ERR_ARGUMENT', /data/],
    ['an iterator', [1, 2].values(), undefined, 'ERR_ARGUMENT', /data/],
    ['array-likes', { length: 2, 0: 1, 1: 2 }, undefined, 'ERR_ARGUMENT', /data/],
    ['an ArrayBuffer', new ArrayBuffer(8), undefined, 'ERR_ARGUMENT', /data/],
    ['a DataView', new DataView(new ArrayBuffer(8)), undefined, 'ERR_ARGUMENT', /data/],
    ['bigints', [1n], undefined, 'ERR_ARGUMENT', /data\[0\]/],
    ['a bigint array', new BigUint64Array(2), undefined, 'ERR_ARGUMENT', /data/],
    ['a hole', new Array(3), undefined, 'ERR_ARGUMENT', /data\[0\]: expected a number, received undefined/],
    ['strings', [1, '2'], { dtype: 'float16' }, 'ERR_ARGUMENT', /data\[1\]/],
    [
      'shared memory',
      new Float32Array(new SharedArrayBuffer(8)),
      undefined,
      'ERR_ARGUMENT',
      /SharedArrayBuffer/,
    ],
    [
      'another count',
      [1, 2, 3],
      { shape: [2, 2] },
      'ERR_SHAPE',
      /data: expected 4 elements for shape \[2,2\], received '3'/,
    ],
    ['a count for a scalar', [1, 2], { shape: [] }, 'ERR_SHAPE', /data: expected 1 elements/],
    ['a shape that is a number', [1, 2], { shape: 2 }, 'ERR_SHAPE', /shape/],
    ['a negative size', [], { shape: [-1] }, 'ERR_SHAPE', /shape/],
    ['minus zero', [], { shape: [-0] }, 'ERR_SHAPE', /shape/],
    ['a fractional size', [], { shape: [0.5] }, 'ERR_SHAPE', /shape/],
    ['NaN as a size', [], { shape: [Number.NaN] }, 'ERR_SHAPE', /shape/],
    ['a hole in a shape', [], { shape: new Array(1) }, 'ERR_SHAPE', /shape/],
    ['a string as a size', [1], { shape: ['1'] }, 'ERR_SHAPE', /shape/],
    ['too many dimensions', [1], { shape: new Array(17).fill(1) }, 'ERR_SHAPE', /at most 16 dimensions/],
    ['too many elements', [], { shape: [2 ** 40, 2 ** 40] }, 'ERR_LIMIT', /shape/],
    ['too many bytes', [], { shape: [2 ** 52] }, 'ERR_LIMIT', /shape/],
    [
      'an unknown dtype',
      [1],
      { dtype: 'float64' },
      'ERR_DTYPE',
      /dtype: expected one of float32, .*received 'float64'/,
    ],
    ['a dtype of the prototype', [1], { dtype: 'toString' }, 'ERR_DTYPE', /dtype/],
    ['raw: 1', [1], { raw: 1 }, 'ERR_ARGUMENT', /raw/],
    ['raw numbers', [1], { raw: true }, 'ERR_ARGUMENT', /data: expected a Float32Array/],
    [
      'raw of another type',
      new Int16Array(1),
      { raw: true, dtype: 'float16' },
      'ERR_ARGUMENT',
      /Uint16Array/,
    ],
    [
      'an unknown option',
      [1],
      { dtyp: 'int8' },
      'ERR_ARGUMENT',
      /options: unknown key 'dtyp', known keys: shape, dtype, raw/,
    ],
    ['null for options', [1], null, 'ERR_ARGUMENT', /options/],
    ['a list of options', [1], [], 'ERR_ARGUMENT', /options/],
    ['a string for options', [1], 'int8', 'ERR_ARGUMENT', /options/],
  ])('refuses %s', (_, data, options, code, message) => {
    const error = errorOf(() => device.tensor(data as HostData, options as TensorOptions));
    expect([error.name, error.code]).toEqual(['WarptileError', code]);
    expect(error.message).toMatch(message);
  });

  test('refuses a detached buffer, but not an empty one', () => {
    const gone = new Float32Array(4);
    structuredClone(gone.buffer, { transfer: [gone.buffer] });
    expect(errorOf(() => device.tensor(gone)).message).toMatch(/detached/);
    expect(errorOf(() => device.tensor(gone, { shape: [0] })).message).toMatch(/detached/);
    using empty = device.tensor(new Float32Array(0));
    expect(empty.shape).toEqual([0]);
  });

  test('takes options from own properties only', () => {
    using tensor = device.tensor([1, 2], Object.create({ shape: [7], dtype: 'int8' }));
    expect([tensor.shape, tensor.dtype]).toEqual([[2], 'float32']);
  });

  test('a shape is copied and frozen', () => {
    const shape = [1, 2];
    using tensor = device.tensor([1, 2], { shape });
    shape[0] = 9;
    expect(tensor.shape).toEqual([1, 2]);
    expect(Object.isFrozen(tensor.shape)).toBe(true);
  });

  test('a shape whose elements change while it is read is checked as it is kept', () => {
    let reads = 0;
    const shape = [0];
    Object.defineProperty(shape, 0, { enumerable: true, get: () => (reads++ === 0 ? 2 : -5) });
    using tensor = device.tensor([1, 2], { shape });
    expect(tensor.shape).toEqual([2]);
  });
});

describe('zero-sized tensors and scalars', () => {
  test.each(dtypes)('%s', async (dtype) => {
    for (const shape of [[0], [0, 5], [5, 0], [2, 0, 3]]) {
      using tensor = device.zeros(shape, dtype);
      expect([tensor.size, tensor.byteLength, tensor.dataSync().length]).toEqual([0, 0, 0]);
      using flat = tensor.reshape([0]);
      using copy = flat.clone();
      expect((await copy.data()).length).toBe(0);
    }
    using scalar = device.tensor([3], { shape: [], dtype });
    expect([scalar.size, scalar.shape.length, ...scalar.dataSync()]).toEqual([1, 0, 3]);
  });
});

describe('reshape and slice', () => {
  test('share memory, which the last handle frees', () => {
    const before = device.memory();
    const base = device.tensor(numbers(12), { shape: [3, 4] });
    const flat = base.reshape([12]);
    const row = base.slice(1, 2);
    const tail = flat.slice(5);
    const part = tail.slice(0, 2);
    tail.dispose();
    expect(device.memory().handles).toBe(before.handles + 1);
    base.dispose();
    using ones = device.tensor([-1, -2, -3, -4], { shape: [1, 4] });
    row.copyFrom(ones);
    expect([...flat.dataSync()]).toEqual([0, 1, 2, 3, -1, -2, -3, -4, 8, 9, 10, 11]);
    flat.dispose();
    expect([...part.dataSync()]).toEqual([-2, -3]);
    part.dispose();
    row.dispose();
    row.dispose();
    ones.dispose();
    expect(device.memory().used).toBe(before.used);
  });

  test('reshape infers one size', () => {
    device.tidy(() => {
      const tensor = device.zeros([4, 6]);
      expect(tensor.reshape([-1]).shape).toEqual([24]);
      expect(tensor.reshape([2, -1, 3]).shape).toEqual([2, 4, 3]);
      expect(device.zeros([0, 6]).reshape([-1, 3]).shape).toEqual([0, 3]);
      for (const shape of [
        [5],
        [5, -1],
        [-1, -1],
        [0, -1],
        [-2, 12],
        [24, 0],
        [1.5, 16],
        24,
        null,
        undefined,
        ['24'],
      ]) {
        expect(errorOf(() => tensor.reshape(shape as number[])).code).toBe('ERR_SHAPE');
      }
      expect(errorOf(() => device.zeros([0]).reshape([0, -1])).code).toBe('ERR_SHAPE');
    });
  });

  test('slice takes whole rows inside the tensor', () => {
    device.tidy(() => {
      const tensor = device.tensor(numbers(6), { shape: [3, 2], dtype: 'int8' });
      expect([...tensor.slice(1).dataSync()]).toEqual([2, 3, 4, 5]);
      expect([...tensor.slice(0, 1).dataSync()]).toEqual([0, 1]);
      expect(tensor.slice(3).shape).toEqual([0, 2]);
      expect(tensor.slice(1, 1).shape).toEqual([0, 2]);
      for (const [start, end] of [
        [-1, 2],
        [0, 4],
        [2, 1],
        [4, 4],
        [0.5, 1],
        [Number.NaN, 1],
        ['0', 1],
        [undefined, 1],
        [0, null],
      ]) {
        expect(errorOf(() => tensor.slice(start as number, end as number)).code).toBe('ERR_ARGUMENT');
      }
      expect(errorOf(() => device.tensor([1], { shape: [] }).slice(0)).code).toBe('ERR_SHAPE');
    });
  });
});

describe('copies', () => {
  test('clone has memory of its own', () => {
    using tensor = device.tensor([1, 2, 3], { dtype: 'bfloat16' });
    using row = tensor.slice(1, 2);
    using copy = row.clone();
    using seven = device.tensor([7], { dtype: 'bfloat16' });
    row.copyFrom(seven);
    expect([[...copy.dataSync()], [...tensor.dataSync()]]).toEqual([[2], [1, 7, 3]]);
  });

  test('to: the same device, another, and none', async () => {
    using tensor = device.tensor([1, 2, 3, 4], { shape: [2, 2], dtype: 'float16' });
    using row = tensor.slice(1);
    using here = await row.to(device);
    using there = await row.to(other);
    expect([here.device, there.device]).toEqual([device, other]);
    expect([there.shape, [...there.dataSync()], [...here.dataSync()]]).toEqual([
      [1, 2],
      [3, 4],
      [3, 4],
    ]);
    for (const target of [undefined, null, 'cpu', {}, [], device.backend]) {
      const error = await rejectionOf(tensor.to(target as Device));
      expect([error.code, error.message]).toEqual([
        'ERR_ARGUMENT',
        expect.stringMatching(/^device: expected a Device/),
      ]);
    }
    const closed = await openDevice('cpu');
    closed.dispose();
    expect((await rejectionOf(tensor.to(closed))).code).toBe('ERR_DISPOSED');
  });

  test('copyFrom between views that share memory, forwards, backwards and onto itself', () => {
    for (const [to, from, expected] of [
      [0, 2, [2, 3, 4, 5, 4, 5]],
      [2, 0, [0, 1, 0, 1, 2, 3]],
      [1, 1, [0, 1, 2, 3, 4, 5]],
    ] as const) {
      device.tidy(() => {
        const tensor = device.tensor(numbers(6), { dtype: 'int32' });
        tensor.slice(to, to + 4).copyFrom(tensor.slice(from, from + 4));
        expect([...tensor.dataSync()]).toEqual(expected);
      });
    }
  });

  test('copyFrom refuses what does not fit', () => {
    using tensor = device.zeros([2, 3]);
    device.tidy(() => {
      const foreign = other.zeros([2, 3]);
      for (const [source, code] of [
        [device.zeros([3, 2]), 'ERR_SHAPE'],
        [device.zeros([6]), 'ERR_SHAPE'],
        [device.zeros([2, 3], 'float16'), 'ERR_DTYPE'],
        [device.zeros([2, 3], 'int32'), 'ERR_DTYPE'],
        [foreign, 'ERR_DEVICE'],
        [[1, 2, 3, 4, 5, 6], 'ERR_ARGUMENT'],
        [undefined, 'ERR_ARGUMENT'],
        [{}, 'ERR_ARGUMENT'],
      ] as const) {
        expect(errorOf(() => tensor.copyFrom(source as Tensor<'float32'>)).code).toBe(code);
      }
      foreign.dispose();
    });
    expect([...tensor.dataSync()]).toEqual([0, 0, 0, 0, 0, 0]);
  });
});

describe('every method in every illegal state', () => {
  const methods: [string, (tensor: Tensor<'float32'>, live: Tensor<'float32'>) => unknown][] = [
    ['reshape', (tensor) => tensor.reshape([4])],
    ['slice', (tensor) => tensor.slice(0, 1)],
    ['data', (tensor) => tensor.data()],
    ['dataSync', (tensor) => tensor.dataSync()],
    ['rawData', (tensor) => tensor.rawData()],
    ['rawDataSync', (tensor) => tensor.rawDataSync()],
    ['clone', (tensor) => tensor.clone()],
    ['to, the same device', (tensor) => tensor.to(tensor.device)],
    ['to, another device', (tensor) => tensor.to(other)],
    ['copyFrom', (tensor, live) => tensor.copyFrom(live)],
    ['copyFrom, as the source', (tensor, live) => live.copyFrom(tensor)],
  ];
  const codeOf = async (body: () => unknown): Promise<string> => {
    try {
      await body();
    } catch (error) {
      return (error as { code: string }).code;
    }
    return 'none';
  };

  test.each(methods)('%s of a disposed tensor', async (_, method) => {
    using live = device.zeros([2, 2]);
    const tensor = device.zeros([2, 2]);
    tensor.dispose();
    expect(await codeOf(() => method(tensor, live))).toBe('ERR_DISPOSED');
    expect([tensor.disposed, tensor.shape, tensor.dtype, tensor.size, tensor.byteLength]).toEqual([
      true,
      [2, 2],
      'float32',
      4,
      16,
    ]);
  });

  test.each(methods)('%s of a disposed view, whose base lives', async (_, method) => {
    using base = device.tensor([1, 2, 3, 4], { shape: [2, 2] });
    using live = device.zeros([2, 2]);
    const view = base.reshape([2, 2]);
    view.dispose();
    expect(await codeOf(() => method(view, live))).toBe('ERR_DISPOSED');
    expect([...base.dataSync()]).toEqual([1, 2, 3, 4]);
  });

  test.each(methods)('%s of a tensor and a view whose device is closed', async (_, method) => {
    const closed = await openDevice('cpu');
    const base = closed.zeros([2, 2]);
    const view = base.reshape([2, 2]);
    closed.dispose();
    expect(await codeOf(() => method(base, view))).toBe('ERR_DISPOSED');
    expect(await codeOf(() => method(view, base))).toBe('ERR_DISPOSED');
    base.dispose();
    view.dispose();
    view.dispose();
    expect(base.disposed).toBe(true);
  });
});
