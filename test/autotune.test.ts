import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import path from 'node:path';
import type { SddmmPlan } from '../lib/backends/calls/sddmm.js';
import {
  AutotuneCache,
  autotuneSddmm,
  autotuneSpmm,
  type CsrMatrix,
  type Device,
  explainSddmm,
  explainSpmm,
  openDevice,
  sddmm,
  spmm,
  WarptileError,
} from '../lib/index.js';
import { sddmmProblem } from '../lib/ops/sddmm.js';
import { sddmmPlanName, sddmmPlansToMeasure } from '../lib/ops/sddmm-tuned.js';
import type { SpmmFeatures } from '../lib/ops/spmm-plan.js';
import { spmmPlanName, spmmPlansToMeasure, spmmProblemClass } from '../lib/ops/spmm-tuned.js';
import { judge, measureCandidates } from '../lib/planning/autotune.js';
import { type AutotuneEntry, defaultAutotuneFile } from '../lib/planning/autotune-cache.js';
import { errorOf, rejectionOf } from './harness/errors.js';
import { spmmFeatures } from './harness/plan-features.js';
import { recordSpmmCalls } from './harness/record-calls.js';

let folder: string;
let file: string;
let device: Device;
beforeEach(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'warptile-autotune-'));
  file = path.join(folder, 'deep', 'autotune.json');
  device = await openDevice('cpu', { autotune: { file } });
});
afterEach(() => {
  device.dispose();
  rmSync(folder, { recursive: true });
});

const machine = { gpu: 'GPU', driver: '1.2', version: '0.1.0' };
const entry = (choice = 'a', date = '2026-01-01T00:00:00.000Z'): AutotuneEntry => ({
  choice,
  us: 1,
  plannedUs: 2,
  date,
});

describe('the autotune cache', () => {
  test('lies where the environment says', () => {
    expect(defaultAutotuneFile({ WARPTILE_AUTOTUNE_CACHE: '/x/y.json', XDG_CACHE_HOME: '/z' })).toBe(
      '/x/y.json',
    );
    expect(defaultAutotuneFile({ XDG_CACHE_HOME: '/z' })).toBe('/z/warptile/autotune.json');
    const own = path.join(homedir(), '.cache', 'warptile', 'autotune.json');
    expect(defaultAutotuneFile({ XDG_CACHE_HOME: 'relative' })).toBe(own);
    expect(defaultAutotuneFile({})).toBe(own);
  });

  test('remembers for the machine, operation and class, in a file', async () => {
    const cache = new AutotuneCache(file, machine);
    expect(cache.problem).toBeUndefined();
    await cache.remember('spmm', 'n 8', entry());
    expect(cache.problem).toBeUndefined();
    const again = new AutotuneCache(file, machine);
    expect(again.get('spmm', 'n 8')).toEqual(entry());
    expect(again.get('spmm', 'n 9')).toBeUndefined();
    expect(again.get('sddmm', 'n 8')).toBeUndefined();
    for (const change of [{ gpu: 'Other' }, { driver: '1.3' }, { version: '0.1.1' }]) {
      const other = new AutotuneCache(file, { ...machine, ...change });
      expect(other.get('spmm', 'n 8')).toBeUndefined();
      expect(other.size).toBe(1);
    }
    expect(readdirSync(path.dirname(file))).toEqual(['autotune.json']);
  });

  test.each([
    ['', /not JSON/],
    ['{"format": 1, "entr', /not JSON/],
    ['null', /expected entries of format 1/],
    ['[]', /expected entries of format 1/],
    ['{"format": 2, "entries": {}}', /expected entries of format 1/],
    ['{"format": 1, "entries": [1]}', /expected entries of format 1/],
    ['{"format": 1, "entries": {"k": {"choice": 5}, "l": null}}', /2 of 2 entries are malformed/],
  ])('leaves out a damaged file, says why, and replaces it: %s', async (text, problem) => {
    mkdirSync(path.dirname(file));
    writeFileSync(file, text);
    const cache = new AutotuneCache(file, machine);
    expect(cache.problem).toMatch(problem);
    expect(cache.problem).toContain(file);
    expect(cache.size).toBe(0);
    expect((await rejectionOf(cache.importEntries(text))).code).toBe('ERR_FORMAT');
    await cache.remember('spmm', 'n 8', entry());
    expect(cache.problem).toBeUndefined();
    expect(new AutotuneCache(file, machine).get('spmm', 'n 8')).toEqual(entry());
  });

  test('keeps the good entries of a file with bad ones', () => {
    mkdirSync(path.dirname(file));
    const bad = [
      { ...entry(), us: '1' },
      { ...entry(), date: 'yesterday' },
      { ...entry(), plannedUs: -1 },
    ];
    const key = 'GPU | driver 1.2 | warptile 0.1.0 | spmm | n 8';
    const entries = { [key]: entry(), x: bad[0], y: bad[1], z: bad[2], __proto__: entry() };
    writeFileSync(file, JSON.stringify({ format: 1, entries }));
    const cache = new AutotuneCache(file, machine);
    expect(cache.get('spmm', 'n 8')).toEqual(entry());
    expect(cache.problem).toMatch(/3 of 4 entries/);
  });

  test('a file that cannot be read or written is a problem, not an error', async () => {
    mkdirSync(file, { recursive: true });
    const cache = new AutotuneCache(file, machine);
    expect(cache.problem).toMatch(/EISDIR/);
    await cache.remember('spmm', 'n 8', entry());
    expect(cache.problem).toMatch(/not written/);
    expect(cache.get('spmm', 'n 8')).toEqual(entry());
    expect(readdirSync(path.dirname(file))).toEqual(['autotune.json']);
  });

  test('writers at the same time lose nothing', async () => {
    const writers = Array.from({ length: 5 }, () => new AutotuneCache(file, machine));
    await Promise.all(
      writers.flatMap((cache, writer) =>
        Array.from({ length: 8 }, (_, i) => cache.remember('spmm', `${writer} ${i}`, entry())),
      ),
    );
    for (const cache of writers) expect(cache.problem).toBeUndefined();
    expect(new AutotuneCache(file, machine).size).toBe(40);
    expect(readdirSync(path.dirname(file))).toEqual(['autotune.json']);
  });

  test('the newer of two entries stays', async () => {
    const [a, b] = [new AutotuneCache(file, machine), new AutotuneCache(file, machine)];
    await a.remember('spmm', 'n 8', entry('newer', '2026-02-01T00:00:00.000Z'));
    await b.remember('spmm', 'n 8', entry('older', '2026-01-01T00:00:00.000Z'));
    expect(b.get('spmm', 'n 8')?.choice).toBe('newer');
    expect(new AutotuneCache(file, machine).get('spmm', 'n 8')?.choice).toBe('newer');
  });

  test('a lock whose owner is gone is broken, that of another is respected', async () => {
    const cache = new AutotuneCache(file, machine);
    mkdirSync(path.dirname(file));
    writeFileSync(`${file}.lock`, '1');
    await cache.remember('spmm', 'n 8', entry());
    expect(cache.problem).toMatch(/held by another process/);
    expect(existsSync(file)).toBe(false);
    const long = new Date(Date.now() - 60_000);
    utimesSync(`${file}.lock`, long, long);
    await cache.remember('spmm', 'n 9', entry());
    expect(cache.problem).toBeUndefined();
    // What could not be written before is not lost either.
    for (const problem of ['n 8', 'n 9']) {
      expect(new AutotuneCache(file, machine).get('spmm', problem)).toEqual(entry());
    }
  });

  test('is exported and imported', async () => {
    const cache = new AutotuneCache(file, machine);
    await cache.remember('spmm', 'n 8', entry());
    const other = new AutotuneCache(path.join(folder, 'other.json'), machine);
    const { revision } = other;
    expect(await other.importEntries(cache.exportEntries())).toBe(1);
    expect(other.revision).toBeGreaterThan(revision);
    expect(other.get('spmm', 'n 8')).toEqual(entry());
    expect(readFileSync(other.file, 'utf8')).toBe(cache.exportEntries());
  });
});

describe('measuring', () => {
  test('the planner is overruled only by more than 3 %', () => {
    const measured = (us: number) => [
      { name: 'planned', us: 100 },
      { name: 'other', us },
      { name: 'broken', problem: 'x' },
    ];
    expect(judge(measured(97))).toEqual({ name: 'planned', us: 100, plannedUs: 100 });
    expect(judge(measured(96.9))).toEqual({ name: 'other', us: 96.9, plannedUs: 100 });
    expect(judge([{ name: 'planned', us: 5 }])).toEqual({ name: 'planned', us: 5, plannedUs: 5 });
  });

  test('times the candidates in turns, over graphs, and skips what cannot run', async () => {
    const buffers = [1, 1, 2 ** 22].map((bytes) => device.zeros([bytes], 'uint8'));
    const before = device.memory().handles;
    const runs = buffers.map((tensor, i) => ({
      name: `${i}`,
      run: () => {
        if (i === 1) throw new WarptileError('ERR_UNSUPPORTED', 'not this one');
        device.backend.fill(tensor.view.buffer, 0, tensor.byteLength, 1);
      },
    }));
    const [small, broken, large] = await measureCandidates(device, runs, 1);
    expect(broken).toEqual({ name: '1', problem: 'not this one' });
    expect(large.us).toBeGreaterThan(small.us as number);
    expect(device.memory().handles).toBe(before);
    expect((await rejectionOf(measureCandidates(device, runs.slice(1), 1))).message).toBe('not this one');
  });
});

describe('autotuneSpmm', () => {
  const make = (of: Device = device, rows = 40): CsrMatrix =>
    of.csr({
      shape: [rows, 60],
      rowPointers: Int32Array.from({ length: rows + 1 }, (_, i) => 3 * i),
      columnIndices: Int32Array.from({ length: 3 * rows }, (_, i) => (i % 3) * 20),
    });
  const operand = (of: Device = device) => of.zeros([60, 32]);

  /** Makes the candidates take these times, in turns. */
  function fakeTimes(times: (count: number) => readonly number[]): void {
    const { backend } = device;
    let graphs = 0;
    let call = 0;
    const capture = backend.capture.bind(backend);
    backend.capture = (enqueue) => {
      ++graphs;
      return capture(enqueue);
    };
    backend.time = async (enqueue) => {
      enqueue();
      return times(graphs)[call++ % graphs];
    };
  }
  const thirdIsFastest = (count: number): number[] =>
    Array.from({ length: count }, (_, i) => (i === 2 ? 1 : 2));

  test('remembers the fastest, which spmm then runs, here and in the next process', async () => {
    const [a, b] = [make(), operand()];
    const calls = recordSpmmCalls(device);
    spmm(a, b);
    expect(explainSpmm(a, b).reason).toMatch(/expected to take/);
    fakeTimes(thirdIsFastest);
    const tuning = await autotuneSpmm(a, b);
    expect(tuning.measured.length).toBeGreaterThan(2);
    expect(tuning.choice).toBe(tuning.measured[2].name);
    expect(tuning.planned).toBe(spmmPlanName(calls[0].plan));
    expect(tuning.plannedUs).toBe(2 * tuning.us);
    spmm(a, b);
    expect(spmmPlanName(calls[calls.length - 1].plan)).toBe(tuning.choice);
    expect(explainSpmm(a, b).reason).toMatch(/measured to take .* us, where .* takes/);
    // A forced variant is not overruled, nor is another class of problems.
    spmm(a, b, { variant: 'row-split' });
    expect(calls[calls.length - 1].plan.variant).toBe('row-split');
    expect(explainSpmm(make(device, 400), b).reason).toMatch(/expected/);
    const next = await openDevice('cpu', { autotune: { file } });
    expect(explainSpmm(make(next), operand(next)).reason).toMatch(/measured/);
    const plain = await openDevice('cpu');
    expect(explainSpmm(make(plain), operand(plain)).reason).toMatch(/expected/);
    next.dispose();
    plain.dispose();
  });

  test('remembers nothing where the planner is as good, and forgets what no longer wins', async () => {
    const [a, b] = [make(), operand()];
    fakeTimes((count) => new Array(count).fill(2));
    const equal = await autotuneSpmm(a, b);
    expect(equal.choice).toBe(equal.planned);
    expect(device.autotune?.size).toBe(0);
    const features = { ...tunedFeatures(a), width: 32 };
    const cache = device.autotune as AutotuneCache;
    const other = spmmPlanName(spmmPlansToMeasure(features, device, 2)[1]);
    await cache.remember('spmm', spmmProblemClass(features), entry(other));
    expect(explainSpmm(a, b).reason).toMatch(/measured/);
    const { choice, planned } = await autotuneSpmm(a, b);
    expect(choice).toBe(planned);
    expect(cache.get('spmm', spmmProblemClass(features))?.choice).toBe(planned);
  });

  test('ignores a choice that it does not know', async () => {
    const [a, b] = [make(), operand()];
    const features = { ...tunedFeatures(a), width: 32 };
    await device.autotune?.remember('spmm', spmmProblemClass(features), entry('row-group vector 3'));
    expect(explainSpmm(a, b).reason).toMatch(/expected/);
    expect(spmm(a, b).shape).toEqual([40, 32]);
  });

  const tunedFeatures = (a: CsrMatrix): SpmmFeatures =>
    spmmFeatures({
      dtype: 'float32',
      rows: a.shape[0],
      columns: 60,
      stored: a.nnz,
      longestRow: 3,
      width: 32,
    });

  test('measures the planner first, then each variant, without repeating itself', () => {
    const features = {
      ...tunedFeatures(make()),
      tiles: { rows: 32, count: 4, items: 4, longest: 1, parts: 0, most: 1 },
      dtype: 'float16',
    } as const;
    const names = spmmPlansToMeasure(features, device, 8).map(spmmPlanName);
    expect(new Set(names).size).toBe(names.length);
    expect(names).toHaveLength(8);
    for (const variant of ['row-split', 'row-group', 'tiles']) {
      expect(names.slice(0, 4).some((name) => name.startsWith(variant))).toBe(true);
    }
  });

  test('classes differ in what rules kernels out, and agree on nearby sizes', () => {
    const features = tunedFeatures(make());
    expect(spmmProblemClass({ ...features, rows: 41 })).toBe(spmmProblemClass(features));
    for (const change of [{ rows: 80 }, { width: 33 }, { vectors: false }, { dtype: 'float16' }] as const) {
      expect(spmmProblemClass({ ...features, ...change })).not.toBe(spmmProblemClass(features));
    }
  });

  test('really measures, with operands that go meanwhile, and leaves nothing behind', async () => {
    const before = device.memory().handles;
    const [a, b] = [make(), operand()];
    const tuning = device.tidy(() => autotuneWithin(a, b));
    const wide = device.zeros([40, 48]);
    const transposed = autotuneSpmm(a, wide, { transposeA: true, bColumns: [8, 40] });
    for (const item of [a, b, wide]) item.dispose();
    for (const { choice, measured } of await Promise.all([tuning[0], transposed])) {
      expect(measured.map(({ name }) => name)).toContain(choice);
      for (const { us } of measured) expect(us).toBeGreaterThan(0);
    }
    expect(device.memory().handles).toBe(before);
  });
  // tidy takes no promise for a result, but one in an array.
  const autotuneWithin = (...[a, b]: Parameters<typeof autotuneSpmm>) => [autotuneSpmm(a, b)];

  test('needs a device opened for it, outside of captures', async () => {
    const plain = await openDevice('cpu');
    const refused = autotuneSpmm(make(plain), operand(plain));
    expect(await rejectionOf(refused)).toMatchObject({ code: 'ERR_ARGUMENT' });
    plain.dispose();
    const [a, b] = [make(), operand()];
    let inside: Promise<unknown> = Promise.resolve();
    device.capture(() => {
      inside = autotuneSpmm(a, b);
      inside.catch(() => {});
    });
    expect(await rejectionOf(inside)).toMatchObject({ code: 'ERR_UNSUPPORTED' });
    expect((await rejectionOf(autotuneSpmm(a, device.zeros([61, 2])))).code).toBe('ERR_SHAPE');
    a.dispose();
    expect((await rejectionOf(autotuneSpmm(a, b))).code).toBe('ERR_DISPOSED');
  });

  test.each([1, 'yes', { file: 7 }, { file: '' }, { path: 'x' }])(
    'autotune: %j is an error',
    async (autotune) => {
      const opened = openDevice('cpu', { autotune: autotune as unknown as boolean });
      expect(await rejectionOf(opened)).toMatchObject({ code: 'ERR_ARGUMENT' });
    },
  );

  test('autotune: true takes the default file', async () => {
    const opened = await openDevice('cpu', { autotune: true });
    expect(opened.autotune?.file).toBe(defaultAutotuneFile());
    expect(errorOf(() => opened.tensor('x' as never)).code).toBe('ERR_ARGUMENT');
    opened.dispose();
  });
});

describe('autotuneSddmm', () => {
  const make = (of: Device = device) => {
    const mask = of.csr({
      shape: [40, 60],
      rowPointers: Int32Array.from({ length: 41 }, (_, i) => 3 * i),
      columnIndices: Int32Array.from({ length: 120 }, (_, i) => (i % 3) * 20),
    });
    return [mask, of.zeros([40, 32]), of.zeros([60, 32])] as const;
  };

  test('remembers the fastest, which sddmm then runs, here and in the next process', async () => {
    const problem = make();
    const { operations } = device.backend;
    const run = operations.sddmm;
    const plans: SddmmPlan[] = [];
    operations.sddmm = (call) => {
      plans.push(call.plan);
      run(call);
    };
    expect(explainSddmm(...problem).reason).toMatch(/expected to take/);
    const features = sddmmProblem(...problem).features;
    const candidates = sddmmPlansToMeasure(features, device, 8).map(sddmmPlanName);
    expect(new Set(candidates).size).toBe(8);
    // The planner's choice first, and one of each variant early.
    expect(candidates[0]).toContain(explainSddmm(...problem).parameters);
    for (const variant of ['segments', 'rows', 'gather', 'tiles', 'staged']) {
      expect(candidates.slice(0, 6).some((name) => name.startsWith(variant))).toBe(true);
    }
    let calls = 0;
    device.backend.time = async (enqueue) => {
      enqueue();
      return calls++ % candidates.length === 2 ? 1 : 2;
    };
    const tuning = await autotuneSddmm(...problem);
    expect(tuning.measured.map(({ name }) => name)).toEqual(candidates);
    expect(tuning.planned).toBe(candidates[0]);
    expect(tuning.choice).toBe(candidates[2]);
    sddmm(...problem);
    expect(sddmmPlanName(plans[plans.length - 1])).toBe(tuning.choice);
    expect(explainSddmm(...problem).reason).toMatch(/measured to take .* us, where .* takes/);
    sddmm(...problem, { variant: 'segments' });
    expect(plans[plans.length - 1].variant).toBe('segments');
    const next = await openDevice('cpu', { autotune: { file } });
    expect(explainSddmm(...make(next)).reason).toMatch(/measured/);
    next.dispose();
    const plain = await openDevice('cpu');
    expect(explainSddmm(...make(plain)).reason).toMatch(/expected/);
    expect((await rejectionOf(autotuneSddmm(...make(plain)))).code).toBe('ERR_ARGUMENT');
    plain.dispose();
  });

  test('really measures, and leaves nothing behind', async () => {
    const problem = make();
    const before = device.memory().handles;
    const { measured } = await autotuneSddmm(...problem);
    for (const { us } of measured) expect(us).toBeGreaterThan(0);
    expect(device.memory().handles).toBe(before);
  });
});
