import { type Device, openDevice, type QuantizedMatrix, type Tensor, w4a16Matmul } from '../lib/index.js';
import type { FloatDType } from '../lib/tensor/dtype.js';
import { w4a16Cases } from './cases/w4a16.js';
import { errorOf } from './harness/errors.js';
import { Random } from './harness/random.js';

let device: Device;
beforeAll(async () => {
  device = await openDevice('cpu');
});
afterAll(() => device.dispose());

describe('QuantizedMatrix', () => {
  const make = (on: Device = device): QuantizedMatrix =>
    on.quantize([1, 2, 3, 4, 5, 6], { shape: [2, 3], groupSize: 2 });

  test('is disposed once, with all its memory', async () => {
    const before = device.memory();
    const w = make();
    expect(device.memory().handles).toBe(before.handles + 3);
    expect(w.disposed).toBe(false);
    w.dispose();
    w.dispose();
    expect(w.disposed).toBe(true);
    expect(device.memory().used).toBe(before.used);
    for (const body of [() => w.dequantizeSync(), () => w.checkUsable('w')]) {
      expect(errorOf(body).code).toBe('ERR_DISPOSED');
    }
    await expect(w.dequantize()).rejects.toMatchObject({ code: 'ERR_DISPOSED' });
    await expect(w.toDense()).rejects.toMatchObject({ code: 'ERR_DISPOSED' });
    await expect(w.to(device)).rejects.toMatchObject({ code: 'ERR_DISPOSED' });
    using x = device.zeros([1, 3], 'float16');
    expect(errorOf(() => w4a16Matmul(x, w)).code).toBe('ERR_DISPOSED');
  });

  test('tidy keeps what it returns', () => {
    let dropped: QuantizedMatrix | undefined;
    const kept = device.tidy(() => {
      dropped = make();
      return { layer: make() };
    });
    expect(dropped?.disposed).toBe(true);
    expect(kept.layer.disposed).toBe(false);
    kept.layer.dispose();
  });

  test('copies to another device', async () => {
    using other = await openDevice('cpu');
    using w = device.quantizedFromGptq({
      qweight: new Int32Array(2).fill(0x76543210),
      scales: [1, 2, 3, 4],
      gIdx: [0, 1, 0, 0, 1, 1, 0, 1],
      shape: [2, 8],
      groupSize: 4,
    });
    using copy = await w.to(other);
    expect(copy.device).toBe(other);
    expect(copy.actOrder).toBe(true);
    expect(copy.dequantizeSync()).toEqual(w.dequantizeSync());
    using x = device.zeros([1, 8], 'float16');
    expect(errorOf(() => w4a16Matmul(x, copy)).code).toBe('ERR_DEVICE');
  });

  test('is unusable once its device is gone', async () => {
    const other = await openDevice('cpu');
    const w = make(other);
    other.dispose();
    expect(errorOf(() => w.dequantizeSync()).code).toBe('ERR_DISPOSED');
    expect(errorOf(() => make(other)).code).toBe('ERR_DISPOSED');
    w.dispose();
  });

  test('cannot be made while a graph is recorded, and leaves nothing behind', () => {
    const before = device.memory().handles;
    expect(errorOf(() => device.capture(() => make())).code).toBe('ERR_UNSUPPORTED');
    expect(device.memory().handles).toBe(before);
  });
});

describe('w4a16Matmul', () => {
  test('there are several hundred cases, with names of their own', () => {
    expect(w4a16Cases.length).toBeGreaterThan(300);
    expect(new Set(w4a16Cases.map((item) => item.name)).size).toBe(w4a16Cases.length);
    expect(w4a16Cases.filter((item) => item.reduced).length).toBeGreaterThanOrEqual(20);
  });

  test('is linear in x, and splits change nothing on the CPU', () => {
    const random = new Random('linear');
    const [m, n, k] = [3, 10, 50];
    const draw = () => Float32Array.from({ length: m * k }, () => random.integer(-20, 20));
    const [a, b] = [draw(), draw()];
    using w = device.quantize(
      Float32Array.from({ length: n * k }, () => random.normal()),
      {
        shape: [n, k],
        groupSize: 32,
        symmetric: false,
        dtype: 'float32',
      },
    );
    const apply = (x: Float32Array, splitK?: number): Float32Array => {
      using xTensor = device.tensor(x, { shape: [m, k] });
      using y = w4a16Matmul(xTensor, w, splitK === undefined ? {} : { splitK }) as Tensor<'float32'>;
      return y.dataSync();
    };
    const [ya, yb, sum] = [apply(a), apply(b), apply(a.map((value, i) => value + b[i]))];
    sum.forEach((value, i) => {
      expect(value).toBeCloseTo(ya[i] + yb[i], 3);
    });
    expect(apply(a, 7)).toEqual(ya);
  });

  test('equals the product with the dense matrix, row by row', () => {
    using w = device.quantize([1, -2, 3, 4, 5, -6], { shape: [2, 3], groupSize: -1, dtype: 'float32' });
    const dense = w.dequantizeSync();
    using identity = device.tensor([1, 0, 0, 0, 1, 0, 0, 0, 1], { shape: [3, 3] });
    using y = w4a16Matmul(identity, w) as Tensor<'float32'>;
    expect([...y.dataSync()]).toEqual([dense[0], dense[3], dense[1], dense[4], dense[2], dense[5]]);
  });

  test('writes into out, adds the bias, keeps leading dimensions', () => {
    using w = device.quantize(new Float32Array(15), { shape: [5, 3] });
    using x = device.zeros([2, 4, 3], 'float16');
    using bias = device.tensor([1, 2, 3, 4, 5], { dtype: 'float16' });
    using out = device.empty([2, 4, 5], 'float16');
    expect(w4a16Matmul(x, w, { out, bias })).toBe(out);
    expect([...out.dataSync()]).toEqual(Array.from({ length: 40 }, (_, i) => (i % 5) + 1));
  });

  test('can be recorded and replayed', () => {
    using w = device.quantize([1, 1, 1, 1], { shape: [2, 2], symmetric: false, dtype: 'float32' });
    using x = device.zeros([1, 2]);
    using out = device.zeros([1, 2]);
    using graph = device.capture(() => w4a16Matmul(x, w, { out }));
    using ones = device.tensor([1, 2], { shape: [1, 2] });
    x.copyFrom(ones);
    expect([...out.dataSync()]).toEqual([0, 0]);
    graph.replay();
    for (const value of out.dataSync()) expect(value).toBeCloseTo(3, 5);
  });

  describe('refuses', () => {
    let w: QuantizedMatrix;
    let x: Tensor;
    beforeAll(() => {
      w = device.quantize(new Float32Array(6), { shape: [2, 3] });
      x = device.zeros([4, 3], 'float16');
    });
    afterAll(() => {
      w.dispose();
      x.dispose();
    });
    const tensor = (shape: readonly number[], dtype: FloatDType = 'float16') => device.zeros(shape, dtype);
    const rows: [string, () => unknown, string, RegExp][] = [
      ['numbers for x', () => w4a16Matmul([1, 2, 3] as never, w), 'ERR_ARGUMENT', /x: expected a Tensor/],
      ['a tensor for w', () => w4a16Matmul(x, x as never), 'ERR_ARGUMENT', /w: expected a QuantizedMatrix/],
      ['a scalar x', () => w4a16Matmul(tensor([]), w), 'ERR_SHAPE', /x: expected \[\.\.\., 3\]/],
      [
        'another k',
        () => w4a16Matmul(tensor([3, 4]), w),
        'ERR_SHAPE',
        /x: expected \[\.\.\., 3\], received \[3, 4\]/,
      ],
      ['another dtype', () => w4a16Matmul(tensor([4, 3], 'bfloat16'), w), 'ERR_DTYPE', /x: expected float16/],
      ['an integer dtype', () => w4a16Matmul(device.zeros([4, 3], 'int32'), w), 'ERR_DTYPE', /x/],
      ['a bias of another length', () => w4a16Matmul(x, w, { bias: tensor([3]) }), 'ERR_SHAPE', /bias/],
      ['a bias of another rank', () => w4a16Matmul(x, w, { bias: tensor([1, 2]) }), 'ERR_SHAPE', /bias/],
      [
        'a bias of another dtype',
        () => w4a16Matmul(x, w, { bias: tensor([2], 'float32') }),
        'ERR_DTYPE',
        /bias/,
      ],
      ['a null bias', () => w4a16Matmul(x, w, { bias: null as never }), 'ERR_ARGUMENT', /bias/],
      [
        'an out of another shape',
        () => w4a16Matmul(x, w, { out: tensor([2, 4]) }),
        'ERR_SHAPE',
        /out: expected \[4,2\]/,
      ],
      [
        'an out of another dtype',
        () => w4a16Matmul(x, w, { out: tensor([4, 2], 'float32') }),
        'ERR_DTYPE',
        /out/,
      ],
      [
        'splitK 0',
        () => w4a16Matmul(x, w, { splitK: 0 }),
        'ERR_ARGUMENT',
        /splitK: expected an integer from 1 to 64/,
      ],
      ['splitK 65', () => w4a16Matmul(x, w, { splitK: 65 }), 'ERR_ARGUMENT', /splitK/],
      ['splitK NaN', () => w4a16Matmul(x, w, { splitK: Number.NaN }), 'ERR_ARGUMENT', /splitK/],
      [
        'an unknown key',
        () => w4a16Matmul(x, w, { splitk: 2 } as never),
        'ERR_ARGUMENT',
        /unknown key 'splitk'/,
      ],
      ['options that are none', () => w4a16Matmul(x, w, 3 as never), 'ERR_ARGUMENT', /options/],
      [
        'out over x',
        () => w4a16Matmul(tensor([4, 3]), w, { out: x.slice(0, 2).reshape([3, 2]) as never }),
        'ERR_SHAPE',
        /out/,
      ],
    ];
    test.each(rows)('%s', (_, body, code, message) => {
      device.tidy(() => {
        const error = errorOf(body);
        expect(error.code).toBe(code);
        expect(error.message).toMatch(message);
      });
    });

    test('an out that shares memory with x or the bias', () => {
      device.tidy(() => {
        const memory = device.zeros([20], 'float16');
        const [xView, out, bias] = [
          memory.slice(0, 12).reshape([4, 3]),
          memory.slice(11, 19).reshape([4, 2]),
          memory.slice(18, 20),
        ];
        expect(errorOf(() => w4a16Matmul(xView, w, { out })).message).toMatch(/out: shares memory with x/);
        expect(errorOf(() => w4a16Matmul(x, w, { out, bias })).message).toMatch(
          /out: shares memory with bias/,
        );
      });
    });

    test('operands of another device, and disposed ones', async () => {
      using other = await openDevice('cpu');
      using foreign = other.zeros([4, 3], 'float16');
      using foreignBias = other.zeros([2], 'float16');
      using foreignOut = other.zeros([4, 2], 'float16');
      expect(errorOf(() => w4a16Matmul(foreign, w)).code).toBe('ERR_DEVICE');
      expect(errorOf(() => w4a16Matmul(x, w, { bias: foreignBias })).code).toBe('ERR_DEVICE');
      expect(errorOf(() => w4a16Matmul(x, w, { out: foreignOut })).code).toBe('ERR_DEVICE');
      const gone = device.zeros([4, 3], 'float16');
      gone.dispose();
      expect(errorOf(() => w4a16Matmul(gone, w)).code).toBe('ERR_DISPOSED');
      expect(errorOf(() => w4a16Matmul(x, w, { bias: gone })).code).toBe('ERR_DISPOSED');
      expect(errorOf(() => w4a16Matmul(x, w, { out: gone })).code).toBe('ERR_DISPOSED');
    });

    test('a result that does not fit, and keeps what was there', async () => {
      using small = await openDevice('cpu', { memoryLimit: 120 });
      using matrix = small.quantize([1, 2], { shape: [1, 2] });
      using input = small.zeros([20, 2], 'float16');
      const { handles } = small.memory();
      expect(errorOf(() => w4a16Matmul(input, matrix)).code).toBe('ERR_OUT_OF_MEMORY');
      expect(small.memory().handles).toBe(handles);
      using rows = input.slice(0, 8);
      using y = w4a16Matmul(rows, matrix);
      expect(y.shape).toEqual([8, 1]);
    });
  });
});
