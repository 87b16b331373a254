// npm run build: TypeScript to dist/, and the native addon to build/Release/warptile.node where a CUDA toolkit and a
// C++ compiler are present. Without them the addon is skipped with the reason; nothing is downloaded.
//
//   --ts            TypeScript alone
//   --native        the addon alone
//   --require-cuda  a skip is a failure (also WARPTILE_REQUIRE_CUDA=1)

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { argv, env, execPath, exit } from 'node:process';
import { fileURLToPath } from 'node:url';
import { nativeToolchain } from './toolchain.mjs';

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** WARPTILE_REQUIRE_CUDA=1, or --require-cuda. */
export const cudaRequired = env.WARPTILE_REQUIRE_CUDA === '1' || argv.includes('--require-cuda');

/** Runs a command with our standard streams; throws where it fails. */
export function run(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, stdio: 'inherit', ...options });
    child.on('error', reject);
    child.on('exit', (code, signal) => {
      if (code === 0) resolve();
      else reject(new Error(`${command} ${args.join(' ')}: ${signal ?? `exit code ${code}`}`));
    });
  });
}

/** Runs `body` and prints how long it took. */
export async function step(name, body) {
  const start = performance.now();
  const note = await body();
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(`${name}: ${note ?? 'done'} (${seconds} s)`);
}

/** Every file under `folder`, sorted. */
export function filesUnder(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

export function tsc(...args) {
  return run(execPath, [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), ...args]);
}

const typescriptInputs = ['lib', 'bench', 'test/cases', 'test/harness'];

/** dist/esm and dist/cjs, if their sources changed since they were made. */
export async function buildTypeScript() {
  const digest = createHash('sha256');
  const sources = typescriptInputs.flatMap((folder) => filesUnder(join(root, folder)));
  const configs = ['tsconfig.json', 'tsconfig.esm.json', 'tsconfig.cjs.json', 'package-lock.json'];
  for (const file of [
    ...sources.filter((name) => /\.c?ts$/.test(name)),
    ...configs.map((name) => join(root, name)),
  ]) {
    digest.update(`${relative(root, file)}\0`).update(readFileSync(file));
  }
  const stamp = join(root, 'dist', '.sources');
  const hash = digest.digest('hex');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === hash) return 'up to date';
  rmSync(join(root, 'dist'), { recursive: true, force: true });
  await Promise.all([tsc('-p', 'tsconfig.esm.json'), tsc('-p', 'tsconfig.cjs.json')]);
  mkdirSync(join(root, 'dist', 'cjs'), { recursive: true });
  writeFileSync(join(root, 'dist', 'cjs', 'package.json'), '{ "type": "commonjs" }\n');
  writeFileSync(stamp, hash);
  return `${sources.length} sources`;
}

/** The addon, as far as it is out of date. Returns why it was skipped, or undefined. */
export async function buildNative() {
  const tools = nativeToolchain(root);
  if (tools.problems.length > 0) return tools.problems;
  // `build`, not `compile`: the latter starts from nothing after a compile error.
  const jobs = env.WARPTILE_JOBS ?? String(availableParallelism());
  const args = [tools.cmakeJs, 'build', '-G', tools.generator, '-p', jobs, '-l', 'warn'];
  await run(execPath, args, { env: { ...env, CUDACXX: tools.nvcc } });
  return undefined;
}

/** Builds what this machine allows; returns one line for each thing that was skipped. */
export async function build({ typescript = true, native = true } = {}) {
  let skipped = [];
  if (typescript) await step('typescript', buildTypeScript);
  if (native) {
    await step('native addon', async () => {
      const problems = await buildNative();
      if (problems === undefined) return 'build/Release/warptile.node';
      skipped = problems.map((problem) => `native addon: ${problem}`);
      return 'skipped';
    });
  }
  for (const line of skipped) console.log(`skipped: ${line}`);
  if (skipped.length > 0 && cudaRequired) throw new Error('WARPTILE_REQUIRE_CUDA=1 allows no skip');
  return skipped;
}

if (argv[1] === fileURLToPath(import.meta.url)) {
  const [onlyTypeScript, onlyNative] = [argv.includes('--ts'), argv.includes('--native')];
  try {
    await build({ typescript: onlyTypeScript || !onlyNative, native: onlyNative || !onlyTypeScript });
  } catch (error) {
    console.error(`build: ${error.message}`);
    exit(1);
  }
}
