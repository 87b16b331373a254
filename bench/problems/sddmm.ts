import { sddmmReference } from '../../lib/backends/reference/sddmm.js';
import type { Device } from '../../lib/device/device.js';
import { explainSddmm, sddmm, sddmmCall } from '../../lib/ops/sddmm.js';
import { autotuneSddmm } from '../../lib/ops/sddmm-autotune.js';
import { dtypeInfo, type FloatDType } from '../../lib/tensor/dtype.js';
import { expectedSums } from '../expectation.js';
import { Operand } from '../operands.js';
import type { BoundProblem, Family, Problem } from '../problem.js';
import { SparseOperand, sizesFor, storedRows } from '../sparse.js';

/** S = A B^T where the matrix has an element, for dense operands of n columns. */
export const sddmmFamily: Family = {
  operation: 'sddmm',
  *problems(context) {
    const { dtypes, matrices, quick } = context;
    for (const matrix of matrices.slice(0, quick ? 1 : undefined)) {
      const mask = SparseOperand.fromFile(matrix);
      for (const n of context.sizes(sizesFor(context))) {
        for (const dtype of dtypes) yield problem(mask, n, dtype);
      }
    }
  },
};

function problem(mask: SparseOperand, n: number, dtype: FloatDType): Problem {
  const { bytes } = dtypeInfo[dtype];
  return {
    operation: 'sddmm',
    name: `${mask.title} k=${n}`,
    dtype,
    n,
    density: mask.density,
    ...(mask.group === undefined ? {} : { group: mask.group }),
    work: {
      bytes: mask.nnz * bytes + mask.indexBytes + bytes * n * (mask.touchedRows + mask.touchedColumns),
      flops: 2 * mask.nnz * n,
    },
    bind: (device) => bind(device, mask, n, dtype),
  };
}

function bind(device: Device, mask: SparseOperand, n: number, dtype: FloatDType): BoundProblem {
  const { pattern } = mask;
  const a = Operand.normal(`${mask.name} a`, [pattern.rows, n], dtype);
  const b = Operand.normal(`${mask.name} b`, [pattern.columns, n], dtype);
  const matrix = mask.on(device, mask.values(dtype));
  const [left, right] = [a.on(device), b.on(device)];
  const output = device.empty([mask.nnz], dtype);
  const out = matrix.withValues(output);
  const options = { out };
  return {
    output,
    get variant() {
      const { variant, parameters } = explainSddmm(matrix, left, right);
      return device.kind === 'cpu' ? 'reference' : `${variant} ${parameters}`.trim();
    },
    tune: () => autotuneSddmm(matrix, left, right),
    rows: pattern.rows,
    rowStarts: pattern.rowPointers,
    run: () => {
      sddmm(matrix, left, right, options);
    },
    reference(rows) {
      const result = sddmmReference(
        {
          pattern,
          depth: n,
          batch: 1,
          a: a.values,
          lda: n,
          aStride: 0,
          b: b.values,
          ldb: n,
          bStride: 0,
          factors: undefined,
          factorsStride: 0,
          alpha: 1,
        },
        rows,
      );
      const values = storedRows(result.values, pattern.rowPointers, rows);
      const magnitudes = storedRows(result.magnitudes, pattern.rowPointers, rows);
      return expectedSums(dtype, values, () => n, magnitudes);
    },
    peers: () => device.backend.preparePeers('sddmm', sddmmCall(left, right, out, 1, undefined)),
    dispose() {
      for (const item of [matrix, left, right, out, output]) item.dispose();
    },
  };
}
