import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { packageRoot } from '../lib/backends/load-addon.cjs';

describe('the layer check', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'warptile-layers-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  function check(files: Record<string, string>): { status: number | null; lines: string[] } {
    const root = mkdtempSync(path.join(folder, 'tree-'));
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(path.dirname(path.join(root, name)), { recursive: true });
      writeFileSync(path.join(root, name), text);
    }
    const script = path.join(packageRoot(), 'scripts', 'check-layers.mjs');
    const { status, stderr } = spawnSync(process.execPath, [script, root], { encoding: 'utf8' });
    return { status, lines: stderr.trim().split('\n') };
  }

  test.each([
    ['cuda/kernels/spmm/spmm.cu', '#include "addon/errors.h"\n', /kernels includes addon\/errors\.h/],
    ['cuda/kernels/spmm/spmm.cu', '#include "../sddmm/config.h"\n', /belongs in common/],
    ['cuda/kernels/spmm/spmm.cu', '\nkernel<<<1, 1>>>();\n', /spmm\.cu:2: kernels launch through/],
    ['cuda/common/launch.h', '#include "kernels/spmm/config.h"\n', /common includes kernels/],
    ['cuda/peers/cusparse.h', '#include "api/spmm.h"\n', /peers includes api/],
    ['cuda/addon/spmm.cc', '#include "kernels/spmm/config.h"\n', /addon includes kernels/],
    ['cuda/addon/spmm.cc', '#include "common/launch.cuh"\n', /device code/],
    ['cuda/api/spmm.h', '#include <napi.h>\n', /only cuda\/addon knows Node/],
    ['cuda/extra/file.h', '', /not a layer/],
    ['lib/ops/spmm.ts', "import { CpuBackend } from '../backends/cpu.js';\n", /imports backends\/cpu\.js/],
    ['lib/ops/spmm.ts', "import { x } from '../backends/reference/spmm.js';\n", /never by the reference/],
    ['lib/backends/cpu.ts', "import { spmm } from '../ops/spmm.js';\n", /imports ops\/spmm\.js/],
    ['lib/planning/autotune.ts', "import { spmm } from '../ops/spmm.js';\n", /whatever the operation/],
    ['lib/cli/check.ts', "import { loadAddon } from '../backends/load-addon.cjs';\n", /loads the addon/],
    ['lib/io/npy.ts', "const addon = require('./x.node');\n", /loads the addon/],
    ['lib/index.ts', "export { main } from './cli/main.js';\n", /only the command line/],
  ])('%s: %j', (name, text, message) => {
    const { status, lines } = check({ [name]: text });
    expect(status).toBe(1);
    expect(lines).toContainEqual(expect.stringMatching(message));
  });

  test('takes what the rule allows, and no comment for code', () => {
    const { status } = check({
      'cuda/kernels/spmm/spmm.cu':
        '#include "api/spmm.h"\n#include "common/launch.cuh"\n#include "config.h"\n// <<< >>>\n',
      'cuda/common/launch.cuh': 'cudaLaunchKernelEx(&config, kernel);\n',
      'cuda/addon/spmm.cc': '#include <napi.h>\n#include "addon/operations.h"\n#include "api/spmm.h"\n',
      'lib/device/open.ts': "import { CpuBackend } from '../backends/cpu.js';\n",
      'lib/ops/spmm.ts': "import type { View } from '../backends/backend.js';\n",
      'lib/backends/cuda.ts': "import { loadAddon } from './load-addon.cjs';\n",
    });
    expect(status).toBe(0);
  });
});
