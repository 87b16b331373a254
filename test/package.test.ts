import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { packageRoot } from '../lib/backends/load-addon.cjs';

// The published package, as a user gets it: packed, installed without lifecycle scripts into an empty folder, used from
// ES modules, CommonJS and TypeScript.
describe('the packed package', () => {
  const root = packageRoot();
  const folder = mkdtempSync(path.join(tmpdir(), 'warptile-package-'));
  const prebuild = path.join('prebuilds', `${process.platform}-${process.arch}`, 'warptile.node');
  const hasPrebuild = existsSync(path.join(root, prebuild));
  // WARPTILE_ADDON would lead the installed package back to this checkout's addon.
  const { WARPTILE_ADDON: _, ...env } = process.env;

  function output(command: string, args: readonly string[], cwd = folder): string {
    return execFileSync(command, args, { cwd, env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  }

  /** Without a registry: the tarball's contents, and its production dependencies as this checkout has them. */
  function installOffline(tarball: string): void {
    const target = path.join(folder, 'node_modules', 'warptile');
    mkdirSync(target, { recursive: true });
    output('tar', ['-xzf', tarball, '-C', target, '--strip-components=1']);
    const listed = output('npm', ['ls', '--omit=dev', '--all', '--parseable'], root)
      .trim()
      .split('\n')
      .slice(1);
    for (const source of listed) {
      cpSync(source, path.join(folder, path.relative(root, source)), { recursive: true });
    }
    const { bin } = JSON.parse(readFileSync(path.join(target, 'package.json'), 'utf8'));
    mkdirSync(path.join(folder, 'node_modules', '.bin'));
    chmodSync(path.join(target, bin.warptile), 0o755);
    symlinkSync(path.join(target, bin.warptile), path.join(folder, 'node_modules', '.bin', 'warptile'));
  }

  beforeAll(() => {
    output('npm', ['pack', '--pack-destination', folder], root);
    const tarball = path.join(folder, readdirSync(folder).find((name) => name.endsWith('.tgz')) as string);
    writeFileSync(path.join(folder, 'package.json'), '{ "private": true }\n');
    const quiet = ['--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline', '--fetch-retries=0'];
    try {
      output('npm', ['install', ...quiet, tarball]);
    } catch (error) {
      const log = String((error as { stderr?: string }).stderr);
      if (!/ENOTCACHED|ENOTFOUND|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EAI_AGAIN/.test(log)) throw error;
      installOffline(tarball);
    }
  }, 60_000);

  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const body = `
    const device = await openDevice('cpu');
    const a = device.csr({
      shape: [2, 3], rowPointers: [0, 2, 3], columnIndices: [0, 2, 1], values: [1, 2, 3], dtype: 'float16',
    });
    const b = device.tensor([1, 2, 3, 4, 5, 6], { shape: [3, 2], dtype: 'float16' });
    console.log(JSON.stringify([device.id, [...(await spmm(a, b).data())]]));
    device.dispose();`;
  const expected = ['cpu', [11, 14, 9, 12]];

  test('works from an ES module', () => {
    writeFileSync(path.join(folder, 'main.mjs'), `import { openDevice, spmm } from 'warptile';${body}`);
    expect(JSON.parse(output(process.execPath, ['main.mjs']))).toEqual(expected);
  });

  test('works from CommonJS', () => {
    const source = `const { openDevice, spmm } = require('warptile'); (async () => {${body}})();`;
    writeFileSync(path.join(folder, 'main.cjs'), source);
    expect(JSON.parse(output(process.execPath, ['main.cjs']))).toEqual(expected);
  });

  test('has types for both', () => {
    const source = `import { openDevice, type Tensor } from 'warptile';
      export async function make(): Promise<Tensor<'float16'>> {
        const device = await openDevice('auto');
        // @ts-expect-error: the shape is a list of numbers
        device.tensor([1], { shape: 'x' });
        return device.tensor([1], { dtype: 'float16' });
      }\n`;
    for (const extension of ['mts', 'cts']) writeFileSync(path.join(folder, `types.${extension}`), source);
    const options = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2022', '--types', 'node'];
    const typeRoots = [
      '--lib',
      'es2023,esnext.disposable',
      '--typeRoots',
      path.join(root, 'node_modules', '@types'),
    ];
    const tsc = path.join(root, 'node_modules', 'typescript', 'bin', 'tsc');
    output(process.execPath, [tsc, ...options, ...typeRoots, 'types.mts', 'types.cts']);
  });

  test('carries neither sources nor a build that an install could start', () => {
    const installed = path.join(folder, 'node_modules', 'warptile');
    for (const name of ['binding.gyp', 'CMakeLists.txt', 'lib', 'cuda', 'scripts', 'test']) {
      expect(existsSync(path.join(installed, name))).toBe(false);
    }
  });

  test(
    hasPrebuild ? 'loads the addon from prebuilds/' : 'without prebuilds/ says that it has no addon',
    () => {
      const file = path.join(folder, 'node_modules', 'warptile', prebuild);
      const { stdout } = spawnSync('npx', ['--no-install', 'warptile', 'doctor'], {
        cwd: folder,
        env,
        encoding: 'utf8',
      });
      if (hasPrebuild) expect(stdout).toContain(`+ ${file}`);
      else expect(stdout).toContain(`${file}: no such file`);
    },
  );
});
