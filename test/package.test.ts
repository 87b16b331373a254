import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
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
    const tensor = device.tensor([1, 2, 3, 4], { shape: [2, 2], dtype: 'float16' });
    console.log(JSON.stringify([device.id, [...(await tensor.data())]]));
    device.dispose();`;

  test('works from an ES module', () => {
    writeFileSync(path.join(folder, 'main.mjs'), `import { openDevice } from 'warptile';${body}`);
    expect(JSON.parse(output(process.execPath, ['main.mjs']))).toEqual(['cpu', [1, 2, 3, 4]]);
  });

  test('works from CommonJS', () => {
    const source = `const { openDevice } = require('warptile'); (async () => {${body}})();`;
    writeFileSync(path.join(folder, 'main.cjs'), source);
    expect(JSON.parse(output(process.execPath, ['main.cjs']))).toEqual(['cpu', [1, 2, 3, 4]]);
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
      const source = `const { probeCuda } = await import(${JSON.stringify(
        path.join(folder, 'node_modules', 'warptile', 'dist', 'esm', 'lib', 'backends', 'cuda.js'),
      )}); console.log(JSON.stringify(probeCuda()));`;
      const probe = JSON.parse(output(process.execPath, ['--input-type=module', '-e', source]));
      if (hasPrebuild) expect(probe.addonFile).toBe(file);
      else expect(probe.problems).toContain(`addon ${file}: no such file`);
    },
  );
});
