// Matrix Market exchange format: R. F. Boisvert, R. Pozo, K. A. Remington, "The Matrix Market Exchange Formats:
// Initial Design", NISTIR 5935, 1996.

import { maxInt32 } from '../validate.js';
import { readWhole } from './files.js';
import { type Coordinates, type HostCsr, maxDimension, toCsr } from './host-csr.js';
import { TextScanner } from './text-scanner.js';

type Field = 'real' | 'integer' | 'pattern';
type Symmetry = 'general' | 'symmetric' | 'skew-symmetric';

interface Header {
  readonly layout: 'coordinate' | 'array';
  readonly field: Field;
  readonly symmetry: Symmetry;
}

/**
 * Reads a Matrix Market file (.mtx): coordinate or array; real, integer or pattern; general, symmetric or
 * skew-symmetric. Symmetric files are expanded to both triangles; of an array file the zeros are dropped. Explicit
 * zeros of a coordinate file are kept.
 * @throws WarptileError ERR_ARGUMENT where the file cannot be read, ERR_FORMAT (with line and column) where it is
 * malformed: a position given twice counts as that, for the format leaves open what it would mean.
 */
export async function readMatrixMarket(file: string): Promise<HostCsr> {
  return parseMatrixMarket(await readWhole(file), file);
}

/** As `readMatrixMarket`, from bytes in memory; `name` stands for the file in messages. */
export function parseMatrixMarket(bytes: Uint8Array, name = 'matrix'): HostCsr {
  const scanner = new TextScanner(bytes, name);
  const header = readHeader(scanner);
  while (scanner.nextLine() && scanner.peek() === '%') scanner.restOfLine();
  const limit = maxDimension(bytes.length);
  const rows = scanner.integer('rows', 0, limit);
  const columns = scanner.integer('columns', 0, limit);
  if (header.symmetry !== 'general' && rows !== columns) {
    scanner.fail('columns', `${rows} columns, since a ${header.symmetry} matrix is square`, columns);
  }
  const shape = [rows, columns] as const;
  const entries =
    header.layout === 'coordinate' ? readEntries(scanner, header, shape) : readArray(scanner, header, shape);
  scanner.endText();
  return toCsr(name, header.symmetry === 'general' ? entries : mirrored(entries, header.symmetry));
}

function readHeader(scanner: TextScanner): Header {
  const line = scanner.remaining > 0 ? scanner.restOfLine() : '';
  const [banner, object, layout, field, symmetry, ...rest] = line.trim().toLowerCase().split(/\s+/);
  const fits =
    banner === '%%matrixmarket' &&
    object === 'matrix' &&
    (layout === 'coordinate' || layout === 'array') &&
    (field === 'real' || field === 'integer' || (field === 'pattern' && layout === 'coordinate')) &&
    (symmetry === 'general' || symmetry === 'symmetric' || symmetry === 'skew-symmetric') &&
    !(field === 'pattern' && symmetry === 'skew-symmetric') &&
    rest.length === 0;
  if (!fits) {
    const expected =
      "'%%MatrixMarket matrix', then coordinate or array, real, integer or pattern, general, symmetric or skew-symmetric";
    return scanner.fail('header', expected, line);
  }
  return { layout, field, symmetry };
}

function readEntries(scanner: TextScanner, header: Header, shape: readonly [number, number]): Coordinates {
  const { field, symmetry } = header;
  // The shortest entry is '1 1' or '1 1 1' and a newline, which the last may lack.
  const entryBytes = field === 'pattern' ? 4 : 6;
  const count = scanner.integer('number of entries', 0, maxInt32);
  scanner.endLine();
  const most = Math.floor((scanner.remaining + 1) / entryBytes);
  if (count > most) {
    scanner.fail('number of entries', `at most ${most}, since ${scanner.remaining} bytes follow`, count);
  }
  const rows = new Int32Array(count);
  const columns = new Int32Array(count);
  const values = field === 'pattern' ? undefined : new Float64Array(count);
  const triangle = symmetry === 'general' ? 0 : symmetry === 'symmetric' ? 1 : 2;
  for (let entry = 0; entry < count; ++entry) {
    if (!scanner.nextLine()) scanner.fail('entries', `${count} of them`, `${entry}`);
    const row = scanner.integer('row', 1, shape[0]);
    const column = scanner.integer('column', 1, shape[1]);
    if (triangle !== 0 && column - row > 1 - triangle) {
      scanner.fail(
        'column',
        `one in the lower triangle, as ${symmetry} files have it`,
        `(${row}, ${column})`,
      );
    }
    rows[entry] = row - 1;
    columns[entry] = column - 1;
    if (values !== undefined) values[entry] = readValue(scanner, field);
    scanner.endLine();
  }
  return { shape, count, rows, columns, ...(values === undefined ? {} : { values }) };
}

/** Columns one after another, of symmetric matrices the lower triangle alone. */
function readArray(scanner: TextScanner, header: Header, shape: readonly [number, number]): Coordinates {
  const { field, symmetry } = header;
  scanner.endLine();
  const [m, n] = shape;
  const skipped =
    symmetry === 'general' ? 0 : symmetry === 'symmetric' ? (m * (m - 1)) / 2 : (m * (m + 1)) / 2;
  const total = m * n - skipped;
  const most = Math.floor((scanner.remaining + 1) / 2);
  if (total > most)
    scanner.fail('size', `at most ${most} entries, since ${scanner.remaining} bytes follow`, total);
  const rows = new Int32Array(total);
  const columns = new Int32Array(total);
  const values = new Float64Array(total);
  let count = 0;
  for (let column = 0; column < n; ++column) {
    const first = symmetry === 'general' ? 0 : symmetry === 'symmetric' ? column : column + 1;
    for (let row = first; row < m; ++row) {
      if (!scanner.nextLine()) scanner.fail('entries', `${total} of them`, 'fewer');
      const value = readValue(scanner, field);
      scanner.endLine();
      if (value === 0) continue;
      rows[count] = row;
      columns[count] = column;
      values[count++] = value;
    }
  }
  return { shape, count, rows, columns, values };
}

function readValue(scanner: TextScanner, field: Field): number {
  const value = scanner.number('value');
  if (field === 'integer' && !Number.isSafeInteger(value))
    scanner.fail('value', 'an integer below 2^53', value);
  return value;
}

/** Both triangles from the lower one. */
function mirrored(lower: Coordinates, symmetry: Symmetry): Coordinates {
  let below = 0;
  for (let entry = 0; entry < lower.count; ++entry) if (lower.rows[entry] !== lower.columns[entry]) ++below;
  const count = lower.count + below;
  const rows = new Int32Array(count);
  const columns = new Int32Array(count);
  const values = lower.values === undefined ? undefined : new Float64Array(count);
  const sign = symmetry === 'skew-symmetric' ? -1 : 1;
  let next = 0;
  for (let entry = 0; entry < lower.count; ++entry) {
    const [row, column] = [lower.rows[entry], lower.columns[entry]];
    rows[next] = row;
    columns[next] = column;
    if (values !== undefined && lower.values !== undefined) values[next] = lower.values[entry];
    ++next;
    if (row === column) continue;
    rows[next] = column;
    columns[next] = row;
    if (values !== undefined && lower.values !== undefined) values[next] = sign * lower.values[entry];
    ++next;
  }
  return { shape: lower.shape, count, rows, columns, ...(values === undefined ? {} : { values }) };
}
