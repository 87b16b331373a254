// Four-bit integers in 32-bit words: the layouts of the checkpoint formats, and our own.
// Everywhere nibble i of a word is (word >> 4 i) & 15.

/** Words of either sign: the same bits. */
export type Words = Int32Array | Uint32Array;

/** AWQ ("gemm") stores column 8 w + i of a word's eight in nibble awqOrder[i]. */
const awqOrder = [0, 4, 1, 5, 2, 6, 3, 7];
const plainOrder = [0, 1, 2, 3, 4, 5, 6, 7];

/** Words that hold `count` nibbles. */
export function wordsFor(count: number): number {
  return Math.ceil(count / 8);
}

/** words[rows, ceil(columns / 8)] -> [rows, columns], packed along the columns. */
export function unpackAlongColumns(
  words: Words,
  rows: number,
  columns: number,
  order: 'plain' | 'awq' = 'plain',
): Uint8Array {
  const values = new Uint8Array(rows * columns);
  const nibbles = order === 'awq' ? awqOrder : plainOrder;
  const stride = wordsFor(columns);
  for (let row = 0; row < rows; ++row) {
    for (let column = 0; column < columns; ++column) {
      const word = words[row * stride + (column >> 3)];
      values[row * columns + column] = (word >>> (4 * nibbles[column & 7])) & 15;
    }
  }
  return values;
}

/** words[ceil(rows / 8), columns] -> [rows, columns], packed along the rows. */
export function unpackAlongRows(words: Words, rows: number, columns: number): Uint8Array {
  const values = new Uint8Array(rows * columns);
  for (let row = 0; row < rows; ++row) {
    const start = (row >> 3) * columns;
    const shift = 4 * (row & 7);
    for (let column = 0; column < columns; ++column) {
      values[row * columns + column] = (words[start + column] >>> shift) & 15;
    }
  }
  return values;
}

/** [rows, columns] -> [columns, rows] */
export function transpose<T extends Uint8Array | Float64Array>(values: T, rows: number, columns: number): T {
  const result = new (values.constructor as new (length: number) => T)(values.length);
  // In tiles: a plain transposition of a large matrix misses the cache at every write.
  const tile = 64;
  for (let top = 0; top < rows; top += tile) {
    const bottom = Math.min(top + tile, rows);
    for (let left = 0; left < columns; left += tile) {
      const right = Math.min(left + tile, columns);
      for (let row = top; row < bottom; ++row) {
        for (let column = left; column < right; ++column) {
          result[column * rows + row] = values[row * columns + column];
        }
      }
    }
  }
  return result;
}

/**
 * u[n, k] in 0..15 -> words[n, ceil(k / 8)], the internal layout. Stored column j is column permutation[j] of u;
 * unused nibbles of a row's last word are 0.
 */
export function packRows(u: Uint8Array, n: number, k: number, permutation?: Int32Array): Int32Array {
  const stride = wordsFor(k);
  const words = new Int32Array(n * stride);
  for (let row = 0; row < n; ++row) {
    for (let column = 0; column < k; ++column) {
      const value = u[row * k + (permutation === undefined ? column : permutation[column])];
      words[row * stride + (column >> 3)] |= value << (4 * (column & 7));
    }
  }
  return words;
}
