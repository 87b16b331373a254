// Sparse matrices of the kinds that users have and no file holds: pruned weights, attention masks, graphs, bands. Seeded:
// the same matrix for the same seed on every machine.

import type { HostCsr } from '../lib/io/host-csr.js';
import { Random } from '../test/harness/random.js';

/** Collects a pattern row by row. */
class Rows {
  readonly #shape: readonly [number, number];
  readonly #rowPointers: Int32Array;
  #columns = new Int32Array(1024);
  #size = 0;
  #row = 0;

  constructor(rows: number, columns: number) {
    this.#shape = [rows, columns];
    this.#rowPointers = new Int32Array(rows + 1);
  }

  /** Columns of a row come in ascending order. */
  push(column: number): void {
    if (this.#size === this.#columns.length) {
      const larger = new Int32Array(2 * this.#size);
      larger.set(this.#columns);
      this.#columns = larger;
    }
    this.#columns[this.#size++] = column;
  }

  endRow(): void {
    this.#rowPointers[++this.#row] = this.#size;
  }

  get csr(): HostCsr {
    return {
      shape: this.#shape,
      rowPointers: this.#rowPointers,
      columnIndices: this.#columns.slice(0, this.#size),
    };
  }
}

/** Each element stored with the given probability. */
export function uniform(rows: number, columns: number, density: number, seed: string): HostCsr {
  const random = new Random(seed);
  const pattern = new Rows(rows, columns);
  // Gaps between stored elements are geometric: one draw for each of them instead of one for each element.
  const scale = 1 / Math.log(1 - density);
  let at = Math.floor(Math.log(1 - random.unit()) * scale);
  for (let row = 0; row < rows; ++row) {
    const end = (row + 1) * columns;
    for (; at < end; at += 1 + Math.floor(Math.log(1 - random.unit()) * scale)) {
      pattern.push(at - row * columns);
    }
    pattern.endRow();
  }
  return pattern.csr;
}

export interface Pruned {
  readonly rows: number;
  readonly columns: number;
  readonly density: number;
  /** Standard deviation of row lengths over their mean, empty rows included. */
  readonly rowCv: number;
  /** Share of rows without any element. Default 0. */
  readonly emptyRows?: number;
}

/**
 * Weights as pruning leaves them, after the statistics of DLMC: element (i, j) is stored with probability
 * min(1, d R_i C_j), R and C Gamma-distributed with mean 1, as wide as the row lengths ask for beyond their binomial spread.
 */
export function pruned({ rows, columns, density, rowCv, emptyRows = 0 }: Pruned, seed: string): HostCsr {
  const random = new Random(seed);
  const filled = 1 - emptyRows;
  const inside = Math.min(1, density / filled);
  // Empty rows account for part of the deviation, chance for another.
  const ownCv2 = (1 + rowCv ** 2) * filled - 1;
  const rowFactors = gammas(random, rows, ownCv2 - (1 - inside) / (inside * columns));
  const columnFactors = gammas(random, columns, ownCv2 - (1 - inside) / (inside * rows));
  const emptyCount = Math.round(emptyRows * rows);
  const order = shuffled(random, rows);
  for (let i = 0; i < emptyCount; ++i) rowFactors[order[i]] = 0;
  const scale = scaleFor(density * rows * columns, rowFactors, columnFactors);
  const pattern = new Rows(rows, columns);
  for (let row = 0; row < rows; ++row) {
    const factor = scale * rowFactors[row];
    if (factor > 0) {
      for (let column = 0; column < columns; ++column) {
        if (random.unit() < factor * columnFactors[column]) pattern.push(column);
      }
    }
    pattern.endRow();
  }
  return pattern.csr;
}

/** The factor with which the clipped probabilities add up to the stored elements wanted. */
function scaleFor(wanted: number, rows: Float64Array, columns: Float64Array): number {
  let scale = wanted / (rows.reduce((sum, x) => sum + x, 0) * columns.reduce((sum, x) => sum + x, 0));
  for (let iteration = 0; iteration < 6; ++iteration) {
    let sum = 0;
    for (const row of rows) for (const column of columns) sum += Math.min(1, scale * row * column);
    if (Math.abs(sum / wanted - 1) < 0.01) break;
    scale *= wanted / sum;
  }
  return scale;
}

/** Gamma variates of mean 1 and the given squared coefficient of variation (Marsaglia and Tsang 2000); ones where it is not positive. */
function gammas(random: Random, count: number, cv2: number): Float64Array {
  if (cv2 <= 1e-6) return new Float64Array(count).fill(1);
  const shape = 1 / cv2;
  // Below shape 1 their method draws at shape + 1 and corrects by a power of a uniform variate.
  const d = (shape < 1 ? shape + 1 : shape) - 1 / 3;
  const c = 1 / Math.sqrt(9 * d);
  return Float64Array.from({ length: count }, () => {
    for (;;) {
      const x = random.normal();
      const v = (1 + c * x) ** 3;
      if (v <= 0 || Math.log(1 - random.unit()) >= 0.5 * x * x + d - d * v + d * Math.log(v)) continue;
      return (d * v * (shape < 1 ? (1 - random.unit()) ** (1 / shape) : 1)) / shape;
    }
  });
}

function shuffled(random: Random, count: number): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; --i) {
    const j = random.integer(0, i);
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

/** A causal attention window: row i holds the `width` columns up to i, and the first `globals` tokens see and are seen by all. */
export function window(tokens: number, width: number, globals = 0): HostCsr {
  const pattern = new Rows(tokens, tokens);
  for (let row = 0; row < tokens; ++row) {
    const first = row < globals ? 0 : Math.max(0, row - width + 1);
    for (let column = 0; column < Math.min(globals, first); ++column) pattern.push(column);
    const last = row < globals ? tokens - 1 : row;
    for (let column = first; column <= last; ++column) pattern.push(column);
    pattern.endRow();
  }
  return pattern.csr;
}

/** Elements within `halfWidth` of the diagonal, each stored with the given probability; the diagonal is whole. */
export function banded(rows: number, halfWidth: number, density: number, seed: string): HostCsr {
  const random = new Random(seed);
  const pattern = new Rows(rows, rows);
  for (let row = 0; row < rows; ++row) {
    const last = Math.min(rows - 1, row + halfWidth);
    for (let column = Math.max(0, row - halfWidth); column <= last; ++column) {
      if (column === row || density === 1 || random.unit() < density) pattern.push(column);
    }
    pattern.endRow();
  }
  return pattern.csr;
}

/** A graph whose degrees and popularities fall off as a power: Chung-Lu with rank^-1/2, `mean` neighbours on average. */
export function powerLaw(nodes: number, mean: number, seed: string): HostCsr {
  const random = new Random(seed);
  const pattern = new Rows(nodes, nodes);
  // The weights rank^-1/2 add up to about 2 sqrt(nodes); popular nodes are spread over the numbering by a bijection.
  let stride = 40_503;
  while (greatestCommonDivisor(stride, nodes) > 1) ++stride;
  const spread = (rank: number): number => (rank * stride) % nodes;
  const order = Uint32Array.from({ length: nodes }, (_, rank) => spread(rank));
  const degrees = new Uint32Array(nodes);
  order.forEach((node, rank) => {
    degrees[node] = Math.round((mean * Math.sqrt(nodes)) / (2 * Math.sqrt(rank + 1)) + random.unit() - 0.5);
  });
  for (let row = 0; row < nodes; ++row) {
    const columns = new Set<number>();
    // A square of a uniform number has the density rank^-1/2.
    for (let i = 0; i < degrees[row]; ++i) columns.add(order[Math.floor(nodes * random.unit() ** 2)]);
    for (const column of [...columns].sort((a, b) => a - b)) pattern.push(column);
    pattern.endRow();
  }
  return pattern.csr;
}

/** R-MAT with the quadrant probabilities of Graph500: 2^scale nodes, `mean` edges a node before repeated ones are dropped. */
export function rmat(scale: number, mean: number, seed: string): HostCsr {
  const random = new Random(seed);
  const nodes = 2 ** scale;
  const edges = new Float64Array(Math.round(nodes * mean));
  for (let edge = 0; edge < edges.length; ++edge) {
    let [row, column] = [0, 0];
    for (let bit = 0; bit < scale; ++bit) {
      const draw = random.unit();
      // 0.57, 0.19, 0.19, 0.05
      row = 2 * row + (draw >= 0.76 ? 1 : 0);
      column = 2 * column + ((draw >= 0.57 && draw < 0.76) || draw >= 0.95 ? 1 : 0);
    }
    edges[edge] = row * nodes + column;
  }
  edges.sort();
  const pattern = new Rows(nodes, nodes);
  let at = 0;
  for (let row = 0; row < nodes; ++row) {
    for (const end = (row + 1) * nodes; at < edges.length && edges[at] < end; ++at) {
      if (at === 0 || edges[at] !== edges[at - 1]) pattern.push(edges[at] - row * nodes);
    }
    pattern.endRow();
  }
  return pattern.csr;
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
