// What the native build needs, where it was found, and how to get what is missing.

import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

const minimumCmake = '3.22';
// The first toolkit that compiles for sm_90a and takes C++17 throughout.
const minimumCuda = '12.0';

/** The path of an executable: the first of `names` on PATH or in `folders`, or undefined. */
export function findExecutable(names, folders = []) {
  const places = [...(process.env.PATH ?? '').split(delimiter), ...folders].filter(Boolean);
  for (const name of names.filter(Boolean)) {
    const candidates = name.includes('/') ? [name] : places.map((folder) => join(folder, name));
    const found = candidates.find(isExecutable);
    if (found !== undefined) return found;
  }
  return undefined;
}

function isExecutable(file) {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function findNvcc() {
  const { CUDACXX, CUDA_HOME, CUDA_PATH } = process.env;
  const homes = [CUDA_HOME, CUDA_PATH, '/usr/local/cuda'].filter(Boolean);
  return findExecutable(
    [CUDACXX, 'nvcc'],
    homes.map((home) => join(home, 'bin')),
  );
}

/** The first version number that `command` prints, as [major, minor]. */
function versionOf(command, pattern) {
  const { stdout } = spawnSync(command, ['--version'], { encoding: 'utf8' });
  const match = pattern.exec(stdout ?? '');
  return match === null ? undefined : [Number(match[1]), Number(match[2])];
}

function isOlder(version, minimum) {
  const [major, minor] = minimum.split('.').map(Number);
  return version !== undefined && (version[0] < major || (version[0] === major && version[1] < minor));
}

/** The tools of the native build, and one line for each thing that is in its way: what, and how to mend it. */
export function nativeToolchain(root) {
  const problems = [];
  if (process.platform !== 'linux') {
    problems.push(
      `${process.platform}: the CUDA kernels are built for Linux; the CPU reference works everywhere`,
    );
  }
  const nvcc = findNvcc();
  if (nvcc === undefined) {
    problems.push(
      `nvcc not found: install the CUDA toolkit ${minimumCuda} or later (https://developer.nvidia.com/cuda-downloads) ` +
        'and put nvcc on PATH, or set CUDA_HOME',
    );
  } else if (isOlder(versionOf(nvcc, /release (\d+)\.(\d+)/), minimumCuda)) {
    problems.push(`${nvcc} is too old: the kernels need CUDA ${minimumCuda} or later`);
  }
  const cmake = findExecutable(['cmake']);
  if (cmake === undefined) {
    problems.push(
      `cmake not found: install CMake ${minimumCmake} or later (apt install cmake, or pip install cmake)`,
    );
  } else if (isOlder(versionOf(cmake, /version (\d+)\.(\d+)/), minimumCmake)) {
    problems.push(`${cmake} is too old: the build needs CMake ${minimumCmake} or later`);
  }
  const compiler = findExecutable([process.env.CXX, 'c++', 'g++', 'clang++']);
  if (compiler === undefined) {
    problems.push('no C++ compiler found: install g++ or clang++ (apt install g++), or set CXX');
  }
  const ninja = findExecutable(['ninja']);
  const make = findExecutable(['make']);
  if (ninja === undefined && make === undefined) {
    problems.push('neither ninja nor make found: install ninja (apt install ninja-build)');
  }
  const cmakeJs = join(root, 'node_modules', 'cmake-js', 'bin', 'cmake-js');
  if (!existsSync(cmakeJs)) problems.push('cmake-js not found: run npm ci');
  return { nvcc, cmake, compiler, generator: ninja ? 'Ninja' : 'Unix Makefiles', cmakeJs, problems };
}
