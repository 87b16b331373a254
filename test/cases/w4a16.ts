import { decode, encode } from '../../lib/backends/reference/views.js';
import type { QuantizedValues, W4A16Problem } from '../../lib/backends/reference/w4a16.js';
import { w4a16Reference } from '../../lib/backends/reference/w4a16.js';
import { packRows, wordsFor } from '../../lib/formats/quantized/nibbles.js';
import { QuantizedMatrix, w4a16Matmul } from '../../lib/index.js';
import { type FloatDType, floatDTypes, type StorageArray, storageArray } from '../../lib/tensor/dtype.js';
import { errorBounds } from '../harness/bound.js';
import type { BoundCase, Fill, OperationCase } from '../harness/case.js';
import type { Random } from '../harness/random.js';

interface Spec {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly dtype: FloatDType;
  /** Default 32. */
  readonly groupSize?: number;
  /** Zero point 8; default false: 0 to 16. */
  readonly symmetric?: boolean;
  /** Columns stored in the order of equal groups, or of groups of unequal size. */
  readonly order?: 'permuted' | 'unequal';
  readonly bias?: boolean;
  readonly splitK?: number;
  /** Leading dimensions of x whose product is m. */
  readonly leading?: readonly number[];
  /** NaN and infinities in x and bias, or values that overflow float16. */
  readonly special?: 'nonfinite' | 'overflow';
  readonly reduced?: boolean;
}

function nameOf(spec: Spec): string {
  const { m, n, k, dtype, groupSize = 32 } = spec;
  const parts = [`m=${spec.leading ? spec.leading.join('x') : m} n=${n} k=${k} group=${groupSize}`];
  if (spec.symmetric) parts.push('symmetric');
  if (spec.order) parts.push(spec.order);
  if (spec.bias) parts.push('bias');
  if (spec.splitK) parts.push(`splits=${spec.splitK}`);
  if (spec.special) parts.push(spec.special);
  return [...parts, dtype].join(' ');
}

/** Rounds to `dtype`: stored elements, and the numbers they stand for. */
function rounded(dtype: FloatDType, values: Float64Array): { stored: StorageArray; values: Float64Array } {
  const stored = storageArray(dtype, new ArrayBuffer(values.length * (dtype === 'float32' ? 4 : 2)));
  encode(dtype, values, stored);
  return { stored, values: decode(dtype, stored) };
}

function drawX(spec: Spec, fill: Fill, random: Random): Float64Array {
  const x = new Float64Array(spec.m * spec.k);
  for (let i = 0; i < x.length; ++i) x[i] = fill === 'exact' ? random.integer(-3, 3) : random.normal();
  if (spec.special === 'overflow') x.fill(200);
  if (spec.special === 'nonfinite') {
    for (let i = 0; i < x.length; i += 61) {
      x[i] = random.pick([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]);
    }
  }
  return x;
}

/** Exact fill: scales 1/2, 1 or 2 and |u - z| up to 16, so sums stay far below 2^24 halves. */
function drawMatrix(spec: Spec, fill: Fill, random: Random): { w: QuantizedValues; scales: StorageArray } {
  const { n, k, dtype, order } = spec;
  const groupSize = spec.groupSize === -1 ? Math.max(k, 1) : (spec.groupSize ?? 32);
  const groups = Math.ceil(k / groupSize);
  const u = new Uint8Array(n * k).map(() => random.integer(0, 15));
  const drawn = new Float64Array(groups * n).map(() =>
    fill === 'exact' ? random.pick([0.5, 1, 2]) : random.uniform(0.001, 0.02),
  );
  const zeroPoints = new Uint8Array(groups * n).map(() => (spec.symmetric ? 8 : random.integer(0, 16)));
  if (spec.special === 'overflow') {
    drawn.fill(2);
    u.fill(15);
    zeroPoints.fill(0);
  }
  const scales = rounded(dtype, drawn);
  const permutation = order && Int32Array.from({ length: k }, (_, column) => column);
  for (let i = k - 1; permutation && i > 0; --i) {
    const j = random.integer(0, i);
    [permutation[i], permutation[j]] = [permutation[j], permutation[i]];
  }
  const columnGroups =
    order === 'unequal'
      ? Int32Array.from({ length: k }, () => random.integer(0, groups - 1)).sort()
      : undefined;
  return {
    scales: scales.stored,
    w: {
      n,
      k,
      groupSize,
      packed: packRows(u, n, k),
      scales: scales.values,
      zeroPoints,
      permutation,
      columnGroups,
    },
  };
}

function makeCase(spec: Spec): OperationCase {
  const { m, n, k, dtype } = spec;
  return {
    operation: 'w4a16Matmul',
    name: nameOf(spec),
    dtype,
    ...(spec.reduced ? { reduced: true } : {}),
    ...(spec.special ? { fills: ['exact'] as const } : {}),
    prepare: (fill, random) => {
      const x = rounded(dtype, drawX(spec, fill, random));
      const { w, scales } = drawMatrix(spec, fill, random);
      const drawnBias = new Float64Array(n).map(() =>
        fill === 'exact' ? random.integer(-50, 50) : random.normal(),
      );
      if (spec.special === 'nonfinite' && n > 1) drawnBias[n - 1] = Number.NEGATIVE_INFINITY;
      const bias = spec.bias ? rounded(dtype, drawnBias) : undefined;
      const leading = spec.leading ?? [m];
      return {
        outputs: [{ name: 'y', shape: [...leading, n], dtype }],
        bind: (device): BoundCase => {
          const groups = Math.ceil(k / w.groupSize);
          const columns = (values: Int32Array | undefined) =>
            values && device.tensor(values, { dtype: 'int32', raw: true });
          const matrix = new QuantizedMatrix(
            device,
            { n, k, groupSize: w.groupSize, groups },
            {
              packed: device.tensor(w.packed, { shape: [n, wordsFor(k)], dtype: 'int32', raw: true }),
              scales: device.tensor(scales, { shape: [groups, n], dtype, raw: true }),
              zeroPoints: device.tensor(w.zeroPoints, { shape: [groups, n], dtype: 'uint8', raw: true }),
              permutation: columns(w.permutation ?? undefined),
              columnGroups: columns(w.columnGroups ?? undefined),
            },
          );
          const xTensor = device.tensor(x.stored, { shape: [...leading, k], dtype, raw: true });
          const biasTensor = bias && device.tensor(bias.stored, { dtype, raw: true });
          return {
            inputs: [xTensor, ...matrix.ownedTensors(), ...(biasTensor ? [biasTensor] : [])],
            run: ([out]) => {
              w4a16Matmul(xTensor, matrix, {
                out,
                ...(biasTensor ? { bias: biasTensor } : {}),
                ...(spec.splitK ? { splitK: spec.splitK } : {}),
              });
            },
          };
        },
        expected: () => {
          const problem: W4A16Problem = { m, x: x.values, w, bias: bias?.values };
          const { y, magnitudes } = w4a16Reference(problem);
          // The bias is one more term, and the backend may choose up to 64 splits.
          return [{ values: y, bound: errorBounds(dtype, y, () => k + 1, magnitudes, 64) }];
        },
      };
    },
  };
}

/** Every shape in every dtype, with options that change from case to case. */
function* specs(): Generator<Spec> {
  const patterns: readonly Partial<Spec>[] = [
    {},
    { bias: true },
    { symmetric: true, bias: true },
    { order: 'permuted' },
    { splitK: 3 },
    { order: 'unequal', bias: true, splitK: 2 },
  ];
  let turn = 0;
  const next = (): Partial<Spec> => patterns[turn++ % patterns.length];

  for (const dtype of floatDTypes) {
    // Rows of x: each tile of the small variant and its edges, and the edge to the tiled one.
    for (const m of [1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 31, 32, 33, 63, 64, 65, 129]) {
      yield { m, n: 40, k: 96, dtype, ...next() };
      yield { m, n: 33, k: 77, dtype, ...next() };
    }
    // Rows of W: tile edges of both variants.
    for (const n of [1, 2, 3, 4, 5, 31, 32, 33, 63, 64, 65, 127, 129]) {
      yield { m: 1, n, k: 64, dtype, ...next() };
      yield { m: 35, n, k: 72, dtype, ...next() };
    }
    // Columns: words, warps of words, steps and splits, and their edges.
    for (const k of [
      1, 2, 7, 8, 9, 15, 31, 63, 64, 65, 127, 255, 256, 257, 511, 513, 1023, 1024, 1025, 1287,
    ]) {
      yield { m: 2, n: 5, k, dtype, ...next() };
      yield { m: 34, n: 5, k, dtype, ...next() };
    }
    for (const groupSize of [1, 3, 4, 8, 12, 16, 20, 32, 64, 100, 128, 1000, -1]) {
      yield { m: 3, n: 9, k: 300, groupSize, dtype, ...next() };
      yield { m: 37, n: 9, k: 300, groupSize, dtype, ...next() };
      yield { m: 1, n: 6, k: 203, groupSize, dtype, symmetric: true };
    }
    for (const splitK of [1, 2, 4, 5, 7, 16, 64]) {
      yield { m: 1, n: 37, k: 2048, groupSize: 128, dtype, splitK, bias: true };
      yield { m: 40, n: 7, k: 1600, groupSize: 64, dtype, splitK };
    }
    // No rows, no columns, nothing.
    for (const [m, n, k] of [
      [0, 8, 16],
      [4, 0, 16],
      [4, 8, 0],
      [40, 8, 0],
      [0, 0, 0],
      [1, 1, 1],
    ] as const) {
      yield { m, n, k, dtype };
      yield { m, n, k, dtype, bias: true };
    }
    yield { m: 12, leading: [3, 4], n: 10, k: 40, dtype, bias: true };
    yield { m: 36, leading: [2, 3, 6], n: 10, k: 40, dtype };
    yield { m: 1, leading: [], n: 10, k: 40, dtype };
    yield { m: 0, leading: [3, 0], n: 10, k: 40, dtype };
    for (const m of [1, 4, 8, 33]) {
      yield { m, n: 20, k: 130, dtype, bias: true, special: 'nonfinite' };
      yield { m, n: 20, k: 130, dtype, order: 'permuted', special: 'nonfinite' };
      yield { m, n: 12, k: 64, dtype, special: 'overflow' };
      yield { m, n: 12, k: 700, dtype, splitK: 2, special: 'nonfinite' };
    }
  }
  // Together every kernel: small with tiles of 1, 2, 4 and 8 rows, tiled, reduction, and every way to find a group.
  for (const dtype of floatDTypes) {
    const shared = { dtype, reduced: true } as const;
    yield { m: 1, n: 35, k: 333, groupSize: 64, bias: true, ...shared };
    yield { m: 2, n: 35, k: 520, groupSize: 128, splitK: 2, ...shared };
    yield { m: 4, n: 35, k: 333, groupSize: 20, order: 'permuted', ...shared };
    yield { m: 11, n: 34, k: 770, groupSize: 32, order: 'unequal', splitK: 3, ...shared };
    yield { m: 67, n: 66, k: 65, groupSize: 32, bias: true, order: 'permuted', ...shared };
    yield { m: 66, n: 67, k: 777, groupSize: 12, splitK: 4, ...shared };
    yield { m: 33, n: 3, k: 270, groupSize: -1, order: 'unequal', ...shared };
  }
}

/** Specs that the patterns make twice are one case. */
export const w4a16Cases: readonly OperationCase[] = [
  ...new Map([...specs()].map((spec) => [nameOf(spec), makeCase(spec)])).values(),
];
