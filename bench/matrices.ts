import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { packageRoot } from '../lib/backends/load-addon.cjs';
import { fail } from '../lib/errors.js';
import type { HostCsr } from '../lib/io/host-csr.js';
import { readMatrixMarket } from '../lib/io/matrix-market.js';
import { readSmtx } from '../lib/io/smtx.js';

/** What the goals tell apart: pruned weights; uniform matrices and attention masks; graphs; finite elements, economics and bands. */
export type MatrixGroup = 'dlmc' | 'uniform' | 'graph' | 'fem';

export interface NamedMatrix {
  /** The file's name without its ending. */
  readonly name: string;
  readonly group: MatrixGroup;
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
    const csr = await (ext === '.mtx' ? readMatrixMarket : readSmtx)(file);
    matrices.push({ name, group: ext === '.mtx' ? groupOf(csr) : 'dlmc', csr });
  }
  return matrices;
}

/** Pruned weights come as .smtx; of the others graphs are the sparsest. */
function groupOf({ shape: [rows, columns], columnIndices }: HostCsr): MatrixGroup {
  return columnIndices.length < 0.001 * rows * columns ? 'graph' : 'fem';
}
