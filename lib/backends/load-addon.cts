// Finds the native addon. CommonJS in both builds, for __dirname and a require that can load a .node file.

import fs = require('node:fs');
import path = require('node:path');

interface Attempt {
  readonly file: string;
  readonly reason: string;
}

interface LoadResult {
  /** The addon's exports, when one was loaded. */
  readonly addon?: unknown;
  /** The file it came from. */
  readonly file?: string;
  /** What was tried before, and why it was not taken. */
  readonly attempts: readonly Attempt[];
}

/** The package's folder: the nearest one above this file that holds warptile's package.json. */
function packageRoot(): string {
  for (let folder = __dirname; ; folder = path.dirname(folder)) {
    const file = path.join(folder, 'package.json');
    if (fs.existsSync(file) && JSON.parse(fs.readFileSync(file, 'utf8')).name === 'warptile') return folder;
    if (path.dirname(folder) === folder) return __dirname;
  }
}

let cached: LoadResult | undefined;

/** Tries WARPTILE_ADDON, the local build and the packed prebuild, in this order, once a process and thread. */
function loadAddon(): LoadResult {
  cached ??= search();
  return cached;
}

function search(): LoadResult {
  const attempts: Attempt[] = [];
  const root = packageRoot();
  const override = process.env.WARPTILE_ADDON;
  if (override === 'none') {
    return { attempts: [{ file: 'WARPTILE_ADDON=none', reason: 'the addon is switched off' }] };
  }
  const files = override
    ? [path.resolve(override)]
    : [
        path.join(root, 'build', 'Release', 'warptile.node'),
        path.join(root, 'prebuilds', `${process.platform}-${process.arch}`, 'warptile.node'),
      ];
  for (const file of files) {
    if (!fs.existsSync(file)) {
      attempts.push({ file, reason: 'no such file' });
      continue;
    }
    try {
      return { addon: require(file), file, attempts };
    } catch (error) {
      attempts.push({ file, reason: error instanceof Error ? error.message : String(error) });
    }
  }
  return { attempts };
}

export = { loadAddon, packageRoot };
