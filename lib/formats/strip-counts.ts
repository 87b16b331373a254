// How many columns the strips of rows of a pattern store anything in, counted on the host.

import { type StripHeight, stripStep } from '../backends/calls/spmm.js';
import { panelTiles, type SharedPanels, shared } from './tile-counts.js';

export interface StripCounts {
  /** By the rows of a strip: the columns of strips, filled up to a multiple of `stripStep`, in the place of tiles of panels. */
  readonly strips: { readonly [Rows in StripHeight]: SharedPanels<Rows> };
  /** Most columns from the first to the last of a strip of 8 rows. */
  readonly span: number;
}

/** Strips of wider patterns are not worth the memory of counting them. */
const widestCounted = 2 ** 26;
/** One strip in so many tells whether the others are counted: counting takes about as long as checking the pattern. */
const sampling = 16;
/** Entries for each column of a strip of 8 rows, below which strips gain nothing. */
const leastShared = 1.35;

/** Columns of a part of a strip that is cut, at least about. */
const shortestPart = 256;

/** CSR; undefined where few rows share columns with their neighbours. */
export function countStrips(
  pointers: Int32Array,
  indices: Int32Array,
  columns: number,
): StripCounts | undefined {
  const rows = pointers.length - 1;
  if (columns > widestCounted || pointers[rows] === 0) return undefined;
  // By column the last strip, from 1 on, that was found to store anything in it.
  const met8 = new Int32Array(columns);
  const strips = (rows + 7) >> 3;
  const every = strips < 4 * sampling ? 1 : sampling;
  let [entries, shared] = [0, 0];
  for (let strip = 0; strip < strips; strip += every) {
    const end = pointers[Math.min(rows, 8 * strip + 8)];
    for (let i = pointers[8 * strip]; i < end; ++i) {
      if (met8[indices[i]] === strip + 1) ++shared;
      else met8[indices[i]] = strip + 1;
    }
    entries += end - pointers[8 * strip];
  }
  if (entries < leastShared * (entries - shared)) return undefined;
  return countAllStrips(pointers, indices, met8.fill(0));
}

/** @internal Whatever they share; `met8` [columns] is of zeros. */
export function countAllStrips(pointers: Int32Array, indices: Int32Array, met8: Int32Array): StripCounts {
  const rows = pointers.length - 1;
  const met4 = new Int32Array(met8.length);
  const [counts4, counts8] = [new Int32Array((rows + 3) >> 2), new Int32Array((rows + 7) >> 3)];
  let [span, lowest, highest] = [0, 0, 0];
  for (let row = 0; row < rows; ++row) {
    const [strip4, strip8] = [row >> 2, row >> 3];
    const [first, end] = [pointers[row], pointers[row + 1]];
    if ((row & 7) === 0) [lowest, highest] = [met8.length, -1];
    if (first < end) {
      if (indices[first] < lowest) lowest = indices[first];
      if (indices[end - 1] > highest) highest = indices[end - 1];
      if (highest - lowest >= span) span = highest - lowest + 1;
    }
    for (let i = first; i < end; ++i) {
      const column = indices[i];
      // A column that was met has been met by the strip around it.
      if (met4[column] === strip4 + 1) continue;
      met4[column] = strip4 + 1;
      ++counts4[strip4];
      if (met8[column] === strip8 + 1) continue;
      met8[column] = strip8 + 1;
      ++counts8[strip8];
    }
  }
  return { strips: { 4: filledUp(4, counts4), 8: filledUp(8, counts8) }, span };
}

function filledUp<Rows extends StripHeight>(rows: Rows, counts: Int32Array): SharedPanels<Rows> {
  for (let i = 0; i < counts.length; ++i) counts[i] = (counts[i] + stripStep - 1) & -stripStep;
  return shared(panelTiles(rows, counts, shortestPart, stripStep));
}
