// Which generated matrices are measured.

import type { HostCsr } from '../lib/io/host-csr.js';
import { Random } from '../test/harness/random.js';
import { banded, powerLaw, pruned, rmat, uniform, window } from './generators.js';
import type { MatrixGroup, NamedMatrix } from './matrices.js';

/** How many problems: one or two an operation, a few minutes of them, or all that the goals speak of. */
export type Scale = 'quick' | 'default' | 'full';

/** The generated part of the problem set, sized for a processor or a GPU. */
export function generatedMatrices(kind: 'cpu' | 'cuda', scale: Scale): readonly NamedMatrix[] {
  if (scale === 'quick') return [];
  if (kind === 'cpu') {
    return [
      uniformMatrix(1024, 1024, 90),
      uniformMatrix(1024, 1024, 98),
      windowMatrix(2048, 64),
      powerLawMatrix(8192, 8),
    ];
  }
  const few = [
    uniformMatrix(4096, 4096, 90),
    uniformMatrix(4096, 4096, 98),
    windowMatrix(16_384, 512),
    powerLawMatrix(131_072, 8),
  ];
  return scale === 'default' ? few : [...few, ...tableMatrices(), ...heldOutMatrices(), ...otherMatrices()];
}

/** The rest of the generated matrices that cuSPARSE was measured on before there was anything to compare. */
function tableMatrices(): NamedMatrix[] {
  return [
    uniformMatrix(4096, 4096, 50),
    uniformMatrix(4096, 4096, 70),
    uniformMatrix(512, 4608, 90),
    uniformMatrix(2048, 512, 80),
    uniformMatrix(131_072, 131_072, 99.99),
    powerLawMatrix(200_000, 15.5),
    windowMatrix(16_384, 128, 64),
  ];
}

type PrunedRow = readonly [
  method: string,
  sparsity: number,
  rows: number,
  columns: number,
  cv: number,
  empty?: number,
];

// Median coefficients of variation of DLMC's row lengths by method and sparsity; shapes of its layers.
const prunedRows: readonly PrunedRow[] = [
  ['random', 0.5, 512, 512, 0.04],
  ['random', 0.9, 512, 2048, 0.13],
  ['random', 0.98, 2048, 512, 0.31],
  ['magnitude-transformer', 0.5, 512, 512, 0.1],
  ['magnitude-transformer', 0.7, 2048, 512, 0.19],
  ['magnitude-transformer', 0.8, 512, 2048, 0.16],
  ['magnitude-transformer', 0.9, 33_288, 512, 0.24],
  ['magnitude-transformer', 0.95, 512, 512, 0.36],
  ['magnitude-transformer', 0.98, 512, 2048, 0.47],
  ['magnitude-rn50', 0.5, 256, 2304, 0.11],
  ['magnitude-rn50', 0.7, 1024, 256, 0.18],
  ['magnitude-rn50', 0.8, 512, 4608, 0.23],
  ['magnitude-rn50', 0.9, 1000, 2048, 0.33],
  ['magnitude-rn50', 0.95, 128, 1152, 0.43],
  ['magnitude-rn50', 0.98, 2048, 1024, 0.45],
  ['l0', 0.8, 512, 512, 0.23],
  ['l0', 0.9, 2048, 512, 0.38],
  ['l0', 0.95, 512, 2048, 0.57, 0.05],
  ['l0', 0.98, 512, 512, 0.89, 0.2],
  ['variational', 0.8, 2048, 512, 0.24],
  ['variational', 0.9, 512, 512, 0.49],
  ['variational', 0.95, 512, 2048, 0.77, 0.15],
  ['variational', 0.98, 512, 512, 1.75, 0.58],
];

/** Pruned weights like DLMC's that nothing was tuned on. */
function heldOutMatrices(): NamedMatrix[] {
  return prunedRows.map(([method, sparsity, rows, columns, rowCv, emptyRows = 0]) => {
    const name = `pruned-${method}-${sparsity}-${rows}x${columns}`;
    return lazy(name, 'dlmc', () => pruned({ rows, columns, density: 1 - sparsity, rowCv, emptyRows }, name));
  });
}

function otherMatrices(): NamedMatrix[] {
  return [
    windowMatrix(4096, 64),
    windowMatrix(8192, 256, 32),
    rmatMatrix(14, 16),
    rmatMatrix(17, 8),
    rmatMatrix(18, 4),
    bandedMatrix(20_000, 40, 1),
    bandedMatrix(8192, 256, 0.25),
    bandedMatrix(100_000, 1, 1),
    bandedMatrix(5000, 200, 0.1),
  ];
}

/** A matrix drawn from the generators: any kind, any sensible size. */
export function randomMatrix(seed: string): NamedMatrix {
  const random = new Random(seed);
  // Sizes spread evenly over magnitudes.
  const size = (low: number, high: number): number => Math.round(low * (high / low) ** random.unit());
  const share = (low: number, high: number): number =>
    Number((low * (high / low) ** random.unit()).toFixed(4));
  const make: readonly (() => NamedMatrix)[] = [
    () => {
      const [rows, columns, density] = [size(64, 4096), size(64, 4096), share(0.01, 0.5)];
      const rowCv = Number((0.05 + 1.5 * random.unit() ** 2).toFixed(2));
      const emptyRows = random.unit() < 0.3 ? Number((0.6 * random.unit()).toFixed(2)) : 0;
      const name = `pruned-${rows}x${columns}-d${density}-cv${rowCv}-empty${emptyRows}`;
      return lazy(name, 'dlmc', () => pruned({ rows, columns, density, rowCv, emptyRows }, seed));
    },
    () => {
      const [rows, columns, density] = [size(64, 16_384), size(64, 16_384), share(0.002, 0.5)];
      const most = Math.min(density, 4e6 / rows / columns);
      return lazy(`uniform-${rows}x${columns}-d${most.toPrecision(3)}`, 'uniform', () =>
        uniform(rows, columns, most, seed),
      );
    },
    () => windowMatrix(size(512, 8192), size(16, 512), random.unit() < 0.5 ? 0 : size(1, 64)),
    () => powerLawMatrix(size(5000, 100_000), size(2, 24), seed),
    () => rmatMatrix(random.integer(11, 17), size(2, 16), seed),
    () => bandedMatrix(size(500, 50_000), size(1, 128), random.unit() < 0.5 ? 1 : share(0.05, 1), seed),
  ];
  return random.pick(make)();
}

function uniformMatrix(rows: number, columns: number, percent: number): NamedMatrix {
  const size = rows === columns ? `${rows}` : `${rows}x${columns}`;
  const group = percent >= 99.9 ? 'graph' : rows * columns >= 4096 ** 2 ? 'uniform' : 'dlmc';
  return lazy(`uniform-${size}-${percent}%`, group, () =>
    uniform(rows, columns, 1 - percent / 100, `uniform ${percent}`),
  );
}

function windowMatrix(tokens: number, width: number, globals = 0): NamedMatrix {
  const name = `window-${tokens}-${width}${globals === 0 ? '' : `-global-${globals}`}`;
  return lazy(name, 'uniform', () => window(tokens, width, globals));
}

function powerLawMatrix(nodes: number, mean: number, seed = 'power law'): NamedMatrix {
  return lazy(`power-law-${nodes}-${mean}`, 'graph', () => powerLaw(nodes, mean, seed));
}

function rmatMatrix(scale: number, mean: number, seed = 'r-mat'): NamedMatrix {
  return lazy(`rmat-${scale}-${mean}`, 'graph', () => rmat(scale, mean, seed));
}

function bandedMatrix(rows: number, halfWidth: number, density: number, seed = 'banded'): NamedMatrix {
  const name = `banded-${rows}-${halfWidth}-${(100 * density).toPrecision(3)}%`;
  return lazy(name, 'fem', () => banded(rows, halfWidth, density, seed));
}

/** Drawn when it is first asked for: a filter may leave it out. */
function lazy(name: string, group: MatrixGroup, make: () => HostCsr): NamedMatrix {
  let made: HostCsr | undefined;
  return {
    name,
    group,
    get csr() {
      made ??= make();
      return made;
    },
  };
}
