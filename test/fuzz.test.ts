import fc from 'fast-check';
import * as warptile from '../lib/index.js';
import { type Device, openDevice, type Tensor, WarptileError } from '../lib/index.js';
import { dtypes } from '../lib/tensor/dtype.js';
import { Random } from './harness/random.js';

const anything = fc.oneof(
  fc.anything({
    withBigInt: true,
    withDate: true,
    withMap: true,
    withSet: true,
    withNullPrototype: true,
    withSparseArray: true,
    withTypedArray: true,
  }),
  // Close to what is right, and wrong.
  fc.array(fc.oneof(fc.integer({ min: -2, max: 5 }), fc.double(), fc.constant(undefined)), { maxLength: 4 }),
  fc.record(
    {
      shape: fc.oneof(fc.anything(), fc.array(fc.integer({ min: -1, max: 4 }), { maxLength: 3 })),
      dtype: fc.oneof(fc.anything(), fc.constantFrom(...dtypes)),
      groupSize: fc.oneof(fc.anything(), fc.integer({ min: -2, max: 9 })),
      splitK: fc.anything(),
      bias: fc.anything(),
      out: fc.anything(),
    },
    { requiredKeys: [] },
  ),
  fc.constantFrom(Symbol('s'), () => 0, new Proxy([], {}), new Float32Array(new SharedArrayBuffer(8))),
);

/** Nothing but a WarptileError may come out, whatever goes in. */
async function onlyWarptileErrors(body: () => unknown): Promise<void> {
  try {
    await body();
  } catch (error) {
    if (!(error instanceof WarptileError)) throw error;
    expect(error.message).not.toBe('');
  }
}

describe('arguments of any kind', () => {
  let device: Device;
  let tensor: Tensor<'float16'>;
  let matrix: warptile.QuantizedMatrix;
  beforeAll(async () => {
    device = await openDevice('cpu', { memoryLimit: 1 << 20 });
    tensor = device.zeros([2, 3], 'float16');
    matrix = device.quantize([1, 2, 3], { shape: [1, 3] });
  });
  afterAll(() => device.dispose());

  type Call = (...args: unknown[]) => unknown;
  const deviceMethods = [
    'tensor',
    'empty',
    'zeros',
    'csr',
    'blockSparse',
    'kronecker',
    'quantize',
    'quantizedFromGptq',
    'quantizedFromAwq',
    'quantizedFromCompressedTensors',
    'tidy',
    'capture',
    'time',
  ] as const;
  const tensorMethods = ['reshape', 'slice', 'to', 'copyFrom'] as const;
  const targets: [string, () => Call][] = [
    ...deviceMethods.map((name): [string, () => Call] => [
      `device.${name}`,
      () => (device[name] as unknown as Call).bind(device),
    ]),
    ...tensorMethods.map((name): [string, () => Call] => [
      `tensor.${name}`,
      () => (tensor[name] as unknown as Call).bind(tensor),
    ]),
    ['openDevice', () => openDevice as unknown as Call],
    ['w4a16Matmul', () => warptile.w4a16Matmul as unknown as Call],
    ['w4a16Matmul options', () => (options) => warptile.w4a16Matmul(tensor, matrix, options as object)],
    ['matrix.toDense', () => (dtype) => matrix.toDense(dtype as 'float32')],
    ['matrix.to', () => (other) => matrix.to(other as Device)],
    ['quantize options', () => (options) => device.quantize([1, 2, 3, 4], options as never)],
    ['tensor options', () => (options) => device.tensor([1, 2], options as object)],
  ];

  test.each(targets)('%s throws WarptileErrors and leaks nothing', async (_, target) => {
    await fc.assert(
      fc.asyncProperty(fc.array(anything, { maxLength: 3 }), async (args) => {
        const { handles } = device.memory();
        const made: unknown[] = [];
        await onlyWarptileErrors(async () => made.push(await target()(...args)));
        for (const item of made) {
          if (typeof item === 'object' && item !== null && Symbol.dispose in item)
            (item as Disposable)[Symbol.dispose]();
        }
        expect(device.memory().handles).toBe(handles);
        expect(tensor.dataSync().length).toBe(6);
      }),
      { numRuns: 150, seed: 5 },
    );
  });
});

/** What a tensor must hold: a window of numbers that its views share. */
interface Model {
  readonly tensor: Tensor<'int32'>;
  readonly memory: Int32Array;
  readonly start: number;
  readonly shape: readonly number[];
}

describe('programs of tensor operations', () => {
  /** Runs `steps` random operations on tensors and on plain arrays side by side. */
  function runProgram(device: Device, random: Random, steps: number): void {
    const live: Model[] = [];
    const size = (shape: readonly number[]): number => shape.reduce((product, n) => product * n, 1);
    const window = ({ memory, start, shape }: Model): Int32Array =>
      memory.subarray(start, start + size(shape));
    const remove = (index: number): Model => live.splice(index, 1)[0];
    const add = (tensor: Tensor<'int32'>, memory: Int32Array, start: number): void => {
      live.push({ tensor, memory, start, shape: [...tensor.shape] });
    };
    const actions: ((model: Model | undefined) => void)[] = [
      () => {
        const shape = Array.from({ length: random.integer(0, 3) }, () => random.integer(0, 4));
        const memory = Int32Array.from({ length: size(shape) }, () => random.integer(-99, 99));
        add(device.tensor(memory, { shape, dtype: 'int32' }), memory.slice(), 0);
      },
      (model) => {
        if (!model || model.shape.length === 0) return;
        const [start, end] = [random.integer(0, model.shape[0]), random.integer(0, model.shape[0])].sort(
          (a, b) => a - b,
        );
        add(model.tensor.slice(start, end), model.memory, model.start + start * size(model.shape.slice(1)));
      },
      (model) => {
        if (!model) return;
        const shape = random.pick([
          [-1],
          [...model.shape, 1],
          [1, ...model.shape],
          [...model.shape].reverse(),
        ]);
        if (shape[0] === -1 || size(shape) === size(model.shape)) {
          add(model.tensor.reshape(shape), model.memory, model.start);
        }
      },
      (model) => {
        if (model) add(model.tensor.clone(), window(model).slice(), 0);
      },
      (model) => {
        if (!model) return;
        const sources = live.filter(
          (item) => String(item.shape) === String(model.shape) && item.shape.length === model.shape.length,
        );
        const source = random.pick(sources);
        model.tensor.copyFrom(source.tensor);
        window(model).set(window(source).slice());
      },
      (model) => {
        if (model) remove(live.indexOf(model)).tensor.dispose();
      },
      (model) => {
        if (!model) return;
        const kept = device.tidy(() => {
          device.zeros([3]);
          const copy = model.tensor.clone();
          copy.reshape([-1]);
          return { copy };
        });
        add(kept.copy, window(model).slice(), 0);
      },
      (model) => {
        if (!model) return;
        const before = model.tensor.dataSync();
        const graph = device.capture(() =>
          model.tensor.copyFrom(random.pick(live.filter((item) => item === model)).tensor),
        );
        graph.replay();
        graph.dispose();
        expect(model.tensor.dataSync()).toEqual(before);
      },
    ];
    for (let step = 0; step < steps; ++step) {
      random.pick(actions)(live.length > 0 ? random.pick(live) : undefined);
      for (const model of live) expect(model.tensor.dataSync()).toEqual(window(model));
      expect(device.memory().handles).toBe(new Set(live.map((model) => model.memory)).size);
    }
    for (const { tensor } of live) tensor.dispose();
    expect(device.memory()).toMatchObject({ used: 0, handles: 0 });
  }

  test.each(Array.from({ length: 40 }, (_, seed) => seed))('seed %d', async (seed) => {
    using device = await openDevice('cpu');
    runProgram(device, new Random(`program ${seed}`), 60);
  });
});
