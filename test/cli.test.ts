import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const root = path.join(__dirname, '..');
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'warptile-'));
  const build = spawnSync(process.execPath, [path.join(root, 'scripts/build.mjs'), '--ts'], {
    encoding: 'utf8',
  });
  if (build.status !== 0) throw new Error(build.stdout + build.stderr);
}, 60_000);
afterAll(() => rmSync(folder, { recursive: true }));

/** The command on the CPU, from a folder that is not the package's. */
function warptile(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  const main = path.join(root, 'dist/esm/lib/cli/main.js');
  const env = {
    ...process.env,
    WARPTILE_ADDON: 'none',
    DEBUG: '',
    WARPTILE_AUTOTUNE_CACHE: path.join(folder, 'tuned.json'),
  };
  return spawnSync(process.execPath, [main, ...args], { cwd: folder, env, encoding: 'utf8' });
}

describe('warptile', () => {
  test('--version and --help', () => {
    const { version } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
    expect(warptile('--version')).toMatchObject({ status: 0, stdout: `${version}\n` });
    const { status, stdout } = warptile('--help');
    expect(status).toBe(0);
    for (const name of ['doctor', 'check', 'bench']) expect(stdout).toContain(name);
  });

  test.each([
    [['bensh'], /unknown command 'bensh'/],
    [['bench', '--foo'], /unknown option '--foo'/],
    [['bench', 'spmv'], /^warptile: operation: expected one of spmm, .*, received 'spmv'\n$/],
    [['bench', '--dtype', 'int8'], /'int8' is invalid/],
    [['bench', '--n', '1.5'], /'1.5' is invalid/],
    [['bench', '--data', 'nowhere'], /^warptile: data: expected an existing folder, received 'nowhere'\n$/],
    [['bench', '--filter', 'no such problem'], /^warptile: no problem matches the options\n$/],
    [['check', '--operation', 'spmv'], /^warptile: --operation: expected one of .*spmm/],
    [['check', '--filter', 'no such case'], /^warptile: no case matches the options\n$/],
    [
      ['check', '--reduced', '--device', 'tpu'],
      /^warptile: name: expected 'auto', 'cpu', 'cuda' or 'cuda:N', received 'tpu'\n$/,
    ],
    [
      ['check', '--reduced', '--device', 'cuda:0'],
      /^warptile: cuda:0 is not available; addon .*switched off\n$/,
    ],
  ])('%j fails in one line', (args, message) => {
    const { status, stderr } = warptile(...args);
    expect(stderr).toMatch(message);
    expect(stderr).not.toMatch(/\n\s+at /);
    expect(status).toBe(1);
  });

  test('doctor says what is missing and how to mend it', () => {
    const { status, stdout } = warptile('doctor');
    expect(status).toBe(0);
    expect(stdout).toContain(`Node ${process.versions.node}`);
    expect(stdout).toMatch(/x addon WARPTILE_ADDON=none: the addon is switched off\n\s+Unset WARPTILE_ADDON/);
    expect(stdout).toContain('warptile works on the CPU');
  });

  test('check runs cases and sums them up by operation and dtype', () => {
    const file = path.join(folder, 'check.json');
    const { status, stdout } = warptile('check', '--reduced', '--operation', 'spmm', 'sddmm', '--json', file);
    expect(stdout).toContain('the addon is switched off');
    expect(stdout).toMatch(/spmm +│ float16 +│ +\d+ │ +0 │/);
    expect(stdout).toMatch(/All \d+ cases pass/);
    expect(status).toBe(0);
    const { rows, failed, leftOut } = JSON.parse(readFileSync(file, 'utf8'));
    expect([failed, leftOut]).toEqual([[], []]);
    expect(new Set(rows.map((row: { operation: string }) => row.operation))).toEqual(
      new Set(['spmm', 'sddmm']),
    );
  });

  test('bench --quick measures every operation and checks each result', () => {
    const file = path.join(folder, 'bench.json');
    const { status, stdout } = warptile('bench', '--quick', '--json', file);
    expect(stdout).toMatch(/No GPU is used:\n.*not available\n.*switched off/);
    expect(stdout).toMatch(/All \d+ problems pass their check/);
    expect(status).toBe(0);
    const { gpu, rows, date } = JSON.parse(readFileSync(file, 'utf8'));
    expect(gpu).toBeNull();
    expect(new Date(date).getTime()).toBeGreaterThan(0);
    for (const row of rows) {
      expect(row).toMatchObject({ device: 'cpu', pass: true, peers: {}, ratio: null, roof: null });
      expect(row.us).toBeGreaterThan(0);
      if (row.op === 'overhead') continue;
      expect(row.error).toBeLessThanOrEqual(1);
      expect(row.bytes).toBeGreaterThan(0);
    }
    const operations = new Set(rows.map((row: { op: string }) => row.op));
    for (const name of [
      'spmm',
      'sddmm',
      'sparseSoftmax',
      'kroneckerMatmul',
      'w4a16Matmul',
      'attention',
      'neighborhoodAttention',
      'sparseAttention',
      'overhead',
    ])
      expect(operations).toContain(name);
  }, 30_000);

  test('bench --tune measures plans before the problem', () => {
    const options = ['spmm', '--quick', '--tune', '--n', '8', '--dtype', 'float32', '--no-peers'];
    const { status, stdout } = warptile('bench', ...options);
    expect(stdout).toMatch(/All 2 problems pass their check/);
    expect(status).toBe(0);
  });

  test('bench --data reads folders within folders', () => {
    const data = path.join(folder, 'data');
    mkdirSync(path.join(data, 'deep'), { recursive: true });
    writeFileSync(path.join(data, 'deep', 'tiny.smtx'), '2, 3, 2\n0 1 2\n2 0\n');
    writeFileSync(
      path.join(data, 'small.mtx'),
      '%%MatrixMarket matrix coordinate real general\n2 2 1\n1 2 -5\n',
    );
    const options = ['--data', data, '--quick', '--dtype', 'float16', '--n', '7', '9'];
    const { status, stdout } = warptile('bench', 'spmm', ...options);
    expect(stdout).toContain('2 sparse matrices from');
    expect(stdout).toContain('tiny 2x3 nnz 2 n=7');
    expect(stdout).toContain('small 2x2 nnz 1 n=9');
    expect(stdout).toContain('All 4 problems pass');
    expect(status).toBe(0);
    writeFileSync(path.join(data, 'bad.smtx'), '2, 3\n');
    expect(warptile('bench', '--data', data)).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/^warptile: .*bad\.smtx: line 1, column 5: entries: .*\n$/),
    });
  });
});
