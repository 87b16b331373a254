// Plans on cards without clusters, or with less shared memory than an H200.

import { type Device, explainSpmm, openDevice } from '../lib/index.js';
import { sddmmNeeds } from '../lib/ops/sddmm-needs.js';
import { type SddmmFeatures, selectSddmm, tilePlans } from '../lib/ops/sddmm-plan.js';
import { sddmmPlansToMeasure } from '../lib/ops/sddmm-tuned.js';
import { spmmNeeds } from '../lib/ops/spmm-needs.js';
import { type SpmmFeatures, selectSpmm } from '../lib/ops/spmm-plan.js';
import { spmmPlansToMeasure } from '../lib/ops/spmm-tuned.js';
import { lackOf, type PlanDevice, planDevice } from '../lib/planning/plan-device.js';
import { withCard } from './harness/cards.js';
import { a100, a6000, h200, sddmmFeatures, spmmFeatures } from './harness/plan-features.js';
import { Random } from './harness/random.js';
import { randomSddmmFeatures, randomSpmmFeatures } from './harness/random-problems.js';

const cards = [
  ['compute capability 8.0', a100],
  ['compute capability 8.6', a6000],
] as const;

let device: Device;
beforeEach(async () => {
  device = await openDevice('cpu');
});
afterEach(() => device.dispose());

test('a device says what planners ask of a card', () => {
  expect(planDevice(device)).toEqual(h200);
  for (const [, card] of cards) expect(planDevice(withCard(device, card))).toEqual(card);
  // Later cards run the kernels of 8.0.
  const info = { ...device.info, computeCapability: [12, 0] as const };
  expect(planDevice({ ...device, info } as Device).clusters).toBe(false);
});

const count = 400;

/** Every plan that may run: chosen, or measured. */
function spmmPlans(features: SpmmFeatures, card: PlanDevice) {
  return [
    selectSpmm(features, card).plan,
    ...spmmPlansToMeasure(features, withCard(device, card), Number.POSITIVE_INFINITY),
  ];
}
function sddmmPlans(features: SddmmFeatures, card: PlanDevice) {
  return [
    selectSddmm(features, card).plan,
    ...sddmmPlansToMeasure(features, withCard(device, card), Number.POSITIVE_INFINITY),
  ];
}

describe.each(cards)('on %s', (name, card) => {
  test('every plan of spmm fits', () => {
    const random = new Random(`spmm ${name}`);
    let others = 0;
    for (let i = 0; i < count; ++i) {
      const features = randomSpmmFeatures(random);
      const { dtype, tiles } = features;
      const lacks = (plan: ReturnType<typeof spmmPlans>[number]) =>
        lackOf(card, spmmNeeds(plan, dtype, tiles?.rows ?? 0));
      expect(spmmPlans(features, card).map(lacks).filter(Boolean)).toEqual([]);
      if (spmmPlans(features, h200).some(lacks)) ++others;
    }
    expect(others).toBeGreaterThan(count / 10);
  });

  test('every plan of sddmm fits', () => {
    const random = new Random(`sddmm ${name}`);
    let others = 0;
    for (let i = 0; i < count; ++i) {
      const features = randomSddmmFeatures(random);
      const lacks = (plan: ReturnType<typeof sddmmPlans>[number]) =>
        lackOf(card, sddmmNeeds(plan, features.dtype, features.depth));
      expect(sddmmPlans(features, card).map(lacks).filter(Boolean)).toEqual([]);
      if (sddmmPlans(features, h200).some(lacks)) ++others;
    }
    expect(others).toBeGreaterThan(count / 100);
  });
});

const dense = sddmmFeatures({ dtype: 'float32', depth: 512 });

describe('shared memory', () => {
  // As launched on a card: a stage for each 128 bytes of a row, until there are as many as the kernel has.
  test.each([
    ['float16', 'tiles', 512, [98_432, 98_560, 98_816]],
    ['bfloat16', 'tiles', 64, [12_416, 18_688, 70_144]],
    ['float32', 'tiles', 512, [73_856, 49_408]],
    ['float32', 'staged', 512, [36_992, 49_408, 66_048, 132_096]],
    ['float32', 'staged', 64, [24_704, 33_024, 66_048, 132_096]],
    ['float32', 'staged', 32, [12_416, 16_640, 33_280, 66_560]],
  ] as const)('%s %s of a depth of %i', (dtype, variant, depth, bytes) => {
    const plans = tilePlans({ ...dense, dtype, depth }, variant, h200);
    expect(plans.map((plan) => sddmmNeeds(plan, dtype, depth).sharedMemory)).toEqual(bytes);
  });

  test('staged takes the largest tiles for which there is room', () => {
    const rows = (depth: number, card: PlanDevice) =>
      tilePlans({ ...dense, depth }, 'staged', card).map(({ tile }) => tile);
    expect(rows(512, h200)).toContain(256);
    expect(rows(512, a100)).toEqual([32, 64, 128, 256]);
    expect(rows(64, a100)).toContain(256);
    expect(rows(512, a6000)).toEqual([32, 64, 128]);
    expect(rows(64, a6000)).toEqual([32, 64, 128]);
    expect(rows(32, a6000)).toContain(256);
  });

  test('what is lacking is said', () => {
    const mapped = [false, false, false, true];
    const { candidates } = selectSddmm({ ...dense, mapped }, a6000);
    expect(candidates.find(({ variant }) => variant === 'staged')).toEqual({
      variant: 'staged',
      problem: 'needs 129 KiB of shared memory a block',
    });
    const tiles = { rows: 64, count: 64, items: 8, longest: 8, parts: 0, most: 8 } as const;
    const problem = spmmFeatures({ dtype: 'float32', tiles });
    expect(selectSpmm(problem, a100, 'tiles').plan).toMatchObject({ columns: 128, cluster: 1 });
    expect(() => selectSpmm(problem, a6000, 'tiles')).toThrow('needs 100 KiB of shared memory a block');
  });
});

test('what is prepared on a card fits it', () => {
  const size = 1024;
  const columnIndices: number[] = [];
  const rowPointers = [0];
  for (let row = 0; row < size; ++row) {
    for (let column = (row * 3) % 5; column < size; column += 2) columnIndices.push(column);
    rowPointers.push(columnIndices.length);
  }
  const b = device.empty([size, 512]);
  for (const [card, rows] of [
    [h200, 64],
    [a6000, 32],
  ] as const) {
    withCard(device, card);
    const a = device.csr({ shape: [size, size], rowPointers, columnIndices });
    expect(a.prepare({ n: 512, variant: 'tiles' })).toBe('tiles');
    expect(a.values.tiles?.call.rows).toBe(rows);
    expect(explainSpmm(a, b).candidates.find(({ variant }) => variant === 'tiles')?.us).toBeGreaterThan(0);
  }
});
