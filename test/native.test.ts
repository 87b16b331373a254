import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { packageRoot } from '../lib/backends/load-addon.cjs';

// The native code that needs neither CUDA nor Node, as CMake's target warptile_native_tests compiles it, wherever there is a C++
// compiler.
const root = packageRoot();
const compilers = [process.env.CXX, 'c++', 'g++', 'clang++'].filter((name) => name !== undefined);
const compiler = compilers.find((name) => spawnSync(name, ['--version']).status === 0);
const required = process.env.WARPTILE_REQUIRE_CUDA === '1';

if (compiler === undefined && !required) {
  process.stderr.write(
    `skipped: native tests: no C++ compiler (tried ${compilers.join(', ')}); install g++\n`,
  );
}

(compiler !== undefined || required ? test : test.skip)(
  'native code without CUDA',
  () => {
    if (compiler === undefined) {
      throw new Error(
        `no C++ compiler (tried ${compilers.join(', ')}) and WARPTILE_REQUIRE_CUDA=1 allows no skip`,
      );
    }
    const folder = mkdtempSync(path.join(tmpdir(), 'warptile-native-'));
    try {
      const sources = readdirSync(path.join(root, 'test/native')).filter((name) => name.endsWith('.cc'));
      const binary = path.join(folder, 'native-tests');
      const compiled = spawnSync(
        compiler,
        [
          '-std=c++17',
          '-O1',
          '-Wall',
          '-Wextra',
          '-Werror',
          `-I${path.join(root, 'cuda')}`,
          '-o',
          binary,
        ].concat(sources.map((name) => path.join(root, 'test/native', name))),
        { encoding: 'utf8' },
      );
      expect(compiled.stderr).toBe('');
      const run = spawnSync(binary, { encoding: 'utf8' });
      // The report, where a check failed.
      expect(run.stdout.split('\n').filter((line) => !line.startsWith('ok'))).toEqual([
        expect.stringMatching(/^\d+ checks passed, 0 failed, in \d+ tests$/),
        '',
      ]);
      expect(run.status).toBe(0);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
  120_000,
);
