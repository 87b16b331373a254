// Rows of very different lengths in the order in which a kernel takes them.

import { type StreamTable, streamColumn, streamRows } from './row-stream.js';

/** The rows of a pattern by descending length, the longest ones cut into segments. */
export interface RowBins {
  /** Rows and segments. */
  readonly items: number;
  readonly segments: number;
  /** Rows that are cut. */
  readonly longRows: number;
  /** Most entries of an item. */
  readonly limit: number;
  /** How many items have at least 2^i entries: they come first. */
  readonly atLeast: readonly number[];
  /**
   * [items, 4]: first and past the last entry; row or, of a segment, ~slot; 0; then [longRows, 3]: row, first and past its last slot.
   * Items of the same power of two keep their order. Then come the tables of `stream` and `column`, and the steps of `stream`.
   */
  readonly table: Int32Array;
  readonly stream: PlacedTable;
  /** For products with one column. */
  readonly column: PlacedTable;
  /** Where the steps begin in `table`, four an element. */
  readonly stepsAt: number;
}

/** What is known of a table, and where in `RowBins.table` it begins. */
export type PlacedTable = Omit<StreamTable, 'table'> & { readonly at: number };

/** A row is cut past this many entries, or past four times the mean. A power of two. */
const shortestSegment = 512;

/** Many short rows are taken one after another by each group of threads, which the table is for as well. */
const manyRows = 4096;
const shortMean = 32;

/** @internal Undefined where rows are few or long, and about equally so. */
export function binRows(rowPointers: Int32Array, longestRow: number): RowBins | undefined {
  const rows = rowPointers.length - 1;
  const mean = rowPointers[rows] / Math.max(1, rows);
  const even = longestRow <= 1.5 * mean + 8;
  const manyShort = rows >= manyRows && mean <= shortMean;
  if (even && !manyShort) return undefined;
  const limit = Math.max(shortestSegment, 2 ** Math.ceil(Math.log2(4 * mean)));
  const counts = new Array<number>(Math.log2(limit) + 2).fill(0);
  let items = 0;
  let segments = 0;
  let longRows = 0;
  for (let row = 0; row < rows; ++row) {
    const length = rowPointers[row + 1] - rowPointers[row];
    const whole = Math.floor(length / limit);
    const rest = length - whole * limit;
    if (length > limit) {
      ++longRows;
      segments += whole + (rest > 0 ? 1 : 0);
    }
    counts[counts.length - 1] += whole;
    if (rest > 0 || length === 0) ++counts[binOf(rest)];
    items += whole + (rest > 0 || length === 0 ? 1 : 0);
  }
  const starts = startsOf(counts);
  const steps = new Uint8Array(rowPointers[rows]);
  const streams = [streamRows(rowPointers, steps), streamColumn(rowPointers)];
  const stream = placed(streams[0], aligned(4 * items + 3 * longRows));
  const column = placed(streams[1], aligned(stream.at + streams[0].table.length));
  const stepsAt = aligned(column.at + streams[1].table.length);
  const table = new Int32Array(stepsAt + Math.ceil(steps.length / 4));
  table.set(streams[0].table, stream.at);
  table.set(streams[1].table, column.at);
  new Uint8Array(table.buffer).set(steps, 4 * stepsAt);
  let slot = 0;
  let next = 4 * items;
  for (let row = 0; row < rows; ++row) {
    const [first, end] = [rowPointers[row], rowPointers[row + 1]];
    const cut = end - first > limit;
    const firstSlot = slot;
    for (let at = first; ; at += limit) {
      const past = Math.min(at + limit, end);
      const place = 4 * starts[binOf(past - at)]++;
      table[place] = at;
      table[place + 1] = past;
      table[place + 2] = cut ? ~slot++ : row;
      if (past === end) break;
    }
    if (!cut) continue;
    table[next++] = row;
    table[next++] = firstSlot;
    table[next++] = slot;
  }
  const atLeast: number[] = [];
  // Bin i + 1 holds 2^i to 2^(i + 1) - 1 entries; starts now tell where each bin ends.
  for (let bin = 1; bin < counts.length; ++bin) atLeast.push(starts[bin]);
  return Object.freeze({ items, segments, longRows, limit, atLeast, table, stream, column, stepsAt });
}

function placed(table: StreamTable, at: number): PlacedTable {
  const { items, segments, longRows, blockItems, warpItems, longest, stretch } = table;
  return { items, segments, longRows, blockItems, warpItems, longest, stretch, at };
}

/** Elements of 4 bytes up to where 16 bytes begin. */
function aligned(elements: number): number {
  return 4 * Math.ceil(elements / 4);
}

/** 0 for no entry, 1 for one, 2 for two and three, 3 for four to seven, ... */
function binOf(entries: number): number {
  return 32 - Math.clz32(entries);
}

/** Where each bin begins, the last one first. */
function startsOf(counts: readonly number[]): number[] {
  const starts = new Array<number>(counts.length);
  let at = 0;
  for (let bin = counts.length - 1; bin >= 0; --bin) {
    starts[bin] = at;
    at += counts[bin];
  }
  return starts;
}
