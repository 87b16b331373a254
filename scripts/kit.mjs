// npm run kit: .gpu-kit/, a folder that runs the GPU tests, checks and benchmarks on a bare x86-64 Linux host with a GPU
// driver: the Node runtime, the addon, the compiled library, its dependencies and jest's, the tests compiled to CommonJS
// (so that no compiler travels) and the benchmark's data. `.gpu-kit/run` unpacks and runs them.

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { execPath, exit } from 'node:process';
import baseConfig from '../jest.config.js';
import { build, filesUnder, root, run, step, tsc } from './build.mjs';
import { findExecutable } from './toolchain.mjs';

const kit = join(root, '.gpu-kit');
const mostBytes = 52 * 2 ** 20;
const testDependencies = ['jest', 'fast-check'];
// Types, maps and manuals are for people, who have the repository.
const unneeded = /\.(?:d\.[cm]?ts|map|md|markdown|flow)$/i;

/** Packages that `names` need, as folders relative to the root: what npm installed, by the lockfile. */
function dependencyFolders(names) {
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
  // Node's own look-up: in the package's node_modules, then in those of each folder above it.
  const resolve = (from, name) => {
    for (
      let folder = from;
      ;
      folder = folder.slice(0, folder.lastIndexOf('node_modules/')).replace(/\/$/, '')
    ) {
      const candidate = join(folder, 'node_modules', name);
      if (packages[candidate] !== undefined && existsSync(join(root, candidate))) return candidate;
      if (folder === '') return undefined;
    }
  };
  const found = new Set();
  const pending = names.map((name) => resolve('', name));
  for (let folder = pending.pop(); folder !== undefined; folder = pending.pop()) {
    if (found.has(folder)) continue;
    found.add(folder);
    const { dependencies = {}, optionalDependencies = {} } = packages[folder];
    for (const name of Object.keys({ ...dependencies, ...optionalDependencies })) {
      const next = name.startsWith('@types/') ? undefined : resolve(folder, name);
      if (next !== undefined) pending.push(next);
    }
  }
  return [...found].sort();
}

/** Copies a folder without nested packages, which are listed on their own, and without what only people read. */
function copyPackage(folder, target) {
  const nested = join(root, folder, 'node_modules');
  cpSync(join(root, folder), join(target, folder), {
    recursive: true,
    dereference: true,
    filter: (source) => source !== nested && !unneeded.test(source),
  });
}

/** tar and xz of everything in `folder`, the same bytes for the same contents. */
function pack(folder, archive) {
  const entries = ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner'];
  const tar = spawnSync(
    'sh',
    ['-c', 'tar -cf - "$@" -C "$FOLDER" . | xz -6 -T0 > "$ARCHIVE"', 'sh', ...entries],
    {
      env: { ...process.env, FOLDER: folder, ARCHIVE: archive },
      stdio: 'inherit',
    },
  );
  if (tar.status !== 0) throw new Error(`tar and xz of ${archive} failed`);
}

/** The Node runtime; compressing it takes most of the time, so it is kept until Node changes. */
function packRuntime() {
  const node = realpathSync(execPath);
  const { size, mtimeMs } = statSync(node);
  const id = `${process.version} ${size} ${mtimeMs}`;
  const [archive, stamp] = [join(kit, 'runtime.tar.xz'), join(kit, '.runtime')];
  if (existsSync(archive) && existsSync(stamp) && readFileSync(stamp, 'utf8') === id) return 'up to date';
  const staging = mkdtempSync(join(tmpdir(), 'warptile-kit-'));
  try {
    mkdirSync(join(staging, 'bin'));
    copyFileSync(node, join(staging, 'bin', 'node'));
    chmodSync(join(staging, 'bin', 'node'), 0o755);
    pack(staging, archive);
  } finally {
    rmSync(staging, { recursive: true });
  }
  writeFileSync(stamp, id);
  return undefined;
}

const jestConfig = {
  sandboxInjectedGlobals: baseConfig.sandboxInjectedGlobals,
  rootDir: '.',
  roots: ['<rootDir>/compiled'],
  testEnvironment: 'node',
  testMatch: ['<rootDir>/compiled/test/gpu/**/*.test.js'],
  transform: {},
  maxWorkers: 1,
  testTimeout: 600_000,
  watchman: false,
  cacheDirectory: '<rootDir>/.jest-cache',
};

async function packPackage() {
  const staging = mkdtempSync(join(tmpdir(), 'warptile-kit-'));
  try {
    const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    const names = [...Object.keys(dependencies), ...testDependencies];
    for (const folder of dependencyFolders(names)) copyPackage(folder, staging);
    for (const name of ['esm', 'cjs'])
      cpSync(join(root, 'dist', name), join(staging, 'dist', name), { recursive: true });
    await tsc('-p', 'tsconfig.kit.json', '--outDir', join(staging, 'compiled'));
    const prebuilds = join(staging, 'prebuilds', `${process.platform}-${process.arch}`);
    mkdirSync(prebuilds, { recursive: true });
    copyFileSync(join(root, 'build', 'Release', 'warptile.node'), join(prebuilds, 'warptile.node'));
    const strip = findExecutable(['strip']);
    if (strip !== undefined) await run(strip, ['--strip-unneeded', join(prebuilds, 'warptile.node')]);
    // Data, and scripts that are not TypeScript (the Python side of the benchmark).
    for (const file of filesUnder(join(root, 'bench')).filter((name) => !name.endsWith('.ts'))) {
      const target = join(staging, file.slice(root.length + 1));
      mkdirSync(dirname(target), { recursive: true });
      copyFileSync(file, target);
    }
    copyFileSync(join(root, 'package.json'), join(staging, 'package.json'));
    // What a benchmark made with the kit names as its commit: there is no git where it runs.
    const commit = describeCommit();
    if (commit !== undefined) writeFileSync(join(staging, '.commit'), `${commit}\n`);
    writeFileSync(join(staging, 'jest.kit.json'), `${JSON.stringify(jestConfig, null, 2)}\n`);
    pack(staging, join(kit, 'package.tar.xz'));
  } finally {
    rmSync(staging, { recursive: true });
  }
}

/** The commit that is checked out, marked where files differ from it; undefined outside a checkout. */
function describeCommit() {
  const git = spawnSync('git', ['describe', '--always', '--abbrev=40', '--exclude=*', '--dirty'], {
    cwd: root,
  });
  return git.status === 0 ? git.stdout.toString().trim() : undefined;
}

/** The `run` script, with a name for this kit's contents so that another kit's unpacked folder is not taken for it. */
function writeRunScript() {
  const digest = createHash('sha256');
  for (const part of ['runtime', 'package']) digest.update(readFileSync(join(kit, `${part}.tar.xz`)));
  const script = readFileSync(join(root, 'scripts', 'kit-run.sh'), 'utf8');
  const file = join(kit, 'run');
  writeFileSync(`${file}.new`, script.replace('@KIT_ID@', digest.digest('hex').slice(0, 16)));
  chmodSync(`${file}.new`, 0o755);
  renameSync(`${file}.new`, file);
}

async function main() {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new Error(
      `expected linux-x64, received ${process.platform}-${process.arch}: the kit carries this Node`,
    );
  }
  const skipped = await build();
  if (skipped.length > 0) throw new Error('the kit needs the native addon');
  mkdirSync(kit, { recursive: true });
  await step('kit: runtime', packRuntime);
  await step('kit: package', packPackage);
  writeRunScript();
  const files = filesUnder(kit);
  const bytes = files.reduce((sum, file) => sum + statSync(file).size, 0);
  for (const file of files)
    console.log(
      `  ${(statSync(file).size / 2 ** 20).toFixed(1).padStart(5)} MiB  ${file.slice(root.length + 1)}`,
    );
  console.log(`kit: ${(bytes / 2 ** 20).toFixed(1)} of at most ${mostBytes / 2 ** 20} MiB`);
  if (bytes > mostBytes) throw new Error('the kit is too large');
}

try {
  await main();
} catch (error) {
  console.error(`kit: ${error.message}`);
  exit(1);
}
