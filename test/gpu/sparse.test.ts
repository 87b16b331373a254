import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  autotuneSpmm,
  type CsrMatrix,
  type Device,
  explainSpmm,
  openDevice,
  spmm,
  type Tensor,
} from '../../lib/index.js';
import { Random } from '../harness/random.js';

// What keeps copies of a matrix up to date, and what measures, on the device's own order of work.

const [m, k, n] = [150, 200, 32];

describe('copies of a sparse matrix', () => {
  let folder: string;
  let device: Device;
  const random = new Random('sparse on the GPU');
  const drawn = (shape: readonly number[]): Tensor<'float16'> => {
    const size = shape.reduce((product, value) => product * value, 1);
    const data = Float32Array.from({ length: size }, () => random.integer(-4, 4));
    return device.tensor(data, { shape, dtype: 'float16' });
  };
  const make = (): CsrMatrix<'float16'> => {
    const rowPointers = [0];
    const columnIndices: number[] = [];
    for (let row = 0; row < m; ++row) {
      for (let column = 0; column < k; ++column) if (random.unit() < 0.2) columnIndices.push(column);
      rowPointers.push(columnIndices.length);
    }
    const values = columnIndices.map(() => random.integer(-4, 4));
    return device.csr({ shape: [m, k], rowPointers, columnIndices, values, dtype: 'float16' });
  };

  beforeAll(async () => {
    folder = mkdtempSync(path.join(tmpdir(), 'warptile-autotune-'));
    device = await openDevice('cuda:0', { autotune: { file: path.join(folder, 'autotune.json') } });
  });
  afterAll(() => {
    device?.dispose();
    rmSync(folder, { recursive: true });
  });

  test('a recorded transposed product follows values written before, within and between replays', async () => {
    const [a, b] = [make(), drawn([m, n])];
    const [early, late] = [device.zeros([k, n], 'float16'), device.zeros([k, n], 'float16')];
    const source = drawn([a.nnz]);
    // The product over a transpose with values of its own, of the values at the time.
    const expected = async () => {
      const t = a.transpose();
      const product = await spmm(t, b, { variant: 'row-split' }).data();
      t.dispose();
      return product;
    };
    expect(await spmm(a, b, { transposeA: true }).data()).toEqual(await expected());
    const graph = device.capture(() => {
      spmm(a, b, { transposeA: true, out: early });
      a.values.copyFrom(source);
      spmm(a, b, { transposeA: true, out: late });
    });
    for (let round = 0; round < 3; ++round) {
      const before = await expected();
      source.copyFrom(drawn([a.nnz]));
      graph.replay();
      expect(await early.data()).toEqual(before);
      const after = await expected();
      expect(await late.data()).toEqual(after);
      expect(await spmm(a, b, { transposeA: true }).data()).toEqual(after);
      a.values.copyFrom(drawn([a.nnz]));
    }
    graph.dispose();
  });

  test('tiles of a transposed copy are made of what it holds', async () => {
    const [a, b, out] = [make(), drawn([m, n]), device.zeros([k, n], 'float16')];
    expect(a.prepare({ n, transposeA: true, variant: 'tiles' })).toBe('tiles');
    const graph = device.capture(() => spmm(a, b, { transposeA: true, variant: 'tiles', out }));
    for (let round = 0; round < 2; ++round) {
      graph.replay();
      const plain = spmm(a, b, { transposeA: true, variant: 'row-split' });
      expect(await out.data()).toEqual(await plain.data());
      a.values.copyFrom(drawn([a.nnz]));
    }
    graph.dispose();
  });

  test('autotuning measures every kind of plan, and changes no result', async () => {
    const [a, b] = [make(), drawn([k, n])];
    a.prepare({ n, variant: 'tiles' });
    const planned = await spmm(a, b).data();
    const before = device.memory().handles;
    const { choice, us, plannedUs, measured } = await autotuneSpmm(a, b);
    expect(device.memory().handles).toBe(before);
    for (const { problem } of measured) expect(problem).toBeUndefined();
    for (const variant of ['row-split', 'row-group', 'tiles']) {
      expect(measured.some(({ name }) => name.startsWith(variant))).toBe(true);
    }
    expect(us).toBeLessThanOrEqual(plannedUs);
    expect(us).toBeGreaterThan(0.5);
    expect(plannedUs).toBeLessThan(1000);
    const { variant, parameters } = explainSpmm(a, b);
    expect(`${variant} ${parameters}`.trim()).toBe(choice);
    expect(await spmm(a, b).data()).toEqual(planned);
  });
});
