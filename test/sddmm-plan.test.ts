// Which kernel sddmm chooses, and what it says about it.

import { type Device, explainSddmm, openDevice, sddmm } from '../lib/index.js';
import { type SddmmFeatures, selectSddmm } from '../lib/ops/sddmm-plan.js';
import { errorOf } from './harness/errors.js';

const features = (change: Partial<SddmmFeatures> = {}): SddmmFeatures => ({
  dtype: 'float16',
  format: 'csr',
  rows: 4096,
  columns: 4096,
  stored: 1_677_721,
  longestRow: 480,
  spans: [4096, 4096, 4096],
  depth: 128,
  batch: 1,
  vectors: true,
  ...change,
});

describe('selectSddmm', () => {
  it('is a pure function that lists every variant once', () => {
    const choice = selectSddmm(features(), 132);
    expect(selectSddmm(features(), 132)).toEqual(choice);
    expect(choice.candidates.map(({ variant }) => variant)).toEqual(['segments', 'rows', 'gather', 'tiles']);
    expect(choice.candidates.every(({ us }) => us !== undefined && us > 0)).toBe(true);
  });

  it.each<[string, Partial<SddmmFeatures>, string]>([
    ['dense half matrices', { stored: 5_000_000, longestRow: 1300 }, 'tiles'],
    ['sparse uniform matrices', { stored: 336_000, longestRow: 110 }, 'rows'],
    ['skewed graphs', { rows: 117_659, columns: 117_659, stored: 285_000, longestRow: 1000 }, 'gather'],
    [
      'attention windows',
      {
        rows: 16_384,
        columns: 16_384,
        stored: 8_257_792,
        longestRow: 512,
        spans: [543, 575, 639],
      },
      'tiles',
    ],
    ['blocks', { format: 'block-sparse' }, 'segments'],
  ])('chooses for %s', (_name, change, variant) => {
    expect(selectSddmm(features(change), 132).plan.variant).toBe(variant);
  });

  it('computes a band alone where the matrix is one', () => {
    const change = { rows: 16_384, columns: 16_384, spans: [543, 575, 639] as const };
    const { plan } = selectSddmm(features(change), 132, 'tiles');
    expect(plan.banded).toBe(true);
    // Wherever it begins within a tile, a span lies in this many of them.
    const span = change.spans[Math.log2(plan.tileRows) - 5];
    expect((plan.columnTiles - 1) * plan.tileColumns).toBeGreaterThanOrEqual(span - 1);
    expect(selectSddmm(features(), 132, 'tiles').plan.banded).toBe(false);
  });

  it.each<[string, Partial<SddmmFeatures>]>([
    ['nothing stored', { stored: 0, longestRow: 0, spans: [0, 0, 0] }],
    ['no depth', { depth: 0 }],
    ['no rows', { rows: 0, stored: 0, longestRow: 0, spans: [0, 0, 0] }],
    ['no columns', { columns: 0, stored: 0, longestRow: 0, spans: [0, 0, 0] }],
    ['a large batch', { batch: 100_000 }],
    ['2^31 - 1 rows', { rows: 2 ** 31 - 2 }],
  ])('has a plan for %s', (_name, change) => {
    for (const dtype of ['float32', 'float16', 'bfloat16'] as const) {
      for (const vectors of [false, true]) {
        const { plan, candidates } = selectSddmm(features({ ...change, dtype, vectors }), 132);
        expect(plan.lanes).toBeGreaterThan(0);
        for (const { us } of candidates) expect(us).not.toBeNaN();
      }
    }
  });

  it.each<[string, Partial<SddmmFeatures>, 'rows' | 'gather' | 'tiles']>([
    ['needs a CSR mask', { format: 'block-sparse' }, 'rows'],
    ['needs a CSR mask', { format: 'block-sparse' }, 'gather'],
    ['needs a CSR mask', { format: 'block-sparse' }, 'tiles'],
    ['multiples of 16 bytes', { vectors: false }, 'tiles'],
    ['a batch of at most', { batch: 70_000 }, 'tiles'],
    ['rows', { rows: 3_000_000 }, 'tiles'],
  ])('says that it %s', (message, change, variant) => {
    expect(() => selectSddmm(features(change), 132, variant)).toThrow(message);
  });
});

describe('sddmm', () => {
  let device: Device;
  beforeAll(async () => {
    device = await openDevice('cpu');
  });
  afterAll(() => device.dispose());

  it('runs a forced variant, explains its choice and refuses what is impossible', () => {
    const mask = device.csr({
      shape: [2, 3],
      rowPointers: [0, 2, 3],
      columnIndices: [0, 2, 1],
      values: [1, 1, 1],
    });
    const blocks = device.blockSparse({
      shape: [2, 3],
      blockShape: [2, 3],
      rowPointers: [0, 1],
      columnIndices: [0],
      values: [1, 1, 1, 1, 1, 1],
    });
    const a = device.tensor([1, 2, 3, 4, 5, 6, 7, 8], { shape: [2, 4] });
    const b = device.tensor([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 1], { shape: [3, 4] });
    for (const variant of ['auto', 'segments', 'rows', 'gather', 'tiles'] as const) {
      expect([...sddmm(mask, a, b, { variant }).values.dataSync()]).toEqual([1, 7, 6]);
    }
    const { variant, reason, candidates } = explainSddmm(mask, a, b);
    expect(candidates.map((candidate) => candidate.variant)).toContain(variant);
    expect(reason).toMatch(/expected to take .* us, the least; /);
    expect(errorOf(() => sddmm(blocks, a, b, { variant: 'tiles' })).code).toBe('ERR_UNSUPPORTED');
    expect(errorOf(() => sddmm(mask, a, b, { variant: 'fast' as 'rows' })).code).toBe('ERR_ARGUMENT');
  });

  it.each([32, 64, 128])('measures the bands of %d rows', (height) => {
    const size = 300;
    const columnIndices: number[] = [];
    const rowPointers = [0];
    for (let row = 0; row < size; ++row) {
      // Every seventh row is empty.
      if (row % 7 !== 0) {
        columnIndices.push(Math.max(0, row - 20), ...(row < 20 ? [] : [row]));
      }
      rowPointers.push(columnIndices.length);
    }
    const mask = device.csr({
      shape: [size, size],
      rowPointers,
      columnIndices,
      values: columnIndices.map(() => 1),
    });
    let widest = 0;
    for (let panel = 0; panel < size; panel += height) {
      const inPanel = columnIndices.slice(rowPointers[panel], rowPointers[Math.min(size, panel + height)]);
      widest = Math.max(widest, Math.max(...inPanel) - Math.min(...inPanel) + 1);
    }
    expect(mask.topology.spans[Math.log2(height) - 5]).toBe(widest);
  });
});
