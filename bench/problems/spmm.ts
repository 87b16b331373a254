import { spmmReference } from '../../lib/backends/reference/spmm.js';
import type { Device } from '../../lib/device/device.js';
import type { SparseMatrix } from '../../lib/formats/sparse-matrix.js';
import { explainSpmm, spmm, spmmCall } from '../../lib/ops/spmm.js';
import { autotuneSpmm } from '../../lib/ops/spmm-autotune.js';
import { dtypeInfo, type FloatDType } from '../../lib/tensor/dtype.js';
import { expectedSums } from '../expectation.js';
import { uniform } from '../generators.js';
import { summarise } from '../measure.js';
import { Operand } from '../operands.js';
import type { BoundProblem, Family, Preparation, Problem, ProblemContext } from '../problem.js';
import { SparseOperand, sizesFor } from '../sparse.js';

/** C = A B: every sparse matrix, and one of dense blocks, times n columns. */
export const spmmFamily: Family = {
  operation: 'spmm',
  *problems(context) {
    const { dtypes, matrices, quick } = context;
    const operands = matrices.slice(0, quick ? 2 : undefined).map((matrix) => SparseOperand.fromFile(matrix));
    if (!quick) operands.push(blocks(context));
    for (const operand of operands) {
      for (const n of context.sizes(sizesFor(context))) {
        for (const dtype of dtypes) yield problem(operand, n, dtype);
      }
    }
  },
};

/** Blocks of 32 x 32, a tenth of them stored. */
function blocks({ kind }: ProblemContext): SparseOperand {
  const [n, block] = [kind === 'cpu' ? 1024 : 4096, 32];
  const { rowPointers, columnIndices } = uniform(n / block, n / block, 0.1, 'blocks');
  const sizes = { rows: n, columns: n, blockRows: block, blockColumns: block };
  return new SparseOperand(`blocks-${block}x${block}-90%`, { ...sizes, rowPointers, columnIndices });
}

function problem(a: SparseOperand, n: number, dtype: FloatDType): Problem {
  const { bytes } = dtypeInfo[dtype];
  return {
    operation: 'spmm',
    name: `${a.title} n=${n}`,
    dtype,
    n,
    density: a.density,
    ...(a.group === undefined ? {} : { group: a.group }),
    work: {
      bytes: a.nnz * bytes + a.indexBytes + bytes * n * (a.touchedColumns + a.pattern.rows),
      flops: 2 * a.nnz * n,
    },
    bind: (device) => bind(device, a, n, dtype),
  };
}

/** Matrices that are prepared, and when there are enough of them: the engine compiles the planner meanwhile. */
const [fewestPrepared, mostPrepared] = [5, 200];
const enoughMicroseconds = 20_000;

/** Prepares `matrix`, and on a GPU others over its pattern with values of their own: times of each with all that it enqueues. */
function prepare(device: Device, matrix: SparseMatrix, n: number): Preparation | undefined {
  const time = (fresh: SparseMatrix): number => {
    // Uploads are no part of preparing.
    device.backend.synchronizeSync();
    const start = performance.now();
    fresh.prepare({ n });
    device.backend.synchronizeSync();
    return 1000 * (performance.now() - start);
  };
  const firstPrepareUs = time(matrix);
  if (device.kind === 'cpu') return undefined;
  const samples = [firstPrepareUs];
  let spent = firstPrepareUs;
  while (samples.length < fewestPrepared || (samples.length < mostPrepared && spent < enoughMicroseconds)) {
    const other = matrix.adopt(device.empty(matrix.setShape, matrix.dtype));
    try {
      const us = time(other);
      samples.push(us);
      spent += us;
    } finally {
      other.dispose();
    }
  }
  return { prepareUs: summarise(samples).us, firstPrepareUs };
}

function bind(device: Device, a: SparseOperand, n: number, dtype: FloatDType): BoundProblem {
  const { pattern } = a;
  const values = a.values(dtype);
  const b = Operand.normal(`${a.name} b`, [pattern.columns, n], dtype);
  const matrix = a.on(device, values);
  const dense = b.on(device);
  const output = device.empty([pattern.rows, n], dtype);
  const options = { out: output };
  const preparation = prepare(device, matrix, n);
  return {
    output,
    rows: pattern.rows,
    preparation,
    get variant() {
      const { variant, parameters } = explainSpmm(matrix, dense);
      return device.kind === 'cpu' ? 'reference' : `${variant} ${parameters}`.trim();
    },
    tune: () => autotuneSpmm(matrix, dense),
    run: () => {
      spmm(matrix, dense, options);
    },
    reference(rows) {
      const result = spmmReference(
        {
          pattern,
          width: n,
          batch: 1,
          values: values.values,
          valuesStride: 0,
          b: b.values,
          ldb: n,
          bStride: 0,
          c: undefined,
          ldc: n,
          cStride: 0,
          alpha: 1,
          beta: 0,
        },
        rows,
      );
      const terms = (index: number): number => result.terms[Math.floor(index / n)];
      return expectedSums(dtype, result.values, terms, result.magnitudes);
    },
    peers: () => device.backend.preparePeers('spmm', spmmCall(matrix, dense, output, 1, 0)),
    dispose() {
      for (const item of [matrix, dense, output]) item.dispose();
    },
  };
}
