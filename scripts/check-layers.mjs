// The layer rule of docs/architecture.md, checked: who may include whom, who knows Node, who launches kernels, who loads the
// addon. Prints one line a violation and fails if there is any. Checks this repository, or the folder given.

import { readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { argv, exit } from 'node:process';
import { filesUnder, root as repository } from './build.mjs';

const root = argv[2] ?? repository;

// What each folder of cuda/ may include, its own folder aside. common/*.cuh is device code: for kernels alone.
const nativeLayers = {
  api: ['common'],
  common: [],
  kernels: ['api', 'common'],
  peers: ['common'],
  addon: ['api', 'common', 'peers'],
};

// What a folder of lib/ must not import, as patterns of paths under lib/. Files named in `except` may.
const libraryRules = [
  {
    of: /^(?:ops|tensor|formats|device)\//,
    except: ['device/open.ts'],
    forbidden: /^backends\/(?:cpu|cuda|load-addon)\b/,
    why: 'knows backends by backend.ts alone; device/open.ts makes them',
  },
  {
    of: /^(?:ops|tensor|device)\//,
    except: ['device/open.ts'],
    forbidden: /^backends\/reference\//,
    why: 'computes through its device, never by the reference',
  },
  {
    of: /^backends\//,
    forbidden: /^(?:ops|formats|device|io|cli)\/|^tensor\/tensor\./,
    why: 'a backend sees plain sizes and views, nothing above it',
  },
  {
    of: /^(?:errors|validate)\.ts$|^tensor\/(?:dtype|half|host-data)/,
    forbidden: /^(?:backends|ops|formats|device|io|cli)\//,
  },
  { of: /^ops\//, forbidden: /^(?:cli|io)\// },
  {
    of: /^planning\//,
    forbidden: /^(?:ops|formats|tensor|io|cli)\/|^backends\/(?:cpu|cuda|calls|reference)\b/,
    why: 'measures candidates and keeps choices, whatever the operation',
  },
  { of: /^io\//, forbidden: /^(?:cli|ops|backends)\// },
  {
    of: /^(?!cli\/)/,
    forbidden: /^(?:cli\/|\.\.\/)/,
    why: 'only the command line knows the tests and the benchmark',
  },
];

const violations = [];

function report(file, text, index, message) {
  const line = text.slice(0, index).split('\n').length;
  violations.push(`${relative(root, file)}:${line}: ${message}`);
}

/** Comments blanked, so that positions stay and what they say is not taken for code. */
function withoutComments(text) {
  return text.replace(/\/\*[\s\S]*?\*\/|\/\/[^\n]*/g, (comment) => comment.replace(/[^\n]/g, ' '));
}

function checkNative(file) {
  const base = join(root, 'cuda');
  const name = relative(base, file);
  const [layer, family] = name.split('/');
  const text = withoutComments(readFileSync(file, 'utf8'));
  const allowed = nativeLayers[layer];
  if (allowed === undefined) return report(file, text, 0, `cuda/${layer} is not a layer`);
  for (const { index, 1: quoted } of text.matchAll(/^\s*#\s*include\s*"([^"]+)"/gm)) {
    const beside = !/^(?:api|common|kernels|peers|addon)\//.test(quoted);
    const target = beside ? normalize(join(dirname(name), quoted)) : quoted;
    const [targetLayer, targetFamily] = target.split('/');
    if (targetLayer === layer) {
      if (layer === 'kernels' && family !== targetFamily) {
        report(
          file,
          text,
          index,
          `kernels/${family} includes kernels/${targetFamily}: what both need belongs in common`,
        );
      }
    } else if (!allowed.includes(targetLayer)) {
      report(
        file,
        text,
        index,
        `${layer} includes ${target}: it may include ${allowed.join(', ') || 'nothing above'}`,
      );
    } else if (targetLayer === 'common' && target.endsWith('.cuh') && layer !== 'kernels') {
      report(file, text, index, `${layer} includes device code, ${target}`);
    }
  }
  const patterns = [
    [
      /#\s*include\s*<(?:napi|node_api|js_native_api|node|v8|uv)\.h>/g,
      layer === 'addon',
      'only cuda/addon knows Node',
    ],
    [
      /<<<|\bcudaLaunch(?:Cooperative)?Kernel\w*\s*\(/g,
      name === 'common/launch.cuh',
      'kernels launch through common/launch.cuh',
    ],
    [/\bdlopen\s*\(/g, layer === 'peers', 'only cuda/peers opens libraries'],
  ];
  for (const [pattern, permitted, message] of patterns) {
    if (permitted) continue;
    for (const { index } of text.matchAll(pattern)) report(file, text, index, message);
  }
}

function checkLibrary(file) {
  const base = join(root, 'lib');
  const name = relative(base, file);
  const text = withoutComments(readFileSync(file, 'utf8'));
  const rules = libraryRules.filter(({ of, except = [] }) => of.test(name) && !except.includes(name));
  for (const { index, 1: specifier } of text.matchAll(
    /(?:\bfrom|\bimport|\brequire\(|\bimport\()\s*'(\.[^']+)'/g,
  )) {
    const target = relative(base, normalize(join(dirname(file), specifier)));
    for (const { forbidden, why } of rules) {
      if (forbidden.test(target)) report(file, text, index, `imports ${target}${why ? `: ${why}` : ''}`);
    }
  }
  if (!['backends/cuda.ts', 'backends/load-addon.cts'].includes(name)) {
    for (const { index } of text.matchAll(/\bloadAddon\b|\.node'/g)) {
      report(file, text, index, 'only backends/cuda.ts loads the addon');
    }
  }
}

const native = filesUnder(join(root, 'cuda'));
const library = filesUnder(join(root, 'lib')).filter((file) => /\.c?ts$/.test(file));
native.forEach(checkNative);
library.forEach(checkLibrary);
for (const line of violations) console.error(line);
console.log(
  `layers: ${native.length} native and ${library.length} library files, ${violations.length} violations`,
);
if (violations.length > 0) exit(1);
