import type { KroneckerFactorView } from '../backends/calls/kronecker.js';
import type { Device, TensorOwner } from '../device/device.js';
import { fail, WarptileError } from '../errors.js';
import type { FloatDType } from '../tensor/dtype.js';
import { checkHostData, type HostData } from '../tensor/host-data.js';
import { checkTensorLike, isTensor, type Tensor } from '../tensor/tensor.js';
import { checkFloatDType, checkOptions, own } from '../validate.js';
import { checkPattern, combine, type KroneckerPattern, patternShape } from './kronecker-pattern.js';

/** Longest chain: a butterfly of 2^32 has 32 factors. Matches kMaxKroneckerFactors in cuda/api/kronecker.h. */
export const maxKroneckerFactors = 32;

export interface KroneckerFactorOptions<D extends FloatDType = FloatDType> {
  /** (a, b, c, d), each at least 1. */
  pattern: KroneckerPattern;
  /** w[a, b, c, d]: host numbers, or a tensor of that shape that the matrix then shares. */
  values: HostData | Tensor<D>;
}

export interface KroneckerOptions<D extends FloatDType = FloatDType>
  extends Partial<KroneckerFactorOptions<D>> {
  /**
   * Instead of `pattern` and `values`: the factors of K = K1 K2 ... KL as they are written, so that the last of the list
   * is applied to the input first.
   */
  factors?: readonly KroneckerFactorOptions<D>[];
  /** Defaults to float32. */
  dtype?: D;
}

/** One factor of a KroneckerMatrix. */
export interface KroneckerFactor<D extends FloatDType = FloatDType> {
  readonly pattern: KroneckerPattern;
  /** [a, b, c, d] */
  readonly values: Tensor<D>;
}

// 1 GiB of float64 on the host.
const maxDenseElements = 2 ** 27;

const brand = Symbol.for('warptile.KroneckerMatrix');

/**
 * A Kronecker-sparse matrix on a device: one factor of pattern (a, b, c, d), or a chain K = K1 K2 ... KL of them such
 * as a Monarch or butterfly matrix. Made by `device.kronecker`, applied by `kroneckerMatmul`. Immutable patterns; the
 * values are tensors.
 */
export class KroneckerMatrix<D extends FloatDType = FloatDType> implements TensorOwner {
  /** [M, N]: of the product, for a chain. */
  readonly shape: readonly [number, number];
  readonly dtype: D;
  readonly device: Device;
  /** As in the product: factors[0] is applied last. */
  readonly factors: readonly KroneckerFactor<D>[];
  /** Stored values of all factors: the multiply-adds that one input vector costs. */
  readonly nnz: number;
  /** `nnz` over M N: what applying the matrix costs against a dense one. 1 / (a d) for one factor. */
  readonly density: number;
  /**
   * The pattern of the matrix as a whole: that of its factor, or of the product where every step of the chain is
   * chainable (see `productPattern`); undefined for a chain whose product is not Kronecker-sparse.
   */
  readonly pattern: KroneckerPattern | undefined;
  /** @internal What a backend call takes: made once, in the order of `factors`. */
  readonly views: readonly KroneckerFactorView[];

  /** @internal Takes over the handles in `factors`, whose inner dimensions agree. */
  constructor(device: Device, dtype: D, factors: readonly KroneckerFactor<D>[]) {
    this.device = device;
    this.dtype = dtype;
    this.factors = Object.freeze(factors.map((factor) => Object.freeze({ ...factor })));
    const rows = patternShape(factors[0].pattern)[0];
    const columns = patternShape(factors[factors.length - 1].pattern)[1];
    this.shape = Object.freeze([rows, columns] as const);
    this.nnz = factors.reduce((sum, factor) => sum + factor.values.size, 0);
    this.density = this.nnz / rows / columns;
    this.pattern = factors
      .map((factor): KroneckerPattern | undefined => factor.pattern)
      .reduce((left, right) => (left && right ? combine(left, right) : undefined));
    this.views = factors.map(({ pattern, values }) => ({ pattern, values: values.view }));
  }

  /** As `device.kronecker`. */
  static from<D extends FloatDType = 'float32'>(
    device: Device,
    options: KroneckerOptions<D>,
  ): KroneckerMatrix<D> {
    device.checkOpen();
    if (options === undefined) fail('ERR_ARGUMENT', 'options', 'an object', options);
    const checked = checkOptions(options, ['pattern', 'values', 'factors', 'dtype']);
    const dtype = checkFloatDType(own(checked, 'dtype') ?? 'float32', 'dtype') as D;
    const list = own(checked, 'factors');
    if (list === undefined) {
      const [pattern, values] = [own(checked, 'pattern'), own(checked, 'values')];
      return new KroneckerMatrix(device, dtype, uploadFactors(device, dtype, [{ pattern, values }], ['']));
    }
    for (const key of ['pattern', 'values'] as const) {
      if (own(checked, key) !== undefined) {
        fail('ERR_ARGUMENT', key, "nothing beside 'factors'", own(checked, key));
      }
    }
    if (!Array.isArray(list) || list.length === 0) {
      fail('ERR_ARGUMENT', 'factors', 'an array of at least one factor', list);
    }
    if (list.length > maxKroneckerFactors) {
      fail('ERR_LIMIT', 'factors', `at most ${maxKroneckerFactors} factors`, list.length);
    }
    const inputs = list.map((factor, index) => {
      if (factor === undefined) fail('ERR_ARGUMENT', `factors[${index}]`, 'an object', factor);
      const options = checkOptions<KroneckerFactorOptions<D>>(
        factor,
        ['pattern', 'values'],
        `factors[${index}]`,
      );
      return { pattern: own(options, 'pattern'), values: own(options, 'values') };
    });
    const names = inputs.map((_, index) => `factors[${index}].`);
    return new KroneckerMatrix(device, dtype, uploadFactors(device, dtype, inputs, names));
  }

  get [brand](): true {
    return true;
  }

  get disposed(): boolean {
    return this.factors[0].values.disposed;
  }

  /** Disposes the handles of this matrix. Memory shared with others lives on. */
  dispose(): void {
    for (const factor of this.factors) factor.values.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** @internal */
  ownedTensors(): readonly Tensor[] {
    return this.factors.map((factor) => factor.values);
  }

  /** @internal Throws ERR_DISPOSED when a handle or the device is gone. */
  checkUsable(argument: string): void {
    for (const factor of this.factors) {
      if (factor.values.disposed) {
        throw new WarptileError('ERR_DISPOSED', `${argument}: the matrix has been disposed`);
      }
    }
    this.device.checkOpen();
  }

  /** A copy on `device`. */
  async to(device: Device): Promise<KroneckerMatrix<D>> {
    this.checkUsable('matrix');
    const copies: KroneckerFactor<D>[] = [];
    try {
      for (const { pattern, values } of this.factors) {
        copies.push({ pattern, values: await values.to(device) });
      }
    } catch (error) {
      for (const copy of copies) copy.values.dispose();
      throw error;
    }
    return new KroneckerMatrix(device, this.dtype, copies);
  }

  /**
   * A dense tensor of `shape`: for checks on small matrices. Goes through host memory, where products of a chain are
   * formed in float64 and rounded once.
   * @throws WarptileError ERR_LIMIT past 2^27 elements, ERR_DISPOSED.
   */
  async toDense(): Promise<Tensor<D>> {
    this.checkUsable('matrix');
    const [rows, columns] = this.shape;
    if (rows * columns > maxDenseElements) {
      fail('ERR_LIMIT', 'toDense', `a matrix of at most ${maxDenseElements} elements`, this.shape);
    }
    const values = await Promise.all(this.factors.map((factor) => factor.values.data()));
    const dense = new Float64Array(rows * columns);
    for (let row = 0; row < rows; ++row) {
      let vector: Float64Array = new Float64Array(rows);
      vector[row] = 1;
      this.factors.forEach(({ pattern }, index) => {
        vector = timesFactor(vector, pattern, values[index]);
      });
      dense.set(vector, row * columns);
    }
    return this.device.tensor(dense, { shape: this.shape, dtype: this.dtype });
  }
}

export function isKroneckerMatrix(value: unknown): value is KroneckerMatrix {
  return typeof value === 'object' && value !== null && brand in value;
}

/** A live Kronecker-sparse matrix. */
export function checkKroneckerMatrix(value: unknown, argument: string): KroneckerMatrix {
  if (!isKroneckerMatrix(value)) fail('ERR_ARGUMENT', argument, 'a KroneckerMatrix', value);
  value.checkUsable(argument);
  return value;
}

/** A row vector of a b d times a factor: its row of the dense product. */
function timesFactor(
  vector: Float64Array,
  [a, b, c, d]: KroneckerPattern,
  values: ArrayLike<number>,
): Float64Array {
  const product = new Float64Array(a * c * d);
  let index = 0;
  for (let i = 0; i < a; ++i) {
    for (let j = 0; j < b; ++j) {
      for (let k = 0; k < c; ++k) {
        for (let l = 0; l < d; ++l, ++index) {
          const scale = vector[(i * b + j) * d + l];
          // Structural zeros of the unit vector must not meet a NaN of another block.
          if (scale !== 0) product[(i * c + k) * d + l] += scale * values[index];
        }
      }
    }
  }
  return product;
}

interface FactorInput {
  readonly pattern: unknown;
  readonly values: unknown;
}

/** Checks every pattern and that neighbours fit before anything is uploaded; uploads all factors or none. */
function uploadFactors<D extends FloatDType>(
  device: Device,
  dtype: D,
  inputs: readonly FactorInput[],
  names: readonly string[],
): KroneckerFactor<D>[] {
  const patterns = inputs.map((input, index) => checkPattern(input.pattern, `${names[index]}pattern`));
  for (let index = 1; index < patterns.length; ++index) {
    const inner = patternShape(patterns[index - 1])[1];
    const rows = patternShape(patterns[index])[0];
    if (inner !== rows) {
      throw new WarptileError(
        'ERR_SHAPE',
        `${names[index]}pattern: expected ${inner} rows (a b d), the columns (a c d) of the factor before it, received ${rows}`,
      );
    }
  }
  const factors: KroneckerFactor<D>[] = [];
  try {
    for (const [index, { values }] of inputs.entries()) {
      const pattern = patterns[index];
      factors.push({ pattern, values: makeValues(device, values, `${names[index]}values`, pattern, dtype) });
    }
  } catch (error) {
    for (const factor of factors) factor.values.dispose();
    throw error;
  }
  return factors;
}

function makeValues<D extends FloatDType>(
  device: Device,
  values: unknown,
  argument: string,
  pattern: KroneckerPattern,
  dtype: D,
): Tensor<D> {
  if (isTensor(values)) {
    return checkTensorLike(values, argument, device, pattern, dtype).reshape(pattern);
  }
  const data = checkHostData(values, argument);
  const length = pattern.reduce((product, size) => product * size, 1);
  if (data.length !== length) {
    fail('ERR_SHAPE', argument, `${length} elements for pattern [${pattern}]`, `${data.length}`);
  }
  return device.tensor(data, { shape: pattern, dtype });
}
