// Sparse matrices of the kinds that users have and no file holds: pruned weights, attention windows, graphs, blocks.

import type { HostCsr } from '../lib/io/host-csr.js';
import { Random } from '../test/harness/random.js';
import type { NamedMatrix } from './matrices.js';

/** The generated part of the problem set, sized for a processor or a GPU. */
export function generatedMatrices(kind: 'cpu' | 'cuda', quick: boolean): NamedMatrix[] {
  if (quick) return [];
  const n = kind === 'cpu' ? 1024 : 4096;
  const graph = kind === 'cpu' ? 8192 : 131_072;
  const tokens = kind === 'cpu' ? 2048 : 16_384;
  const width = kind === 'cpu' ? 64 : 512;
  return [
    { name: `uniform-${n}-90%`, csr: uniform(n, n, 0.1, 'uniform 90') },
    { name: `uniform-${n}-98%`, csr: uniform(n, n, 0.02, 'uniform 98') },
    { name: `window-${tokens}-${width}`, csr: window(tokens, width) },
    { name: `power-law-${graph}-8`, csr: powerLaw(graph, 8, 'power law') },
  ];
}

/** Each element stored with the given probability. */
export function uniform(rows: number, columns: number, density: number, seed: string): HostCsr {
  const random = new Random(seed);
  const columnIndices: number[] = [];
  const rowPointers = new Int32Array(rows + 1);
  // Gaps between stored elements are geometric: one draw for each of them instead of one for each element.
  const scale = 1 / Math.log(1 - density);
  const total = rows * columns;
  for (let at = -1; ; ) {
    at += 1 + Math.floor(Math.log(1 - random.unit()) * scale);
    if (at >= total) break;
    columnIndices.push(at % columns);
    ++rowPointers[Math.floor(at / columns) + 1];
  }
  accumulate(rowPointers);
  return { shape: [rows, columns], rowPointers, columnIndices: Int32Array.from(columnIndices) };
}

/** A causal attention window: row i holds the `width` columns up to i. */
export function window(tokens: number, width: number): HostCsr {
  const rowPointers = new Int32Array(tokens + 1);
  const columnIndices: number[] = [];
  for (let row = 0; row < tokens; ++row) {
    for (let column = Math.max(0, row - width + 1); column <= row; ++column) columnIndices.push(column);
    rowPointers[row + 1] = columnIndices.length;
  }
  return { shape: [tokens, tokens], rowPointers, columnIndices: Int32Array.from(columnIndices) };
}

/** A graph whose degrees and popularities fall off as a power: Chung-Lu with rank^-1/2, `mean` neighbours on average. */
export function powerLaw(nodes: number, mean: number, seed: string): HostCsr {
  const random = new Random(seed);
  const rowPointers = new Int32Array(nodes + 1);
  const columnIndices: number[] = [];
  // The weights rank^-1/2 add up to about 2 sqrt(nodes); popular nodes are spread over the numbering by a bijection.
  const spread = (rank: number): number => (rank * 40_503) % nodes;
  const order = Uint32Array.from({ length: nodes }, (_, rank) => spread(rank));
  const degrees = new Uint32Array(nodes);
  order.forEach((node, rank) => {
    degrees[node] = Math.round((mean * Math.sqrt(nodes)) / (2 * Math.sqrt(rank + 1)) + random.unit() - 0.5);
  });
  for (let row = 0; row < nodes; ++row) {
    const columns = new Set<number>();
    // A square of a uniform number has the density rank^-1/2.
    for (let i = 0; i < degrees[row]; ++i) columns.add(order[Math.floor(nodes * random.unit() ** 2)]);
    for (const column of [...columns].sort((a, b) => a - b)) columnIndices.push(column);
    rowPointers[row + 1] = columnIndices.length;
  }
  return { shape: [nodes, nodes], rowPointers, columnIndices: Int32Array.from(columnIndices) };
}

function accumulate(rowPointers: Int32Array): void {
  for (let row = 1; row < rowPointers.length; ++row) rowPointers[row] += rowPointers[row - 1];
}
