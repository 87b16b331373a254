// npm test: builds what this machine allows and runs the test suite; with a GPU, the GPU suite too. What was skipped
// is listed at the end with the reason, and is a failure under WARPTILE_REQUIRE_CUDA=1. Arguments go to jest:
// `npm test -- spmm` runs the CPU tests whose file name matches, and those alone.
//
//   --gpu   the GPU suite alone, which needs a GPU (npm run test:gpu)

import { join } from 'node:path';
import { argv, execPath, exit } from 'node:process';
import { pathToFileURL } from 'node:url';
import { build, cudaRequired, root, run } from './build.mjs';

const gpuOnly = argv.includes('--gpu');
const jestArguments = argv.slice(2).filter((argument) => argument !== '--gpu');

function jest(config, args) {
  return run(execPath, [join(root, 'node_modules', 'jest', 'bin', 'jest.js'), '--config', config, ...args]);
}

/** Why the GPU suite cannot run here: no lines where it can. */
async function gpuProblems() {
  const { probeCuda } = await import(
    pathToFileURL(join(root, 'dist', 'esm', 'lib', 'backends', 'cuda.js')).href
  );
  const { devices, problems } = probeCuda();
  return devices.length > 0 ? [] : problems.map((problem) => `GPU tests: ${problem}`);
}

async function main() {
  const skipped = await build();
  if (gpuOnly) return jest('jest.gpu.config.js', jestArguments);
  await jest('jest.config.js', jestArguments);
  if (jestArguments.some((argument) => !argument.startsWith('-'))) return;
  const problems = await gpuProblems();
  if (problems.length === 0) await jest('jest.gpu.config.js', []);
  for (const line of [...skipped, ...problems]) console.log(`skipped: ${line}`);
  if (problems.length > 0 && cudaRequired) throw new Error('WARPTILE_REQUIRE_CUDA=1 allows no skip');
}

try {
  await main();
} catch (error) {
  console.error(`test: ${error.message}`);
  exit(1);
}
