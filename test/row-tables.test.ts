// Tables of rows by length and of equal shares of entries.

import { binRows } from '../lib/formats/row-bins.js';
import { streamColumn, streamRows } from '../lib/formats/row-stream.js';
import { Random } from './harness/random.js';

describe('binRows', () => {
  const pointers = (lengths: readonly number[]): Int32Array => {
    const result = new Int32Array(lengths.length + 1);
    lengths.forEach((length, row) => {
      result[row + 1] = result[row] + length;
    });
    return result;
  };

  test('leaves even patterns alone', () => {
    expect(binRows(pointers(new Array(5000).fill(600)), 600)).toBeUndefined();
    expect(binRows(pointers([5, 6, 5]), 6)).toBeUndefined();
    expect(binRows(pointers([]), 0)).toBeUndefined();
  });

  test('lists every row once by descending length, long ones in segments', () => {
    const random = new Random('bins');
    const lengths = Array.from({ length: 3000 }, () => random.integer(0, 70));
    lengths[0] = 4000;
    lengths[17] = 999;
    lengths[1024] = 1024;
    lengths[2999] = 513;
    const rowPointers = pointers(lengths);
    const { items, segments, longRows, limit, atLeast, table, stream } = binRows(rowPointers, 4000) ?? fail();
    expect(limit).toBe(512);
    expect(stream.at).toBe(4 * Math.ceil((4 * items + 3 * longRows) / 4));
    expect(longRows).toBe(4);
    expect(segments).toBe(8 + 2 + 2 + 2);
    expect(items).toBe(lengths.length - longRows + segments);
    const rowOf = (entry: number): number => rowPointers.findIndex((start) => start > entry) - 1;
    const sizes: number[] = [];
    const covered = new Map<number, number[]>();
    const slots = new Map<number, number>();
    for (let item = 0; item < items; ++item) {
      const [first, past, target] = table.subarray(4 * item, 4 * item + 3);
      sizes.push(past - first);
      const row = target >= 0 ? target : rowOf(first);
      covered.set(row, [...(covered.get(row) ?? []), first, past]);
      expect(target < 0).toBe(lengths[row] > limit);
      if (target < 0) slots.set(~target, row);
    }
    atLeast.forEach((count, exponent) => {
      expect(count).toBe(sizes.filter((size) => size >= 2 ** exponent).length);
      for (const size of sizes.slice(0, count)) expect(size).toBeGreaterThanOrEqual(2 ** exponent);
    });
    expect(covered.size).toBe(lengths.length);
    for (const [row, ends] of covered) {
      const sorted = ends.sort((a, b) => a - b);
      expect(sorted[0]).toBe(rowPointers[row]);
      expect(sorted[sorted.length - 1]).toBe(rowPointers[row + 1]);
      for (let i = 1; i + 1 < sorted.length; i += 2) expect(sorted[i]).toBe(sorted[i + 1]);
    }
    let next = 0;
    for (let i = 0; i < longRows; ++i) {
      const [row, first, past] = table.subarray(4 * items + 3 * i, 4 * items + 3 * i + 3);
      expect(first).toBe(next);
      for (let slot = first; slot < past; ++slot) expect(slots.get(slot)).toBe(row);
      next = past;
    }
    expect(next).toBe(segments);
  });
});

describe('streamRows and streamColumn', () => {
  // Counts of the rows' entries: long ones, empty ones in all places, more of them than a stretch or a step takes.
  const random = new Random('stream');
  const lengths = Array.from({ length: 3000 }, () => (random.unit() < 0.3 ? 0 : random.integer(1, 20)));
  lengths.fill(0, 0, 70);
  lengths.fill(0, 1000, 1300);
  lengths.fill(0, 2950);
  for (const [row, length] of [
    [0, 40],
    [71, 5000],
    [400, 17],
    [401, 64],
    [402, 65],
    [900, 20_001],
    [2000, 512],
    [2001, 513],
    [2949, 1025],
  ]) {
    lengths[row] = length;
  }
  const rowPointers = new Int32Array(lengths.length + 1);
  for (const [row, length] of lengths.entries()) rowPointers[row + 1] = rowPointers[row] + length;
  const steps = new Uint8Array(rowPointers[lengths.length]);
  const tables = { wide: streamRows(rowPointers, steps), column: streamColumn(rowPointers) };

  test.each(['wide', 'column'] as const)('write every row once from every entry: %s', (kind) => {
    const { items, segments, longRows, blockItems, warpItems, table, longest, stretch } = tables[kind];
    expect(table.length).toBe(4 * items + 3 * longRows);
    const written = new Uint8Array(lengths.length);
    const read = new Uint8Array(steps.length);
    const slots: (readonly number[] | undefined)[] = new Array(segments).fill(undefined);
    for (let item = 0; item < items; ++item) {
      const [first, past, target, extra] = table.slice(4 * item, 4 * item + 4);
      for (let entry = first; entry < past; ++entry) ++read[entry];
      if (item < blockItems + warpItems) {
        expect(past - first).toBeLessThanOrEqual(longest);
        expect(steps.subarray(first, past).every((step) => kind === 'column' || step === 0)).toBe(true);
        if (target < 0) {
          slots[~target] = [first, past];
          if (kind === 'column') expect(past - first).toBeLessThanOrEqual(2048);
        } else {
          ++written[target];
          expect([first, past]).toEqual([rowPointers[target], rowPointers[target + 1]]);
        }
      } else if (kind === 'column') {
        expect([first, past]).toEqual([rowPointers[target], rowPointers[target + extra]]);
        expect(past - first + (first % 4)).toBeLessThanOrEqual(1024);
        for (let row = target; row < target + extra; ++row) ++written[row];
      } else {
        expect(past - first).toBeLessThanOrEqual(stretch);
        let row = target - extra;
        for (let i = 0; i < extra; ++i) ++written[row++];
        for (let entry = first; entry < past; ++entry) {
          expect(entry < rowPointers[row + 1]).toBe(true);
          if (steps[entry] > 0) expect(entry).toBe(rowPointers[row + 1] - 1);
          for (let i = 0; i < steps[entry]; ++i) ++written[row++];
        }
      }
    }
    let slot = 0;
    for (let i = 0; i < longRows; ++i) {
      const [row, first, past] = table.slice(4 * items + 3 * i, 4 * items + 3 * i + 3);
      ++written[row];
      expect(first).toBe(slot);
      let at = rowPointers[row];
      for (; slot < past; ++slot) {
        expect(slots[slot]?.[0]).toBe(at);
        at = slots[slot]?.[1] ?? 0;
      }
      expect(at).toBe(rowPointers[row + 1]);
    }
    expect(slot).toBe(segments);
    expect(written.every((times) => times === 1)).toBe(true);
    expect(read.every((times) => times === 1)).toBe(true);
    expect(segments).toBeGreaterThan(0);
  });
});
