import { sparseSoftmaxReference } from '../../lib/backends/reference/sparse-softmax.js';
import type { Device } from '../../lib/device/device.js';
import { sparseSoftmax } from '../../lib/ops/sparse-softmax.js';
import { dtypeInfo, type FloatDType } from '../../lib/tensor/dtype.js';
import { softmaxBounds } from '../../test/harness/bound.js';
import type { BoundProblem, Family, Problem } from '../problem.js';
import { SparseOperand, storedRows } from '../sparse.js';

/** Softmax over the stored elements of each row. */
export const sparseSoftmaxFamily: Family = {
  operation: 'sparseSoftmax',
  *problems({ dtypes, matrices, quick }) {
    for (const matrix of matrices.slice(0, quick ? 1 : undefined)) {
      const operand = SparseOperand.fromFile(matrix);
      for (const dtype of dtypes) yield problem(operand, dtype);
    }
  },
};

function problem(operand: SparseOperand, dtype: FloatDType): Problem {
  return {
    operation: 'sparseSoftmax',
    name: operand.title,
    dtype,
    n: 1,
    // Scale, subtract, exponentiate, add, divide.
    work: { bytes: 2 * operand.nnz * dtypeInfo[dtype].bytes + operand.indexBytes, flops: 5 * operand.nnz },
    bind: (device) => bind(device, operand, dtype),
  };
}

function bind(device: Device, operand: SparseOperand, dtype: FloatDType): BoundProblem {
  const { pattern } = operand;
  const values = operand.values(dtype);
  const matrix = operand.on(device, values);
  const output = device.empty([operand.nnz], dtype);
  const out = matrix.withValues(output);
  const options = { out };
  return {
    output,
    rows: pattern.rows,
    rowStarts: pattern.rowPointers,
    run: () => {
      sparseSoftmax(matrix, options);
    },
    reference(rows) {
      const result = sparseSoftmaxReference({ pattern, batch: 1, values: values.values, scale: 1 }, rows);
      const sampled = storedRows(result.values, pattern.rowPointers, rows);
      const conditions = storedRows(result.conditions, pattern.rowPointers, rows);
      return { values: sampled, bound: softmaxBounds(dtype, sampled, conditions) };
    },
    dispose() {
      for (const item of [matrix, out, output]) item.dispose();
    },
  };
}
