import { kroneckerReference } from '../../lib/backends/reference/kronecker.js';
import type { Device } from '../../lib/device/device.js';
import { kroneckerMatmul } from '../../lib/ops/kronecker.js';
import { dtypeInfo, type FloatDType } from '../../lib/tensor/dtype.js';
import { errorBounds } from '../../test/harness/bound.js';
import { Operand } from '../operands.js';
import type { BoundProblem, Family, Problem } from '../problem.js';

type Pattern = readonly [number, number, number, number];

/** A chain as it is written: the last factor is applied first. */
type Chain = readonly Pattern[];

// Patterns of arXiv 2405.15013, and a Monarch matrix.
const chains: { readonly [kind in 'cpu' | 'cuda']: readonly Chain[] } = {
  cpu: [
    [[1, 192, 48, 2]],
    [[2, 48, 192, 1]],
    [[4, 32, 32, 4]],
    [
      [1, 32, 32, 32],
      [32, 32, 32, 1],
    ],
  ],
  cuda: [
    [[1, 192, 48, 2]],
    [[2, 48, 192, 1]],
    [[1, 256, 256, 16]],
    [[4, 128, 128, 4]],
    [[1, 768, 192, 2]],
    [[6, 64, 64, 1]],
    [[1, 16, 16, 64]],
    [
      [1, 64, 64, 64],
      [64, 64, 64, 1],
    ],
  ],
};

/** y = x K^T and y = K x for one factor or a chain, on n vectors. */
export const kroneckerFamily: Family = {
  operation: 'kroneckerMatmul',
  *problems(context) {
    const { kind, quick, dtypes } = context;
    for (const chain of chains[kind].slice(0, quick ? 1 : undefined)) {
      for (const n of context.sizes(kind === 'cpu' ? [128, 1] : [8192, 1])) {
        for (const batchLast of quick || n === 1 ? [false] : [false, true]) {
          for (const dtype of dtypes) yield problem(chain, n, batchLast, dtype);
        }
      }
    }
  },
};

function shapeOf(chain: Chain): readonly [number, number] {
  const [a, b, , d] = chain[0];
  const [p, , r, s] = chain[chain.length - 1];
  return [a * b * d, p * r * s];
}

function problem(chain: Chain, n: number, batchLast: boolean, dtype: FloatDType): Problem {
  const [outputs, inputs] = shapeOf(chain);
  const stored = chain.reduce((sum, [a, b, c, d]) => sum + a * b * c * d, 0);
  const patterns = chain.map((pattern) => `(${pattern})`).join('*');
  return {
    operation: 'kroneckerMatmul',
    name: `${patterns} ${batchLast ? 'batch-last' : 'batch-first'} n=${n}`,
    dtype,
    n,
    work: { bytes: dtypeInfo[dtype].bytes * (n * (inputs + outputs) + stored), flops: 2 * n * stored },
    torch: { chain, n, batchLast },
    bind: (device) => bind(device, chain, n, batchLast, dtype),
  };
}

function bind(device: Device, chain: Chain, n: number, batchLast: boolean, dtype: FloatDType): BoundProblem {
  const [outputs, inputs] = shapeOf(chain);
  const factors = chain.map((pattern, index) => ({
    pattern,
    values: Operand.normal(`factor ${index}`, pattern, dtype, 1 / Math.sqrt(pattern[2])),
  }));
  const x = Operand.normal('x', batchLast ? [inputs, n] : [n, inputs], dtype);
  const uploaded = factors.map(({ pattern, values }) => ({ pattern, values: values.on(device) }));
  const matrix = device.kronecker({ factors: uploaded, dtype });
  for (const { values } of uploaded) values.dispose();
  const input = x.on(device);
  const output = device.empty(batchLast ? [outputs, n] : [n, outputs], dtype);
  const options = { out: output, layout: batchLast ? 'batch-last' : 'batch-first' } as const;
  const terms = chain.reduce((sum, pattern) => sum + pattern[2], 0);
  return {
    output,
    rows: n,
    ...(batchLast ? { elements: (rows) => strided(rows, outputs, n) } : {}),
    run: () => {
      kroneckerMatmul(input, matrix, options);
    },
    reference(rows) {
      // The sampled vectors alone, one after another.
      const vectors = batchLast ? x.elements(strided(rows, inputs, n)) : x.rows(rows);
      const result = kroneckerReference(
        {
          factors: factors.map(({ pattern, values }) => ({ pattern, values: values.values })),
          batch: rows.length,
          batchLast: false,
          x: vectors,
        },
        { magnitudes: true },
      );
      return {
        values: result.values,
        bound: errorBounds(dtype, result.values, () => terms, result.magnitudes),
      };
    },
    dispose() {
      for (const item of [matrix, input, output]) item.dispose();
    },
  };
}

/** Where the elements of the given columns of a [length, n] array lie, one column after another. */
function strided(columns: readonly number[], length: number, n: number): Float64Array {
  const indices = new Float64Array(columns.length * length);
  let at = 0;
  for (const column of columns) for (let i = 0; i < length; ++i) indices[at++] = i * n + column;
  return indices;
}
