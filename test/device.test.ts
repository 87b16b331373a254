import { type Device, type Graph, openDevice, type Tensor, w4a16Matmul } from '../lib/index.js';
import { errorOf, rejectionOf } from './harness/errors.js';

// Without the addon 'auto' must fall back and 'cuda' must fail, whatever machine this is.
const addon = process.env.WARPTILE_ADDON;
beforeAll(() => {
  process.env.WARPTILE_ADDON = 'none';
});
afterAll(() => {
  if (addon === undefined) delete process.env.WARPTILE_ADDON;
  else process.env.WARPTILE_ADDON = addon;
});

let device: Device;
beforeEach(async () => {
  device = await openDevice('cpu');
});
afterEach(() => device.dispose());

describe('openDevice', () => {
  test('cpu', () => {
    expect([device.id, device.kind, device.info.kind, device.info.id]).toEqual(['cpu', 'cpu', 'cpu', 'cpu']);
    expect(device.info.totalMemoryBytes).toBeGreaterThan(0);
    expect(device.fallbackReasons).toEqual([]);
    expect(device.memory()).toEqual({ used: 0, peak: 0, reserved: 0, handles: 0 });
  });

  test('auto falls back and says why', async () => {
    for (const open of [() => openDevice(), () => openDevice('auto')]) {
      using chosen = await open();
      expect(chosen.id).toBe('cpu');
      expect(chosen.fallbackReasons).toEqual([
        'cuda:0 is not available',
        'addon WARPTILE_ADDON=none: the addon is switched off',
      ]);
    }
  });

  test.each(['cuda', 'cuda:0', 'cuda:7', 'cuda:9999'] as const)('%s never falls back', async (name) => {
    const error = await rejectionOf(openDevice(name));
    expect(error.code).toBe('ERR_BACKEND_UNAVAILABLE');
    expect(error.message).toBe(
      `${name === 'cuda' ? 'cuda:0' : name} is not available\naddon WARPTILE_ADDON=none: the addon is switched off`,
    );
  });

  test.each([
    '',
    'gpu',
    'CPU',
    ' cpu',
    'cpu:0',
    'cuda:',
    'cuda:-1',
    'cuda:01',
    'cuda:1.5',
    'cuda:10000',
    'cuda:0\n',
    'auto,cpu',
    null,
    0,
    {},
    [],
    ['cpu'],
    Symbol('cpu'),
    1n,
  ])('refuses the name %p', async (name) => {
    const error = await rejectionOf(openDevice(name as 'cpu'));
    expect(error.code).toBe('ERR_ARGUMENT');
    expect(error.message).toMatch(/^name: expected 'auto', 'cpu', 'cuda' or 'cuda:N', received/);
  });

  test.each([
    [{ memorylimit: 5 }, /unknown key 'memorylimit'/],
    [{ memoryLimit: 0 }, /memoryLimit: expected an integer of at least 1, received 0/],
    [{ memoryLimit: -1 }, /memoryLimit/],
    [{ memoryLimit: 1.5 }, /memoryLimit/],
    [{ memoryLimit: Number.NaN }, /memoryLimit/],
    [{ memoryLimit: '1' }, /memoryLimit/],
    [null, /options/],
    [5, /options/],
  ])('refuses options %p', async (options, message) => {
    const error = await rejectionOf(openDevice('cpu', options as object));
    expect(error.code).toBe('ERR_ARGUMENT');
    expect(error.message).toMatch(message);
  });
});

describe('memory', () => {
  test('counts bytes, their peak and handles', () => {
    const a = device.empty([100], 'float32');
    const b = device.zeros([10], 'int8');
    expect(device.memory()).toEqual({ used: 410, peak: 410, reserved: 410, handles: 2 });
    a.dispose();
    const c = device.tensor([1, 2], { dtype: 'float16' });
    expect(device.memory()).toEqual({ used: 14, peak: 410, reserved: 14, handles: 2 });
    const view = b.slice(0, 5);
    b.dispose();
    expect(device.memory().used).toBe(14);
    view.dispose();
    c.dispose();
    expect(device.memory()).toEqual({ used: 0, peak: 410, reserved: 0, handles: 0 });
  });

  test('an allocation past the limit fails, everything else lives on', async () => {
    using small = await openDevice('cpu', { memoryLimit: 100 });
    const kept = small.tensor([1, 2, 3]);
    for (const allocate of [
      () => small.empty([23]),
      () => small.zeros([89], 'uint8'),
      () => small.tensor(new Float32Array(23)),
      () => kept.reshape([3]) && small.empty([100]),
    ]) {
      const error = errorOf(allocate);
      expect(error.code).toBe('ERR_OUT_OF_MEMORY');
      expect(error.message).toMatch(/allocation of \d+ bytes: 12 of the limit of 100 bytes are in use/);
      expect(small.memory().used).toBe(12);
    }
    const rest = small.empty([22]);
    expect(small.memory()).toEqual({ used: 100, peak: 100, reserved: 100, handles: 2 });
    expect(errorOf(() => kept.clone()).code).toBe('ERR_OUT_OF_MEMORY');
    rest.dispose();
    using copy = kept.clone();
    expect([...copy.dataSync()]).toEqual([1, 2, 3]);
  });

  test('more than the host has is out of memory too', () => {
    expect(errorOf(() => device.empty([2 ** 50], 'uint8')).code).toBe('ERR_OUT_OF_MEMORY');
    expect(device.memory().handles).toBe(0);
  });

  test('empty and zeros check their arguments', () => {
    for (const make of [device.empty, device.zeros]) {
      expect(errorOf(() => make.call(device, [1], 'float64' as 'float32')).code).toBe('ERR_DTYPE');
      for (const shape of [undefined, null, 3, 'abc', [-1], [1.5], [Number.POSITIVE_INFINITY]]) {
        expect(errorOf(() => make.call(device, shape as number[])).code).toBe('ERR_SHAPE');
      }
      expect(errorOf(() => make.call(device, [2 ** 52, 2 ** 52])).code).toBe('ERR_LIMIT');
    }
    using zeros = device.zeros([3], 'bfloat16');
    expect([...zeros.dataSync()]).toEqual([0, 0, 0]);
  });
});

describe('tidy', () => {
  test('disposes all but what is returned', () => {
    const kept = device.tidy(() => {
      const base = device.zeros([4, 4]);
      base.slice(1).clone();
      return base.slice(0, 2);
    });
    expect(kept.shape).toEqual([2, 4]);
    expect([...kept.dataSync()]).toEqual(new Array(8).fill(0));
    expect(device.memory().handles).toBe(1);
    kept.dispose();
    expect(device.memory().handles).toBe(0);
  });

  test('finds tensors in arrays and objects, however deep, shared or cyclic', () => {
    interface Node {
      readonly tensor: Tensor;
      readonly links: unknown[];
    }
    const result = device.tidy(() => {
      device.zeros([9]);
      let deep: unknown = device.zeros([1]);
      for (let i = 0; i < 100; ++i) deep = i % 2 ? [deep] : { deep };
      // Nodes that all refer to all others: a walk along every path would never end.
      const nodes: Node[] = Array.from({ length: 30 }, () => ({ tensor: device.zeros([1]), links: [] }));
      for (const node of nodes) node.links.push(...nodes, nodes);
      return {
        deep,
        nodes,
        list: [device.zeros([1]), null, 'text', 5, undefined, () => 0, new Uint8Array(4)],
      };
    });
    expect(device.memory().handles).toBe(32);
    expect(result.nodes.every((node) => !node.tensor.disposed)).toBe(true);
  });

  test('nested: what the inner one returns belongs to the outer one', () => {
    const seen: Tensor[] = [];
    const kept = device.tidy(() => {
      const inner = device.tidy(() => {
        seen.push(device.zeros([1]));
        return [device.zeros([2]), device.zeros([3])];
      });
      expect(seen[0].disposed).toBe(true);
      seen.push(inner[0]);
      expect(inner.map((tensor) => tensor.disposed)).toEqual([false, false]);
      return inner[1];
    });
    expect(seen[1].disposed).toBe(true);
    expect([kept.shape, kept.disposed]).toEqual([[3], false]);
    expect(device.memory().handles).toBe(1);
  });

  test('leaves tensors of outside and of other devices alone', async () => {
    using other = await openDevice('cpu');
    const outside = device.zeros([2]);
    const foreign = device.tidy(() => {
      outside.reshape([1, 2]);
      return { shape: other.zeros([1]).shape };
    });
    expect(foreign.shape).toEqual([1]);
    expect(outside.disposed).toBe(false);
    expect([device.memory().handles, other.memory().handles]).toEqual([1, 1]);
  });

  test('disposes everything when the body throws, and passes the error on', () => {
    const seen: Tensor[] = [];
    const error = new Error('mine');
    expect(() =>
      device.tidy(() => {
        seen.push(device.zeros([1]));
        device.tidy(() => {
          seen.push(device.zeros([1]));
          throw error;
        });
      }),
    ).toThrow(error);
    expect(seen.map((tensor) => tensor.disposed)).toEqual([true, true]);
    // The scopes are closed: what comes next is nobody's.
    const free = device.zeros([1]);
    device.tidy(() => {});
    expect(free.disposed).toBe(false);
  });

  test('what the body disposed stays disposed', () => {
    const gone = device.tidy(() => {
      const tensor = device.zeros([1]);
      tensor.dispose();
      return tensor;
    });
    expect(gone.disposed).toBe(true);
    expect(device.memory().handles).toBe(0);
  });

  test('refuses async functions and what is no function', () => {
    let made: Tensor | undefined;
    const error = errorOf(() =>
      device.tidy(async () => {
        made = device.zeros([1]);
        throw new Error('swallowed, since tidy has thrown');
      }),
    );
    expect([error.code, error.message]).toEqual([
      'ERR_ARGUMENT',
      'tidy: expected a synchronous function, received an async one',
    ]);
    expect(made?.disposed).toBe(true);
    for (const body of [undefined, null, 3, {}, 'text']) {
      expect(errorOf(() => device.tidy(body as unknown as () => void)).message).toMatch(
        /^body: expected a function/,
      );
    }
  });

  test('survives the device being closed inside', () => {
    const tensor = device.tidy(() => {
      const inside = device.zeros([1]);
      device.dispose();
      return inside;
    });
    expect(errorOf(() => tensor.dataSync()).code).toBe('ERR_DISPOSED');
    tensor.dispose();
  });
});

describe('capture and replay', () => {
  test('nothing runs while recording; a replay uses the same memory', () => {
    const source = device.tensor([1, 2, 3]);
    const target = device.zeros([3]);
    const graph = device.capture(() => {
      target.copyFrom(source);
      return target;
    });
    expect(graph.result).toBe(target);
    expect([...target.dataSync()]).toEqual([0, 0, 0]);
    graph.replay();
    expect([...target.dataSync()]).toEqual([1, 2, 3]);
    const next = device.tensor([4, 5, 6]);
    source.copyFrom(next);
    expect([...target.dataSync()]).toEqual([1, 2, 3]);
    graph.replay();
    graph.replay();
    expect([...target.dataSync()]).toEqual([4, 5, 6]);
  });

  test('operations, allocations and copies are recorded in order', () => {
    const w = device.quantize([1, 1, 1, 1], { shape: [2, 2], symmetric: false, dtype: 'float32' });
    const x = device.tensor([3, 5], { shape: [1, 2] });
    const graph = device.capture(() => {
      const zeros = device.zeros([1, 2]);
      const y = w4a16Matmul(x, w);
      const sum = w4a16Matmul(y, w);
      return { zeros, sum, copy: sum.clone() };
    });
    graph.replay();
    const { zeros, sum, copy } = graph.result;
    expect([...zeros.dataSync()]).toEqual([0, 0]);
    expect(sum.dataSync()[0]).toBeCloseTo(16, 5);
    expect(copy.dataSync()).toEqual(sum.dataSync());
  });

  test('a graph outlives the handles it uses', () => {
    const before = device.memory().handles;
    const target = device.zeros([2]);
    const graph = device.tidy(() => {
      const source = device.tensor([1, 2]);
      const middle = device.zeros([2]);
      return device.capture(() => {
        middle.copyFrom(source);
        target.copyFrom(middle);
      });
    });
    expect(device.memory().handles).toBe(before + 1);
    // Memory that is handed out now is not the graph's.
    const decoy = device.tensor([7, 8]);
    graph.replay();
    expect([[...target.dataSync()], [...decoy.dataSync()]]).toEqual([
      [1, 2],
      [7, 8],
    ]);
    target.dispose();
    graph.replay();
    graph.dispose();
  });

  test('an overlapping copy is right in a replay too', () => {
    const tensor = device.tensor([0, 1, 2, 3]);
    const graph = device.tidy(() => device.capture(() => tensor.slice(1).copyFrom(tensor.slice(0, 3))));
    graph.replay();
    expect([...tensor.dataSync()]).toEqual([0, 0, 1, 2]);
    graph.replay();
    expect([...tensor.dataSync()]).toEqual([0, 0, 0, 1]);
  });

  const impossible: [string, (tensor: Tensor, graph: Graph) => unknown][] = [
    ['an upload', () => device.tensor([1])],
    ['a read-back', (tensor) => tensor.dataSync()],
    ['a raw read-back', (tensor) => tensor.rawDataSync()],
    ['a capture', () => device.capture(() => {})],
    ['a replay', (_, graph) => graph.replay()],
    ['quantising', () => device.quantize([1], { shape: [1, 1] })],
  ];
  test.each(impossible)('%s cannot be recorded, and the device stays usable', (_, body) => {
    const tensor = device.tensor([1, 2]);
    const target = device.zeros([2]);
    const graph = device.capture(() => target.copyFrom(tensor));
    const { handles } = device.memory();
    const error = errorOf(() =>
      device.capture(() => {
        target.copyFrom(tensor);
        body(tensor, graph);
      }),
    );
    expect([error.code, error.message]).toEqual([
      'ERR_UNSUPPORTED',
      expect.stringMatching(/^capture: an? [a-z-]+ cannot be recorded; do it before or after$/),
    ]);
    expect(device.memory().handles).toBe(handles);
    // The failed recording left no trace: work runs again, and graphs too.
    expect([...target.dataSync()]).toEqual([0, 0]);
    target.copyFrom(tensor);
    expect([...target.dataSync()]).toEqual([1, 2]);
    graph.replay();
    device.capture(() => target.copyFrom(tensor)).replay();
  });

  test('reading without waiting inside a recording rejects, and the recording goes on', async () => {
    const tensor = device.tensor([1, 2]);
    const target = device.zeros([2]);
    const graph = device.capture(() => {
      const promises = [
        tensor.data(),
        tensor.rawData(),
        device.synchronize(),
        device.time(() => {}),
        tensor.to(device),
      ];
      target.copyFrom(tensor);
      return promises.slice(0, 4).map((promise) => rejectionOf(promise));
    });
    for (const error of await Promise.all(graph.result)) expect(error.code).toBe('ERR_UNSUPPORTED');
    graph.replay();
    expect([...target.dataSync()]).toEqual([1, 2]);
  });

  test('an error in the body ends the recording', () => {
    const tensor = device.tensor([1]);
    const error = new Error('mine');
    expect(() =>
      device.capture(() => {
        throw error;
      }),
    ).toThrow(error);
    expect([...tensor.dataSync()]).toEqual([1]);
    expect(errorOf(() => device.capture(() => device.capture(() => {}))).code).toBe('ERR_UNSUPPORTED');
    device.capture(() => {}).replay();
  });

  test('refuses async bodies, what is no function, and closing the device inside', () => {
    const error = errorOf(() => device.capture(async () => {}));
    expect([error.code, error.message]).toEqual([
      'ERR_ARGUMENT',
      'capture: expected a synchronous function, received an async one',
    ]);
    expect(errorOf(() => device.capture(5 as never)).message).toMatch(/^body: expected a function/);
    device.capture(() => {}).replay();
    expect(errorOf(() => device.capture(() => device.dispose())).code).toBe('ERR_DISPOSED');
  });

  test('a disposed graph, and one whose device is closed', () => {
    const graph = device.capture(() => {});
    graph.dispose();
    graph.dispose();
    expect(errorOf(() => graph.replay())).toMatchObject({
      code: 'ERR_DISPOSED',
      message: 'graph: it has been disposed',
    });
    const late = device.capture(() => {});
    device.dispose();
    expect(errorOf(() => late.replay()).code).toBe('ERR_DISPOSED');
    late.dispose();
  });
});

describe('time and synchronize', () => {
  test('time gives milliseconds of what the body enqueues', async () => {
    const target = device.zeros([4]);
    const ones = device.tensor([1, 1, 1, 1]);
    const milliseconds = await device.time(() => target.copyFrom(ones));
    expect(milliseconds).toBeGreaterThanOrEqual(0);
    expect([...target.dataSync()]).toEqual([1, 1, 1, 1]);
    await device.synchronize();
  });

  test('time refuses async bodies and passes errors on', async () => {
    expect((await rejectionOf(device.time(async () => {}))).message).toMatch(
      /^time: expected a synchronous function/,
    );
    expect((await rejectionOf(device.time(undefined as never))).message).toMatch(
      /^body: expected a function/,
    );
    const error = new Error('mine');
    await expect(
      device.time(() => {
        throw error;
      }),
    ).rejects.toBe(error);
  });
});

describe('a closed device', () => {
  const methods: [string, (closed: Device) => unknown][] = [
    ['tensor', (closed) => closed.tensor([1])],
    ['empty', (closed) => closed.empty([1])],
    ['zeros', (closed) => closed.zeros([1])],
    ['csr', (closed) => closed.csr({ shape: [1, 1], rowPointers: [0, 0], columnIndices: [] })],
    ['blockSparse', (closed) => closed.blockSparse({} as never)],
    ['kronecker', (closed) => closed.kronecker({} as never)],
    ['quantize', (closed) => closed.quantize([1], { shape: [1, 1] })],
    ['quantizedFromGptq', (closed) => closed.quantizedFromGptq({} as never)],
    ['quantizedFromAwq', (closed) => closed.quantizedFromAwq({} as never)],
    ['quantizedFromCompressedTensors', (closed) => closed.quantizedFromCompressedTensors({} as never)],
    ['tidy', (closed) => closed.tidy(() => 0)],
    ['memory', (closed) => closed.memory()],
    ['capture', (closed) => closed.capture(() => 0)],
    ['synchronize', (closed) => closed.synchronize()],
    ['time', (closed) => closed.time(() => {})],
  ];
  test.each(methods)('%s throws', async (_, method) => {
    device.dispose();
    const error = await rejectionOf((async () => method(device))());
    expect([error.code, error.message]).toEqual(['ERR_DISPOSED', 'device: cpu has been disposed']);
  });

  test('is closed once, keeps its name, and frees its tensors quietly', () => {
    const tensor = device.zeros([3]);
    device.dispose();
    device.dispose();
    expect([device.id, device.kind, device.info.kind]).toEqual(['cpu', 'cpu', 'cpu']);
    expect(tensor.disposed).toBe(false);
    tensor.dispose();
    expect(tensor.disposed).toBe(true);
  });

  test('using closes it', async () => {
    let inside: Device;
    {
      using scoped = await openDevice('cpu');
      inside = scoped;
      expect(scoped.memory().handles).toBe(0);
    }
    expect(errorOf(() => inside.memory()).code).toBe('ERR_DISPOSED');
  });
});
