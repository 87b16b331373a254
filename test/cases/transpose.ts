// The values of a transposed matrix: a copy in another order.

import { transposeValuesReference } from '../../lib/backends/reference/transpose-values.js';
import { type FloatDType, floatDTypes } from '../../lib/tensor/dtype.js';
import type { OperationCase } from '../harness/case.js';
import { draw, roundTo } from '../harness/draw.js';

interface Spec {
  readonly stored: number;
  readonly block: readonly [number, number];
  readonly batch: number;
  readonly dtype: FloatDType;
  readonly reduced?: boolean;
}

function makeCase({ stored, block, batch, dtype, reduced }: Spec): OperationCase {
  const [blockRows, blockColumns] = block;
  const shape = { stored, blockRows, blockColumns, batch };
  return {
    operation: 'transpose',
    name: `stored=${stored} block=${block.join('x')} batch=${batch} ${dtype}`,
    dtype,
    ...(reduced === undefined ? {} : { reduced }),
    prepare(fill, random) {
      const size = batch * stored * blockRows * blockColumns;
      const numbers = draw(fill, random, size, dtype).values;
      // What is copied is not rounded, nor looked at.
      if (fill === 'exact') for (let i = 3; i < size; i += 11) numbers[i] = i % 2 === 0 ? -0 : Infinity;
      const values = roundTo(dtype, numbers);
      const order = Int32Array.from({ length: stored }, (_, i) => i);
      for (let i = stored - 1; i > 0; --i) {
        const other = random.integer(0, i);
        [order[i], order[other]] = [order[other], order[i]];
      }
      return {
        outputs: [{ name: 'values', shape: [batch, stored, blockColumns, blockRows], dtype }],
        bind(device) {
          const source = device.tensor(values.stored, { dtype, raw: true });
          const places = device.tensor(order, { dtype: 'int32' });
          return {
            inputs: [source, places],
            run: ([out]) =>
              device.backend.operations.transposeValues({
                ...shape,
                dtype,
                values: source.view,
                order: places.view,
                out: out.view,
              }),
          };
        },
        expected() {
          const copied = transposeValuesReference(shape, values.values, order, new Float64Array(size));
          return [{ values: copied, bound: new Float64Array(size) }];
        },
      };
    },
  };
}

function specsOf(dtype: FloatDType): Spec[] {
  const csr = [1, 1] as const;
  const specs: Spec[] = [];
  // Each side of a warp, of a block of threads and of what it copies.
  for (const stored of [0, 1, 31, 33, 255, 256, 257, 1023, 1024, 1025, 5000]) {
    specs.push({ stored, block: csr, batch: 1, dtype, reduced: stored === 1025 });
  }
  for (const batch of [0, 3]) specs.push({ stored: 300, block: csr, batch, dtype, reduced: batch === 3 });
  for (const block of [
    [1, 8],
    [8, 1],
    [2, 2],
    [7, 5],
    [16, 8],
    [64, 33],
    [64, 64],
  ] as const) {
    for (const stored of [1, 9]) specs.push({ stored, block, batch: 1, dtype });
    specs.push({ stored: 5, block, batch: 2, dtype, reduced: block[0] === 7 });
  }
  return specs;
}

export const transposeCases: readonly OperationCase[] = floatDTypes.flatMap(specsOf).map(makeCase);
