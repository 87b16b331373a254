import { type SpmmCall, type SpmmFillStripsCall, stripStep } from '../calls/spmm.js';
import { readPattern } from './sparse-pattern.js';
import { elementsOf, readInts } from './views.js';

export function runSpmmFillStrips(call: SpmmFillStripsCall): void {
  const { rows, rowPointers, columnIndices } = readPattern(call.pattern);
  const { stripRows } = call;
  const [values, stripValues] = [elementsOf(call.values), elementsOf(call.stripValues)];
  const [stripPointers, columns] = [readInts(call.stripPointers), readInts(call.columns)];
  stripValues.fill(0);
  for (let strip = 0; strip * stripRows < rows; ++strip) {
    const first = strip * stripRows;
    const last = Math.min(rows, first + stripRows);
    const stored = columnIndices.subarray(rowPointers[first], rowPointers[last]);
    const found = [...new Set(stored)].sort((a, b) => a - b);
    const start = stripPointers[strip];
    const places = new Map(found.map((column, index) => [column, start + index]));
    while (found.length % stripStep > 0) found.push(found[found.length - 1]);
    columns.set(found, start);
    for (let row = first; row < last; ++row) {
      for (let i = rowPointers[row]; i < rowPointers[row + 1]; ++i) {
        const place = places.get(columnIndices[i]) as number;
        stripValues[place * stripRows + row - first] = values[i];
      }
    }
  }
}

/** The stored values in their order, read from the strips. */
export function valuesInStrips(call: SpmmCall): ReturnType<typeof elementsOf> {
  const { strips } = call;
  const values = elementsOf(call.values).slice();
  if (strips === undefined) return values;
  const { rowPointers, columnIndices } = readPattern(call.pattern);
  const [columns, items] = [readInts(strips.columns), readInts(strips.table)];
  const stored = elementsOf(strips.values);
  for (let item = 0; item < strips.items; ++item) {
    const [strip, first, count] = items.subarray(4 * item, 4 * item + 3);
    // What fills a strip up comes after the column that it repeats.
    const places = new Map<number, number>();
    for (let i = first + count - 1; i >= first; --i) places.set(columns[i], i);
    const last = Math.min(rowPointers.length - 1, (strip + 1) * strips.rows);
    for (let row = strip * strips.rows; row < last; ++row) {
      for (let i = rowPointers[row]; i < rowPointers[row + 1]; ++i) {
        const place = places.get(columnIndices[i]);
        if (place !== undefined) values[i] = stored[place * strips.rows + row - strip * strips.rows];
      }
    }
  }
  return values;
}
