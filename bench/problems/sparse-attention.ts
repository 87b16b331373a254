import { sparseAttentionRows } from '../../lib/backends/reference/sparse-attention.js';
import type { Device } from '../../lib/device/device.js';
import { sparseAttention } from '../../lib/ops/sparse-attention.js';
import { dtypeInfo, type FloatDType } from '../../lib/tensor/dtype.js';
import { expectedAttention } from '../../test/harness/attention-bound.js';
import { uniform, window } from '../generators.js';
import { Operand } from '../operands.js';
import type { BoundProblem, Family, Problem } from '../problem.js';
import { SparseOperand } from '../sparse.js';

const blockSize = 64;

/** A causal window listed in CSR, and a tenth of all blocks of 64 x 64; n is the number of tokens. */
export const sparseAttentionFamily: Family = {
  operation: 'sparseAttention',
  *problems(context) {
    const { kind, quick, dtypes } = context;
    const [heads, headDim] = kind === 'cpu' ? [2, 32] : [16, 64];
    for (const n of context.sizes(kind === 'cpu' ? [512] : [8192])) {
      for (const mask of [windowMask(n), ...(quick ? [] : [blockMask(n)])]) {
        for (const dtype of dtypes) yield problem(mask, heads, headDim, dtype);
      }
    }
  },
};

function windowMask(n: number): SparseOperand {
  const width = Math.min(n, Math.max(8, n / 32));
  return SparseOperand.fromFile({
    name: `window-${width}`,
    group: 'uniform',
    csr: window(n, Math.floor(width)),
  });
}

function blockMask(n: number): SparseOperand {
  const blocks = Math.ceil(n / blockSize);
  const { rowPointers, columnIndices } = uniform(blocks, blocks, 0.1, 'attention blocks');
  const sizes = { rows: n, columns: n, blockRows: blockSize, blockColumns: blockSize };
  return new SparseOperand('blocks-64x64-90%', { ...sizes, rowPointers, columnIndices });
}

function problem(mask: SparseOperand, heads: number, headDim: number, dtype: FloatDType): Problem {
  const n = mask.pattern.rows;
  return {
    operation: 'sparseAttention',
    name: `${mask.title} b=1 h=${heads} d=${headDim}`,
    dtype,
    n,
    work: {
      bytes: 4 * n * heads * headDim * dtypeInfo[dtype].bytes + mask.indexBytes,
      flops: 4 * mask.nnz * heads * headDim,
    },
    bind: (device) => bind(device, mask, heads, headDim, dtype),
  };
}

function bind(
  device: Device,
  mask: SparseOperand,
  heads: number,
  headDim: number,
  dtype: FloatDType,
): BoundProblem {
  const { pattern } = mask;
  const shape = [1, pattern.rows, heads, headDim];
  const [q, k, v] = ['q', 'k', 'v'].map((name) => Operand.normal(name, shape, dtype));
  const [query, key, value] = [q.on(device), k.on(device), v.on(device)];
  const matrix = mask.on(device, mask.values('float16'));
  const output = device.empty(shape, dtype);
  const options = { out: output };
  return {
    output,
    rows: pattern.rows * heads,
    run: () => {
      sparseAttention(query, key, value, matrix, options);
    },
    reference(rows) {
      const result = sparseAttentionRows({
        q: q.values,
        k: k.values,
        v: v.values,
        pattern,
        heads,
        kvHeads: heads,
        headDim,
        scale: 1 / Math.sqrt(headDim),
        softcap: 0,
        rows,
      });
      return expectedAttention(dtype, result, headDim);
    },
    dispose() {
      for (const item of [query, key, value, matrix, output]) item.dispose();
    },
  };
}
