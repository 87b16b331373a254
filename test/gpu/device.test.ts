import { type Device, type DType, openDevice, type Tensor } from '../../lib/index.js';
import { Random } from '../harness/random.js';
import { cudaBackend, percentile, sleep, spin, timerDelays } from './support.js';

describe('a CUDA device', () => {
  let device: Device;
  beforeEach(async () => {
    device = await openDevice('cuda:0');
  });
  afterEach(() => device.dispose());

  const ones = (size: number): Tensor<'float32'> => device.tensor(new Float32Array(size).fill(1));

  test('says what it is', () => {
    expect(device.info).toMatchObject({ kind: 'cuda', id: 'cuda:0', name: expect.stringMatching(/./) });
    expect(device.info.computeCapability?.[0]).toBeGreaterThanOrEqual(8);
    expect(device.info.multiprocessors).toBeGreaterThan(0);
    expect(device.info.totalMemoryBytes).toBeGreaterThan(2 ** 30);
    expect(device.fallbackReasons).toEqual([]);
  });

  describe('the event loop', () => {
    test('runs while a long kernel runs', async () => {
      spin(device, 1500);
      const delays = await timerDelays(1, device.synchronize());
      expect(delays.length).toBeGreaterThan(200);
      expect(percentile(delays, 0.99)).toBeLessThan(5);
    });

    test('runs while read-backs and timings wait', async () => {
      const tensor = ones(1 << 20);
      const work = Promise.all([
        device.time(() => spin(device, 700)),
        ...Array.from({ length: 8 }, () => tensor.rawData()),
        device.synchronize(),
      ]);
      const delays = await timerDelays(1, work);
      expect(delays.length).toBeGreaterThan(100);
      expect(percentile(delays, 0.99)).toBeLessThan(5);
      expect((await work)[0]).toBeGreaterThan(690);
    });

    test('goes on while calls enqueue', async () => {
      // Uploads and fills behind a long kernel return before it ends. The first of each may load code, which waits.
      const tensor = ones(1024);
      device.backend.fill(tensor.view.buffer, 0, tensor.byteLength, 0);
      await device.synchronize();
      spin(device, 1000);
      const start = performance.now();
      for (let i = 0; i < 10; ++i) ones(1024);
      for (let i = 0; i < 100; ++i) device.backend.fill(tensor.view.buffer, 0, tensor.byteLength, i);
      expect(performance.now() - start).toBeLessThan(500);
      await device.synchronize();
      expect(performance.now() - start).toBeGreaterThan(900);
    });
  });

  describe('memory', () => {
    test('is counted', () => {
      const before = device.memory();
      const a = device.empty([1000], 'float32');
      const b = device.empty([10], 'float16');
      expect(device.memory().used - before.used).toBe(4020);
      expect(device.memory().handles - before.handles).toBe(2);
      const view = a.slice(0, 10);
      a.dispose();
      expect(device.memory().used - before.used).toBe(4020);
      view.dispose();
      b.dispose();
      const after = device.memory();
      expect(after.used).toBe(before.used);
      expect(after.handles).toBe(before.handles);
      expect(after.peak).toBe(before.peak + 4020);
      expect(after.reserved).toBeGreaterThanOrEqual(after.used);
    });

    test('of many sizes never overlaps and is used again', async () => {
      const held: { tensor: Tensor; mark: number }[] = [];
      const drop = async (at: number): Promise<void> => {
        const [{ tensor, mark }] = held.splice(at, 1);
        const ends = [tensor.slice(0, 1), tensor.slice(tensor.size - 1)];
        for (const end of ends) expect([...(await end.data())]).toEqual([mark]);
        for (const each of [...ends, tensor]) each.dispose();
      };
      const round = async (): Promise<number> => {
        const random = new Random('memory');
        for (let i = 0; i < 400; ++i) {
          const size = Math.ceil(2 ** (25 * random.unit()));
          const tensor = device.empty([size], 'uint8');
          const mark = random.integer(1, 255);
          device.backend.fill(tensor.view.buffer, 0, size, mark);
          held.push({ tensor, mark });
          if (held.length > 60) await drop(random.integer(0, held.length - 1));
        }
        while (held.length > 0) await drop(held.length - 1);
        return device.memory().reserved;
      };
      const first = await round();
      for (let i = 0; i < 3; ++i) expect(await round()).toBe(first);
    });

    test('too large a request fails alone', async () => {
      const kept = ones(1000);
      expect(() => device.empty([2 ** 42], 'float32')).toThrow(
        expect.objectContaining({ code: 'ERR_OUT_OF_MEMORY' }),
      );
      expect([...(await kept.data())].every((value) => value === 1)).toBe(true);
      expect((await ones(1000).clone().data())[999]).toBe(1);
    });

    test('running out leaves everything usable', async () => {
      const kept = ones(1000);
      const blocks: Tensor[] = [];
      const block = Math.floor(device.info.totalMemoryBytes / 8);
      const fill = (): void => {
        for (;;) blocks.push(device.empty([block], 'uint8'));
      };
      expect(fill).toThrow(expect.objectContaining({ code: 'ERR_OUT_OF_MEMORY' }));
      expect(blocks.length).toBeGreaterThan(0);
      // The blocks are real memory, to the last byte.
      for (const held of blocks) device.backend.fill(held.view.buffer, block - 1024, 1024, 7);
      const last = blocks.at(-1)?.slice(block - 1024) as Tensor;
      expect((await last.data()).every((value) => value === 7)).toBe(true);
      last.dispose();
      for (const held of blocks) held.dispose();
      // The pool gives its memory back where another size needs it.
      device.empty([Math.floor(block * 1.1)], 'uint8').dispose();
      expect((await kept.data()).every((value) => value === 1)).toBe(true);
    });

    test('a limit holds and is not spent by failures', async () => {
      const small = await openDevice('cuda:0', { memoryLimit: 1 << 20 });
      const tooMuch = (): Tensor => small.empty([(1 << 20) + 1], 'uint8');
      expect(tooMuch).toThrow(expect.objectContaining({ code: 'ERR_OUT_OF_MEMORY' }));
      const all = small.empty([1 << 20], 'uint8');
      expect(() => small.empty([1], 'uint8')).toThrow(expect.objectContaining({ code: 'ERR_OUT_OF_MEMORY' }));
      all.dispose();
      small.empty([1 << 20], 'uint8').dispose();
      small.dispose();
    });

    test('freed while work is pending stays until that work is done', async () => {
      const size = 1 << 20;
      const source = ones(size);
      const target = device.zeros([size]);
      spin(device, 200);
      target.copyFrom(source);
      source.dispose();
      // Takes the memory of `source`, later in the stream.
      const other = device.tensor(new Float32Array(size).fill(9));
      expect((await target.data()).every((value) => value === 1)).toBe(true);
      expect((await other.data()).every((value) => value === 9)).toBe(true);
    });

    test('an upload is a copy: the source may change at once', async () => {
      const source = new Float32Array(1 << 22).fill(3);
      spin(device, 100);
      const tensor = device.tensor(source);
      source.fill(4);
      structuredClone(source.buffer, { transfer: [source.buffer] });
      expect((await tensor.data()).every((value) => value === 3)).toBe(true);
    });

    test('large tensors go up and come back in pieces', async () => {
      // Past two staging pieces of 64 MiB, with a tail.
      const source = new Uint32Array((160 << 18) + 3).map((_, index) => Math.imul(index, 2654435761));
      const tensor = device.tensor(new Int32Array(source.buffer), { dtype: 'int32' });
      expect(Buffer.from((await tensor.data()).buffer).equals(Buffer.from(source.buffer))).toBe(true);
      expect(Buffer.from(tensor.dataSync().buffer).equals(Buffer.from(source.buffer))).toBe(true);
    });
  });

  test.each<DType>(['float32', 'float16', 'bfloat16', 'int32', 'int8', 'uint8'])(
    '%s goes to the CPU and back',
    async (dtype) => {
      const cpu = await openDevice('cpu');
      const values = [0, 1, 2, 3, 100, 127];
      const there = device.tensor(values, { shape: [2, 3], dtype });
      const here = await there.to(cpu);
      const back = await here.to(device);
      expect([...(await here.data())]).toEqual(values);
      expect(back.shape).toEqual([2, 3]);
      expect(await back.rawData()).toEqual(await there.rawData());
    },
  );

  describe('graphs', () => {
    test('replay what was recorded, on memory that they keep', async () => {
      const a = ones(1000);
      const out = device.zeros([1000]);
      const graph = device.capture(() => out.copyFrom(a));
      expect((await out.data())[0]).toBe(0);
      a.dispose();
      const other = device.tensor(new Float32Array(1000).fill(5));
      graph.replay();
      expect((await out.data()).every((value) => value === 1)).toBe(true);
      expect((await other.data()).every((value) => value === 5)).toBe(true);
      graph.dispose();
      expect(() => graph.replay()).toThrow(expect.objectContaining({ code: 'ERR_DISPOSED' }));
    });

    test('hold what was allocated while recording', async () => {
      const a = ones(1000);
      const graph = device.capture(() => device.tidy(() => a.clone().clone()));
      const result = graph.result;
      // Takes freed memory, if any were freed that the graph uses.
      const others = Array.from({ length: 8 }, () => device.tensor(new Float32Array(1000).fill(5)));
      for (let i = 0; i < 3; ++i) graph.replay();
      expect((await result.data()).every((value) => value === 1)).toBe(true);
      for (const other of others) expect((await other.data()).every((value) => value === 5)).toBe(true);
      graph.dispose();
    });

    test('disposed with replays pending finish them', async () => {
      const a = ones(1 << 20);
      const out = device.zeros([1 << 20]);
      const graph = device.capture(() => {
        spin(device, 100);
        out.copyFrom(a);
      });
      graph.replay();
      a.dispose();
      graph.dispose();
      const other = device.tensor(new Float32Array(1 << 20).fill(5));
      expect((await out.data()).every((value) => value === 1)).toBe(true);
      expect((await other.data()).every((value) => value === 5)).toBe(true);
    });

    test('a failed recording leaves the device as it was', async () => {
      const a = ones(10);
      expect(() => device.capture(() => device.tensor([1]))).toThrow(
        expect.objectContaining({ code: 'ERR_UNSUPPORTED' }),
      );
      const stop = new Error('stop');
      expect(() =>
        device.capture(() => {
          a.clone();
          throw stop;
        }),
      ).toThrow(stop);
      expect((await a.clone().data())[9]).toBe(1);
      const graph = device.capture(() => a.clone());
      graph.replay();
      expect((await graph.result.data())[9]).toBe(1);
    });

    test('reject what cannot be recorded', async () => {
      const a = ones(10);
      const code = expect.objectContaining({ code: 'ERR_UNSUPPORTED' });
      expect(() => device.capture(() => a.dataSync())).toThrow(code);
      expect(() => device.capture(() => device.backend.synchronizeSync())).toThrow(code);
      let pending: Promise<unknown> = Promise.resolve();
      device.capture(() => {
        pending = a.data();
      });
      await expect(pending).rejects.toEqual(code);
    });
  });

  test('stale, foreign and overlong buffers are refused', async () => {
    const { backend } = device;
    const live = backend.allocate(64);
    const stale = backend.allocate(64);
    backend.free(stale);
    const argument = expect.objectContaining({ code: 'ERR_ARGUMENT' });
    const disposed = expect.objectContaining({ code: 'ERR_DISPOSED' });
    for (const id of [0, stale.id, 1e6, -1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) {
      const buffer = { id, bytes: 64, version: 0 };
      expect(() => backend.upload(buffer, 0, new Uint8Array(8))).toThrow(disposed);
      expect(() => backend.fill(buffer, 0, 8, 0)).toThrow(disposed);
      expect(() => backend.copy(live, 0, buffer, 0, 8)).toThrow(disposed);
      expect(() => backend.downloadSync(buffer, 0, 8)).toThrow(disposed);
      await expect(backend.download(buffer, 0, 8)).rejects.toEqual(disposed);
    }
    for (const offset of [57, 64, 2 ** 40, -8, 0.5, Number.NaN]) {
      expect(() => backend.upload(live, offset, new Uint8Array(8))).toThrow(argument);
      expect(() => backend.fill(live, offset, 8, 0)).toThrow(argument);
      expect(() => backend.copy(live, offset, live, 0, 8)).toThrow(argument);
      expect(() => backend.downloadSync(live, offset, 8)).toThrow(argument);
      await expect(backend.download(live, offset, 8)).rejects.toEqual(argument);
    }
    expect(() => cudaBackend(device).runRow('no such row', new Float64Array(0))).toThrow(argument);
    expect(() => spin(device, 1e9)).toThrow(argument);
    backend.free(live);
    expect((await ones(4).data())[3]).toBe(1);
  });

  test('dispose settles what is pending', async () => {
    const tensor = ones(1 << 20);
    spin(device, 100);
    const reads = [tensor.data(), device.synchronize().then(() => 'synchronized')];
    device.dispose();
    const [data, synchronized] = await Promise.all(reads);
    expect((data as Float32Array)[0]).toBe(1);
    expect(synchronized).toBe('synchronized');
    expect(() => device.memory()).toThrow(expect.objectContaining({ code: 'ERR_DISPOSED' }));
    tensor.dispose();
    await sleep(10);
  });

  test('a GPU that is not there is an error with reasons', async () => {
    await expect(openDevice('cuda:1000')).rejects.toMatchObject({
      code: 'ERR_BACKEND_UNAVAILABLE',
      message: expect.stringMatching(/GPUs, numbered from 0/),
    });
  });
});
