// Which cases a device runs, and what is said of the others.

import { binRows } from '../lib/formats/row-bins.js';
import { type Device, openDevice } from '../lib/index.js';
import { type CardNeeds, lackOf } from '../lib/planning/plan-device.js';
import { floatDTypes } from '../lib/tensor/dtype.js';
import { allCases } from './cases/index.js';
import { drawPattern, patternName } from './cases/sparse-patterns.js';
import { variantSpecsOf } from './cases/spmm-variants.js';
import { withCard } from './harness/cards.js';
import { a100, a6000, h200 } from './harness/plan-features.js';
import { Random } from './harness/random.js';
import { leftOutLines, runCases, tallyTable } from './harness/suite.js';

let device: Device;
beforeEach(async () => {
  device = await openDevice('cpu');
});
afterEach(() => device.dispose());

const [first] = allCases.filter(({ reduced, dtype }) => reduced && dtype === 'float32');
const cases = (
  [
    ['anywhere', undefined],
    ['clusters', { clusters: true }],
    ['more clusters', { clusters: true, sharedMemory: 200_000 }],
    ['memory of an A100', { sharedMemory: 102_400 }],
    ['memory of an H200', { sharedMemory: 197_632 }],
  ] satisfies (readonly [string, CardNeeds | undefined])[]
).map(([name, needs]) => ({ ...first, name, needs }));
const { operation } = first;

describe('runCases', () => {
  test.each([
    ['the CPU', undefined],
    ['an H200', h200],
  ])('leaves nothing out on %s', async (_name, card) => {
    if (card !== undefined) withCard(device, card);
    const { tallies, failed, leftOut } = await runCases(device, cases);
    expect(tallies).toMatchObject([{ operation, cases: cases.length, failures: 0, leftOut: 0 }]);
    expect([failed, leftOut, leftOutLines(leftOut)]).toEqual([[], [], []]);
  });

  test('counts and names what a card cannot run, and runs the rest', async () => {
    const ran: string[] = [];
    const onCase = (_index: number, { name }: { readonly name: string }) => ran.push(name);
    const { tallies, failed, leftOut } = await runCases(withCard(device, a100), cases, onCase);
    expect(ran).toEqual(['anywhere', 'memory of an A100']);
    expect(tallies).toMatchObject([{ operation, cases: 2, failures: 0, leftOut: 3 }]);
    expect(failed).toEqual([]);
    expect(leftOut).toEqual([
      { operation, name: 'clusters', needs: 'compute capability 9.0' },
      { operation, name: 'more clusters', needs: 'compute capability 9.0' },
      { operation, name: 'memory of an H200', needs: '193 KiB of shared memory a block' },
    ]);
    expect(leftOutLines(leftOut)).toEqual([
      '2 cases left out: they need compute capability 9.0',
      '1 case left out: it needs 193 KiB of shared memory a block',
    ]);
    expect(tallyTable(tallies)).toMatch(/left out[\s\S]* 2 │ +0 │ +3 │/);
  });
});

test('cards without clusters have cases of every kind of kernel, small ones too', () => {
  const kinds = [
    ' tiles ',
    ' panel ',
    ' strips ',
    ' stream ',
    ' bins ',
    ' group ',
    ' staged ',
    ' gather ',
    ' rows ',
  ];
  for (const card of [a100, a6000]) {
    const left = allCases.filter(({ needs = {} }) => lackOf(card, needs) === undefined);
    for (const kind of [...kinds, ' padded tiles ', ' padded panel ']) {
      expect(left.filter(({ name }) => name.includes(kind)).length).toBeGreaterThan(4);
    }
    for (const kind of kinds) {
      expect(left.filter(({ name, reduced }) => reduced && name.includes(kind)).length).toBeGreaterThan(4);
    }
  }
});

test('row bins and streams of spmm are forced over rows of different lengths, for which there are tables', () => {
  const specs = floatDTypes
    .flatMap(variantSpecsOf)
    .filter(({ forced }) => ['row-bins', 'stream'].includes(forced?.plan.variant ?? ''));
  const patterns = new Map(specs.map(({ pattern }) => [patternName(pattern), pattern]));
  expect(patterns.size).toBeGreaterThan(5);
  for (const [name, pattern] of patterns) {
    const { rowPointers } = drawPattern(pattern, new Random(name));
    const lengths = rowPointers.subarray(1).map((end, row) => end - rowPointers[row]);
    expect([name, binRows(rowPointers, Math.max(...lengths)) !== undefined]).toEqual([name, true]);
  }
});
