#!/usr/bin/env node
// npm run prebuild: prebuilds/<platform>-<arch>/warptile.node, the stripped addon that the published package carries and
// that lib/backends/load-addon.cts looks for. One binary serves every Node: it uses Node-API 8.
//
// prebuildify starts a node-gyp, which would download Node's headers. It is given this file instead
// (called again as `rebuild ...`): CMake's build, with the product copied into a staging folder, since
// prebuildify moves what it packs and the local build keeps its copy and its symbols.

import { copyFileSync, mkdirSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { argv, cwd, exit, version } from 'node:process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { build, root } from './build.mjs';

const self = fileURLToPath(import.meta.url);

async function asNodeGyp() {
  const skipped = await build({ typescript: false });
  if (skipped.length > 0) throw new Error('a prebuild needs the native addon');
  const output = join(cwd(), 'build', 'Release');
  mkdirSync(output, { recursive: true });
  copyFileSync(join(root, 'build', 'Release', 'warptile.node'), join(output, 'warptile.node'));
}

async function prebuild() {
  const prebuildify = promisify(createRequire(import.meta.url)('prebuildify'));
  const staging = join(root, 'build', 'prebuild');
  mkdirSync(staging, { recursive: true });
  rmSync(join(root, 'prebuilds'), { recursive: true, force: true });
  await prebuildify({
    cwd: staging,
    out: root,
    name: 'warptile',
    napi: true,
    strip: true,
    targets: [version],
    nodeGyp: self,
  });
}

try {
  await (argv[2] === 'rebuild' ? asNodeGyp() : prebuild());
} catch (error) {
  console.error(`prebuild: ${error.message}`);
  exit(1);
}
