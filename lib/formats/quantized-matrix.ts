import { decode, encode } from '../backends/reference/views.js';
import { dequantizeRow, type QuantizedValues } from '../backends/reference/w4a16.js';
import type { Device, TensorOwner } from '../device/device.js';
import { fail, WarptileError } from '../errors.js';
import { type DType, type FloatDType, storageArray } from '../tensor/dtype.js';
import type { HostData } from '../tensor/host-data.js';
import type { Tensor } from '../tensor/tensor.js';
import { checkFloatDType } from '../validate.js';
import {
  type AwqOptions,
  type CompressedTensorsOptions,
  fromAwq,
  fromCompressedTensors,
  fromGptq,
  fromWeights,
  type GptqOptions,
  type HostMatrix,
  type QuantizeOptions,
} from './quantized/checkpoints.js';
import { packRows } from './quantized/nibbles.js';

/** @internal The device memory of a quantised matrix. Column order is that of storage: see `permutation`. */
export interface QuantizedParts {
  /** [n, ceil(k / 8)]: nibble i of word w is u of stored column 8 w + i; unused nibbles are 0. */
  readonly packed: Tensor<'int32'>;
  /** [groups, n] */
  readonly scales: Tensor<FloatDType>;
  /** [groups, n], 0 to 16 */
  readonly zeroPoints: Tensor<'uint8'>;
  /** [k]: stored column j is column permutation[j] of W. Absent: the identity. */
  readonly permutation: Tensor<'int32'> | undefined;
  /** [k]: the group of each stored column. Absent: floor(j / groupSize). */
  readonly columnGroups: Tensor<'int32'> | undefined;
}

/**
 * A weight matrix W [n, k] in 4 bits: W[r, c] = scale[g, r] (u[r, c] - z[g, r]), u from 0 to 15, where g is the group of
 * column c. Made by `device.quantize` and `device.quantizedFrom...`; every source ends in the same layout.
 */
export class QuantizedMatrix implements TensorOwner {
  /** [n, k]: n outputs, k inputs. */
  readonly shape: readonly [number, number];
  /** The scales' dtype, and that of the activations it multiplies. */
  readonly dtype: FloatDType;
  readonly device: Device;
  /** Columns that share a scale; k where there is one group. */
  readonly groupSize: number;
  readonly groups: number;
  /** @internal */
  readonly parts: QuantizedParts;

  /** @internal */
  constructor(
    device: Device,
    size: Pick<HostMatrix, 'n' | 'k' | 'groupSize' | 'groups'>,
    parts: QuantizedParts,
  ) {
    this.device = device;
    this.shape = Object.freeze([size.n, size.k]) as readonly [number, number];
    this.groupSize = size.groupSize;
    this.groups = size.groups;
    this.dtype = parts.scales.dtype;
    this.parts = parts;
  }

  /** True where columns are stored in another order than that of W (act-order). */
  get actOrder(): boolean {
    return this.parts.permutation !== undefined;
  }

  /** Bytes on the device. */
  get byteLength(): number {
    return this.ownedTensors().reduce((sum, tensor) => sum + tensor.byteLength, 0);
  }

  get disposed(): boolean {
    return this.parts.packed.disposed;
  }

  /** Frees the memory once pending work is done with it. Disposing again does nothing. */
  dispose(): void {
    for (const tensor of this.ownedTensors()) tensor.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** W [n, k], row-major, rounded once to float32 (exact for half scales), once all work enqueued so far is done. */
  async dequantize(): Promise<Float32Array> {
    const parts = this.#parts();
    return this.#dense(await Promise.all(parts.map((tensor) => tensor?.rawData())));
  }

  /** As `dequantize()`, blocking the event loop. */
  dequantizeSync(): Float32Array {
    return this.#dense(this.#parts().map((tensor) => tensor?.rawDataSync()));
  }

  /** W [n, k] as a dense tensor on the same device, rounded to `dtype`; default the matrix's own. */
  async toDense(dtype: FloatDType = this.dtype): Promise<Tensor<FloatDType>> {
    checkFloatDType(dtype, 'dtype');
    return this.device.tensor(await this.dequantize(), { shape: this.shape, dtype });
  }

  /** A copy on `device`; goes through host memory between different devices. */
  async to(device: Device): Promise<QuantizedMatrix> {
    this.checkUsable('matrix');
    const [n, k] = this.shape;
    const { groupSize, groups } = this;
    const made: Tensor[] = [];
    const copy = async <D extends DType>(tensor: Tensor<D>): Promise<Tensor<D>> => {
      const result = await tensor.to(device);
      made.push(result);
      return result;
    };
    const { packed, scales, zeroPoints, permutation, columnGroups } = this.parts;
    try {
      return new QuantizedMatrix(
        device,
        { n, k, groupSize, groups },
        {
          packed: await copy(packed),
          scales: await copy(scales),
          zeroPoints: await copy(zeroPoints),
          permutation: permutation && (await copy(permutation)),
          columnGroups: columnGroups && (await copy(columnGroups)),
        },
      );
    } catch (error) {
      for (const tensor of made) tensor.dispose();
      throw error;
    }
  }

  /** @internal Throws ERR_DISPOSED when the handle or its device is gone. */
  checkUsable(argument: string): void {
    if (this.disposed) throw new WarptileError('ERR_DISPOSED', `${argument}: the matrix has been disposed`);
    this.device.checkOpen();
  }

  /** @internal */
  ownedTensors(): readonly Tensor[] {
    const { packed, scales, zeroPoints, permutation, columnGroups } = this.parts;
    return [packed, scales, zeroPoints, permutation, columnGroups].filter((tensor) => tensor !== undefined);
  }

  #parts(): readonly (Tensor | undefined)[] {
    this.checkUsable('matrix');
    const { packed, scales, zeroPoints, permutation, columnGroups } = this.parts;
    return [packed, scales, zeroPoints, permutation, columnGroups];
  }

  #dense(stored: readonly unknown[]): Float32Array {
    const [n, k] = this.shape;
    const [packed, scales, zeroPoints, permutation, columnGroups] = stored;
    const values: QuantizedValues = {
      n,
      k,
      groupSize: this.groupSize,
      packed: packed as Int32Array,
      scales: decode(this.dtype, scales as Uint16Array | Float32Array),
      zeroPoints: zeroPoints as Uint8Array,
      permutation: permutation as Int32Array | undefined,
      columnGroups: columnGroups as Int32Array | undefined,
    };
    const dense = new Float32Array(n * k);
    const row = new Float64Array(k);
    for (let r = 0; r < n; ++r) {
      dequantizeRow(values, r, row);
      dense.set(row, r * k);
    }
    return dense;
  }
}

/** A live quantised matrix, on `device` where one is given. */
export function checkQuantizedMatrix(value: unknown, argument: string, device?: Device): QuantizedMatrix {
  if (!(value instanceof QuantizedMatrix)) fail('ERR_ARGUMENT', argument, 'a QuantizedMatrix', value);
  value.checkUsable(argument);
  if (device !== undefined && value.device !== device) {
    fail('ERR_DEVICE', argument, `a matrix on ${device.id}`, `one on ${value.device.id}`);
  }
  return value;
}

/** @internal */
export function quantize(device: Device, weights: HostData, options: QuantizeOptions): QuantizedMatrix {
  return upload(device, fromWeights(weights, options));
}

/** @internal */
export function quantizedFromGptq(device: Device, options: GptqOptions): QuantizedMatrix {
  return upload(device, fromGptq(options));
}

/** @internal */
export function quantizedFromAwq(device: Device, options: AwqOptions): QuantizedMatrix {
  return upload(device, fromAwq(options));
}

/** @internal */
export function quantizedFromCompressedTensors(
  device: Device,
  options: CompressedTensorsOptions,
): QuantizedMatrix {
  return upload(device, fromCompressedTensors(options));
}

function upload(device: Device, host: HostMatrix): QuantizedMatrix {
  const { n, k, groups, dtype, u } = host;
  const { permutation, columnGroups } = columnOrder(host);
  const stored = storageArray(dtype, new ArrayBuffer(host.scales.length * (dtype === 'float32' ? 4 : 2)));
  encode(dtype, host.scales, stored);
  const made: Tensor[] = [];
  const keep = <T extends Tensor>(tensor: T): T => {
    made.push(tensor);
    return tensor;
  };
  try {
    const packed = packRows(u, n, k, permutation);
    return new QuantizedMatrix(device, host, {
      packed: keep(device.tensor(packed, { shape: [n, Math.ceil(k / 8)], dtype: 'int32', raw: true })),
      scales: keep(device.tensor(stored, { shape: [groups, n], dtype, raw: true })),
      zeroPoints: keep(device.tensor(host.zeroPoints, { shape: [groups, n], dtype: 'uint8', raw: true })),
      permutation: permutation && keep(device.tensor(permutation, { dtype: 'int32', raw: true })),
      columnGroups: columnGroups && keep(device.tensor(columnGroups, { dtype: 'int32', raw: true })),
    });
  } catch (error) {
    for (const tensor of made) tensor.dispose();
    throw error;
  }
}

/**
 * Sorts columns by group, so that a kernel meets each group once. Groups that a checkpoint gave unequal sizes (a part of a
 * matrix that was split along k) keep an index a column.
 */
function columnOrder({ groupIndex, groupSize }: HostMatrix): {
  permutation?: Int32Array;
  columnGroups?: Int32Array;
} {
  const regular = (groups: Int32Array): boolean =>
    groups.every((group, column) => group === Math.floor(column / groupSize));
  if (groupIndex === undefined || regular(groupIndex)) return {};
  // Columns of a group keep their order.
  const permutation = Int32Array.from(groupIndex.keys()).sort(
    (a, b) => groupIndex[a] - groupIndex[b] || a - b,
  );
  const sorted = permutation.map((column) => groupIndex[column]);
  return regular(sorted) ? { permutation } : { permutation, columnGroups: sorted };
}
