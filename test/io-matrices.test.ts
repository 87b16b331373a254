import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { parseMatrixMarket, parseSmtx, readMatrixMarket, readSmtx, WarptileError } from '../lib/index.js';

const bytes = (text: string): Uint8Array => Buffer.from(text, 'latin1');
const plain = (matrix: ReturnType<typeof parseMatrixMarket>) => ({
  shape: matrix.shape,
  rowPointers: [...matrix.rowPointers],
  columnIndices: [...matrix.columnIndices],
  ...(matrix.values === undefined ? {} : { values: [...matrix.values] }),
});
const coordinate = (kind: string, ...lines: string[]): string =>
  [`%%MatrixMarket matrix coordinate ${kind}`, '% a comment', ...lines, ''].join('\n');

describe('Matrix Market', () => {
  test('general real entries in any order become sorted rows', () => {
    const text = coordinate('real general', '3 4 5', '3 2 -2.5e-3', '1 4 1', '1 1 .5', '3 1 +4D2', '1 3 7.');
    expect(plain(parseMatrixMarket(bytes(text)))).toEqual({
      shape: [3, 4],
      rowPointers: [0, 3, 3, 5],
      columnIndices: [0, 2, 3, 0, 1],
      values: [0.5, 7, 1, 400, -2.5e-3],
    });
  });

  test('symmetric, skew-symmetric and pattern files are expanded', () => {
    const symmetric = coordinate('integer symmetric', '3 3 3', '1 1 5', '3 1 -2', '3 2 4');
    expect(plain(parseMatrixMarket(bytes(symmetric)))).toEqual({
      shape: [3, 3],
      rowPointers: [0, 2, 3, 5],
      columnIndices: [0, 2, 2, 0, 1],
      values: [5, -2, 4, -2, 4],
    });
    const skew = coordinate('real skew-symmetric', '2 2 1', '2 1 3');
    expect(plain(parseMatrixMarket(bytes(skew))).values).toEqual([-3, 3]);
    const pattern = coordinate('pattern symmetric', '2 2 2', '2 1', '2 2');
    expect(plain(parseMatrixMarket(bytes(pattern)))).toEqual({
      shape: [2, 2],
      rowPointers: [0, 1, 3],
      columnIndices: [1, 0, 1],
    });
  });

  test('array files go by columns and lose their zeros', () => {
    const general = '%%MatrixMarket matrix array real general\n2 3\n1\n0\n2\n3\n0\n4\n';
    expect(plain(parseMatrixMarket(bytes(general)))).toEqual({
      shape: [2, 3],
      rowPointers: [0, 2, 4],
      columnIndices: [0, 1, 1, 2],
      values: [1, 2, 3, 4],
    });
    const symmetric = '%%MatrixMarket matrix array integer symmetric\n2 2\n1\n2\n3\n';
    expect(plain(parseMatrixMarket(bytes(symmetric))).values).toEqual([1, 2, 2, 3]);
    const skew = '%%MatrixMarket matrix array integer skew-symmetric\n3 3\n1\n2\n3\n';
    expect(plain(parseMatrixMarket(bytes(skew))).values).toEqual([-1, -2, 1, -3, 2, 3]);
  });

  test('Windows line ends, blank lines, tabs, empty matrices, infinities', () => {
    const text =
      '%%MatrixMarket matrix coordinate real general\r\n\r\n2\t2 2\r\n\r\n1 1 inf\r\n2  2\t-Infinity \r\n\r\n';
    expect(plain(parseMatrixMarket(bytes(text))).values).toEqual([Infinity, -Infinity]);
    expect(plain(parseMatrixMarket(bytes(coordinate('real general', '0 0 0'))))).toMatchObject({
      rowPointers: [0],
    });
    expect(plain(parseMatrixMarket(bytes(coordinate('pattern general', '2 5 0')))).rowPointers).toEqual([
      0, 0, 0,
    ]);
  });

  test('numbers are the nearest float64', () => {
    fc.assert(
      fc.property(
        fc.double({ noDefaultInfinity: true, noNaN: true }),
        fc.integer({ min: 0, max: 2 }),
        (value, style) => {
          const text = [String(value), value.toExponential(), value.toPrecision(17)][style];
          const matrix = parseMatrixMarket(bytes(coordinate('real general', '1 1 1', `1 1 ${text}`)));
          expect(matrix.values?.[0]).toBe(Number(text));
        },
      ),
    );
  });

  test.each([
    ['no banner', '3 3 0\n', /line 2, column 1: header: expected '%%MatrixMarket/],
    ['complex', '%%MatrixMarket matrix coordinate complex general\n1 1 1\n1 1 1 1\n', /header/],
    ['no size line', '%%MatrixMarket matrix coordinate real general\n% only\n', /rows.*the end of the file/],
    ['negative rows', coordinate('real general', '-3 3 0'), /line 3, column 1: rows: .* received '-3'/],
    ['fractional rows', coordinate('real general', '3.5 3 0'), /rows/],
    [
      'too many entries',
      coordinate('real general', '3 3 999', '1 1 1'),
      /number of entries: expected at most 1,/,
    ],
    [
      'huge rows',
      coordinate('real general', '2000000000 3 0'),
      /rows: expected an integer from 0 to 16777216/,
    ],
    [
      'fewer entries',
      coordinate('pattern general', '3 3 2', '1 1   '),
      /entries: expected 2 of them, received '1'/,
    ],
    ['more entries', coordinate('pattern general', '3 3 1', '1 1', '2 2'), /line 5, column 1: end of data/],
    [
      'row 0',
      coordinate('pattern general', '3 3 1', '0 1'),
      /row: expected an integer from 1 to 3, received '0'/,
    ],
    ['column past the end', coordinate('pattern general', '3 3 1', '1 4'), /line 4, column 3: column/],
    [
      'no value',
      coordinate('real general', '3 3 1', '1 1', '2 2 2'),
      /value: .* received 'the end of the line'/,
    ],
    ['a value too many', coordinate('pattern general', '3 3 1', '1 1 5'), /end of entry/],
    [
      'a bad value',
      coordinate('real general', '3 3 1', '1 1 0x10'),
      /value: expected a number, received '0x10'/,
    ],
    ['a fraction', coordinate('integer general', '3 3 1', '1 1 1.5'), /expected an integer/],
    ['a duplicate', coordinate('real general', '3 3 2', '2 1 1', '2 1 1'), /\(2, 1\) twice/],
    ['the upper triangle', coordinate('real symmetric', '3 3 1', '1 2 1'), /lower triangle/],
    ['a skew diagonal', coordinate('real skew-symmetric', '3 3 1', '2 2 1'), /lower triangle/],
    ['not square', coordinate('real symmetric', '3 4 0'), /square/],
    [
      'array too short',
      '%%MatrixMarket matrix array real general\n2 2\n1\n2\n3\n',
      /line 6.*4 of them|at most 3/,
    ],
    ['huge array', '%%MatrixMarket matrix array real general\n9000000 9000000\n1\n', /at most 1 entries/],
  ])('%s', (_, text, message) => {
    expect(formatError(() => parseMatrixMarket(bytes(text), 'a.mtx'))).toMatch(message);
  });

  test('fuzz: every input gives a matrix or ERR_FORMAT', () => {
    const valid = coordinate('real general', '3 4 5', '3 2 -2.5e-3', '1 4 1', '1 1 .5', '3 1 +4D2', '1 3 7.');
    fuzz(valid, (input) => wellFormed(parseMatrixMarket(input)));
    fuzz(coordinate('pattern symmetric', '3 3 2', '2 1', '3 3'), (input) =>
      wellFormed(parseMatrixMarket(input)),
    );
  });
});

describe('.smtx', () => {
  const valid = '3, 4, 5\n0 2 2 5\n1 3 3 0 2\n';

  test('rows are sorted', () => {
    expect(plain(parseSmtx(bytes(valid)))).toEqual({
      shape: [3, 4],
      rowPointers: [0, 2, 2, 5],
      columnIndices: [1, 3, 0, 2, 3],
    });
    expect(plain(parseSmtx(bytes('2,2,0\r\n0 0 0\r\n\r\n'))).rowPointers).toEqual([0, 0, 0]);
    expect(plain(parseSmtx(bytes('0 0 0\n0'))).rowPointers).toEqual([0]);
  });

  test.each([
    ['empty', '', /rows: .* received 'the end of the file'/],
    ['too many entries', '3, 4, 500\n0 2 2 5\n1 3 3 0 2\n', /size: expected at most 9 numbers/],
    ['huge', '3, 4, 2000000000\n0 2 2 5\n1 3 3 0 2\n', /size/],
    [
      'not from 0',
      '3, 4, 5\n1 2 2 5\n1 3 3 0 2\n',
      /row pointer 0: expected an integer from 0 to 0, received '1'/,
    ],
    [
      'falling',
      '3, 4, 5\n0 2 1 5\n1 3 3 0 2\n',
      /row pointer 2: expected an integer from 2 to 5, received '1'/,
    ],
    [
      'wrong end',
      '3, 4, 5\n0 2 2 4\n1 3 3 0 2\n',
      /row pointer 3: expected an integer from 5 to 5, received '4'/,
    ],
    ['column out of range', '3, 4, 5\n0 2 2 5\n1 3 3 0 4\n', /line 3, column 9: column index 4/],
    ['duplicate', '3, 4, 5\n0 2 2 5\n1 1 3 0 2\n', /\(1, 2\) twice/],
    ['columns missing', '3, 4, 5\n0 2 2 5\n1 3 3 0     \n', /column index 4/],
    ['pointers missing', '3, 4, 5\n0 2 2\n1 3 3 0 2    \n', /row pointer 3: .*the end of the line/],
    ['more data', '3, 4, 5\n0 2 2 5\n1 3 3 0 2\n7\n', /end of data/],
  ])('%s', (_, text, message) => {
    expect(formatError(() => parseSmtx(bytes(text), 'a.smtx'))).toMatch(message);
  });

  test('fuzz: every input gives a matrix or ERR_FORMAT', () => {
    fuzz(valid, (input) => wellFormed(parseSmtx(input)));
  });
});

describe('files', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'warptile-'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  test.each([
    ['bcspwr10.mtx', [5300, 5300], 21842],
    ['mbeacxc.mtx', [492, 492], 49920],
    ['wordnet-synsets-20000.mtx', [20000, 20000], 65512],
  ])('bundled %s', async (name, shape, entries) => {
    const matrix = await readMatrixMarket(path.join(__dirname, '../bench/data', name));
    wellFormed(matrix);
    expect(matrix.shape).toEqual(shape);
    expect(matrix.columnIndices.length).toBe(entries);
  });

  test('a missing file and a folder are arguments that do not fit', async () => {
    await expect(readMatrixMarket(path.join(folder, 'none.mtx'))).rejects.toMatchObject({
      code: 'ERR_ARGUMENT',
      message: expect.stringContaining('ENOENT'),
    });
    await expect(readSmtx(folder)).rejects.toMatchObject({ code: 'ERR_ARGUMENT' });
    await expect(readSmtx(7 as never)).rejects.toMatchObject({ code: 'ERR_ARGUMENT' });
  });

  test('errors name the file', async () => {
    const file = path.join(folder, 'bad.smtx');
    writeFileSync(file, '3, 4\n');
    await expect(readSmtx(file)).rejects.toMatchObject({
      code: 'ERR_FORMAT',
      message: expect.stringContaining(`${file}: line 1`),
    });
  });
});

function wellFormed({
  shape,
  rowPointers,
  columnIndices,
  values,
}: ReturnType<typeof parseMatrixMarket>): void {
  expect(rowPointers.length).toBe(shape[0] + 1);
  expect(rowPointers[0]).toBe(0);
  expect(rowPointers[shape[0]]).toBe(columnIndices.length);
  if (values !== undefined) expect(values.length).toBe(columnIndices.length);
  let inOrder = true;
  for (let row = 0; row < shape[0]; ++row) {
    inOrder &&= rowPointers[row] <= rowPointers[row + 1];
    for (let slot = rowPointers[row]; slot < rowPointers[row + 1]; ++slot) {
      const column = columnIndices[slot];
      inOrder &&= column < shape[1] && column > (slot > rowPointers[row] ? columnIndices[slot - 1] : -1);
    }
  }
  expect(inOrder).toBe(true);
}

function formatError(body: () => unknown): string {
  try {
    body();
  } catch (error) {
    if (error instanceof WarptileError && error.code === 'ERR_FORMAT') return error.message;
    throw error;
  }
  throw new Error('expected ERR_FORMAT');
}

/** Random bytes, and valid text with stretches replaced, cut out or repeated. */
function fuzz(valid: string, parse: (input: Uint8Array) => void): void {
  const edit = fc.record({
    at: fc.nat(valid.length),
    cut: fc.nat(6),
    insert: fc.oneof(
      fc.constantFrom('9', '-', '\n', ' ', '99999999999', '1e999', 'NaN', '%', ',', '1 1\n', ''),
      fc.string({ maxLength: 4, unit: 'binary' }),
    ),
  });
  const mutated = fc
    .array(edit, { minLength: 1, maxLength: 4 })
    .map((edits) =>
      edits.reduce((text, { at, cut, insert }) => text.slice(0, at) + insert + text.slice(at + cut), valid),
    );
  const input = fc.oneof(
    mutated.map((text) => bytes(text)),
    fc.uint8Array({ maxLength: 64 }),
    fc.uint8Array({ maxLength: 64 }).map((tail) => Buffer.concat([bytes(valid.slice(0, 50)), tail])),
  );
  fc.assert(
    fc.property(input, (data) => {
      try {
        parse(data);
      } catch (error) {
        if (!(error instanceof WarptileError) || error.code !== 'ERR_FORMAT') throw error;
      }
    }),
    { numRuns: 400 },
  );
}
