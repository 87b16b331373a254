import { w4a16Reference } from '../../lib/backends/reference/w4a16.js';
import type { Device } from '../../lib/device/device.js';
import { w4a16Matmul } from '../../lib/ops/w4a16.js';
import { dtypeInfo, type FloatDType } from '../../lib/tensor/dtype.js';
import { errorBounds } from '../../test/harness/bound.js';
import { Random } from '../../test/harness/random.js';
import { Operand, period, repeatFrom } from '../operands.js';
import type { BoundProblem, Family, Problem } from '../problem.js';

const groupSize = 128;
// Parts of k that may be summed apart and then added: what the operation allows at most.
const maxSplits = 64;

// [k, n] of layers of Llama 2 7B and 3 70B; on the processor a small one.
const shapes: { readonly [kind in 'cpu' | 'cuda']: readonly (readonly [number, number])[] } = {
  cpu: [[512, 1024]],
  cuda: [
    [4096, 4096],
    [11008, 4096],
    [8192, 8192],
    [8192, 28672],
  ],
};

/** Y = X W^T for n rows of X, symmetric 4-bit weights in groups of 128. */
export const w4a16Family: Family = {
  operation: 'w4a16Matmul',
  *problems(context) {
    const { kind, quick, dtypes } = context;
    // The operation is made for half types: float32 only where it alone is asked for.
    const halves = dtypes.filter((dtype) => dtype !== 'float32' || dtypes.length === 1);
    for (const [k, outputs] of shapes[kind].slice(0, quick ? 1 : undefined)) {
      for (const m of context.sizes(kind === 'cpu' ? [1, 16] : [1, 16, 256])) {
        for (const dtype of halves) yield problem(k, outputs, m, dtype);
      }
    }
  },
};

function problem(k: number, outputs: number, m: number, dtype: FloatDType): Problem {
  const { bytes } = dtypeInfo[dtype];
  const weights = (k * outputs) / 2 + bytes * (k / groupSize) * outputs;
  return {
    operation: 'w4a16Matmul',
    name: `k=${k} n=${outputs} g=${groupSize} m=${m}`,
    dtype,
    n: m,
    work: { bytes: weights + bytes * m * (k + outputs), flops: 2 * m * k * outputs },
    torch: { m, k, n: outputs, groupSize },
    bind: (device) => bind(device, k, outputs, m, dtype),
  };
}

function bind(device: Device, k: number, n: number, m: number, dtype: FloatDType): BoundProblem {
  const groups = k / groupSize;
  const packed = randomWords((n * k) / 8);
  const scales = Operand.uniform('scales', [n, groups], dtype, 0.01, 0.02);
  const x = Operand.normal('x', [m, k], dtype);
  const matrix = device.quantizedFromCompressedTensors({
    shape: [n, k],
    groupSize,
    weightPacked: packed,
    weightScale: scales.stored,
    scalesDType: dtype,
    dtype,
  });
  const input = x.on(device);
  const output = device.empty([m, n], dtype);
  const options = { out: output };
  return {
    output,
    rows: m,
    // A row of the reference reads every weight.
    samples: 2,
    run: () => {
      w4a16Matmul(input, matrix, options);
    },
    reference(rows) {
      const { y, magnitudes } = w4a16Reference({
        m: rows.length,
        x: x.rows(rows),
        w: {
          n,
          k,
          groupSize,
          packed,
          scales: transposed(scales.values, n, groups),
          zeroPoints: new Uint8Array(groups * n).fill(8),
        },
      });
      return { values: y, bound: errorBounds(dtype, y, () => k, magnitudes, maxSplits) };
    },
    dispose() {
      for (const item of [matrix, input, output]) item.dispose();
    },
  };
}

/** Eight 4-bit numbers a word. */
function randomWords(count: number): Int32Array {
  const random = new Random('packed');
  const words = new Int32Array(count);
  const drawn = Math.min(count, period);
  for (let i = 0; i < drawn; ++i) words[i] = random.unit() * 2 ** 32;
  repeatFrom(words, drawn);
  return words;
}

function transposed(values: Float64Array, rows: number, columns: number): Float64Array {
  const result = new Float64Array(values.length);
  for (let row = 0; row < rows; ++row) {
    for (let column = 0; column < columns; ++column)
      result[column * rows + row] = values[row * columns + column];
  }
  return result;
}
