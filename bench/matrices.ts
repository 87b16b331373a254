import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { packageRoot } from '../lib/backends/load-addon.cjs';
import { fail } from '../lib/errors.js';
import type { HostCsr } from '../lib/io/host-csr.js';
import { readMatrixMarket } from '../lib/io/matrix-market.js';
import { readSmtx } from '../lib/io/smtx.js';

export interface NamedMatrix {
  /** The file's name without its ending. */
  readonly name: string;
  readonly csr: HostCsr;
}

/** The folder of the matrices that come with the package. */
export function bundledData(): string {
  return path.join(packageRoot(), 'bench', 'data');
}

/** Every .mtx and .smtx file under a folder, sorted by path. @throws WarptileError where there is none, or one is malformed. */
export async function loadMatrices(folder: string): Promise<NamedMatrix[]> {
  if (!existsSync(folder)) fail('ERR_ARGUMENT', 'data', 'an existing folder', folder);
  const files = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory() && /\.s?mtx$/.test(entry.name))
    .map((entry) => path.join(entry.parentPath, entry.name))
    .sort();
  if (files.length === 0) fail('ERR_ARGUMENT', 'data', 'a folder with .mtx or .smtx files', folder);
  const matrices: NamedMatrix[] = [];
  for (const file of files) {
    const { name, ext } = path.parse(file);
    matrices.push({ name, csr: await (ext === '.mtx' ? readMatrixMarket : readSmtx)(file) });
  }
  return matrices;
}
