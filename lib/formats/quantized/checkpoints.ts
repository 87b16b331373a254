// From the integer tensors of quantised checkpoints to [n, k] values, scales and zero points.
//
//                       u                                         z
//   GPTQ                (qweight[k/8, n] >> 4 (k % 8)) & 15       (qzeros[g, n/8] >> 4 (n % 8)) & 15, plus 1 in v1
//   AWQ                 (qweight[k, n/8] >> 4 R[n % 8]) & 15      (qzeros[g, n/8] >> 4 R[n % 8]) & 15
//   compressed-tensors  (packed[n, k/8] >> 4 (k % 8)) & 15        (zero[n/8, g] >> 4 (n % 8)) & 15
//
// R = 0, 4, 1, 5, 2, 6, 3, 7. The value is scale (u - z); without zero points z is 8.

import { WarptileError } from '../../errors.js';
import type { FloatDType } from '../../tensor/dtype.js';
import type { HostData } from '../../tensor/host-data.js';
import { checkBoolean, checkFloatDType, checkOneOf, checkOptions, own } from '../../validate.js';
import {
  checkFloats,
  checkGroupSize,
  checkIntegers,
  checkMatrixShape,
  checkWords,
  roundScales,
} from './host.js';
import { transpose, unpackAlongColumns, unpackAlongRows, wordsFor } from './nibbles.js';
import { roundToNearest, type UnpackedMatrix } from './round.js';

export interface QuantizeOptions {
  /** [n, k]: n outputs, k inputs. */
  shape: readonly [number, number];
  /** Weights that share a scale, along k; -1 for all of k. Default 128. The last group of a row may be short. */
  groupSize?: number;
  /** True: zero point 8. False: a zero point a group. Default true. */
  symmetric?: boolean;
  /** The scales' dtype and that of the activations. Default float16. */
  dtype?: FloatDType;
  /** Given where `weights` holds stored elements: for half types a Uint16Array of bit patterns. */
  weightsDType?: FloatDType;
}

/** Packed words are an Int32Array, a Uint32Array, or integers of 32 bits. */
interface CheckpointOptions {
  /** [n, k]: n outputs, k inputs. */
  shape: readonly [number, number];
  /** -1 for all of k. */
  groupSize: number;
  /** Given where `scales` holds stored elements: for half types a Uint16Array of bit patterns. */
  scalesDType?: FloatDType;
  /** The dtype the scales are rounded to, and that of the activations. Default: scalesDType, else float16. */
  dtype?: FloatDType;
}

export interface GptqOptions extends CheckpointOptions {
  /** [ceil(k / 8), n] */
  qweight: HostData;
  /** [groups, ceil(n / 8)]; absent for symmetric weights, zero point 8. */
  qzeros?: HostData;
  /** [groups, n] */
  scales: HostData;
  /** [k]: the group of each column (act-order). Default floor(column / groupSize). */
  gIdx?: HostData;
  /**
   * 'gptq' stores zero points less one, 'gptq_v2' as they are. 'auto' tells them apart by the all-7 or all-8 zero points
   * of symmetric weights, since checkpoints' metadata is known to be wrong. Default 'gptq'.
   */
  format?: 'gptq' | 'gptq_v2' | 'auto';
}

export interface AwqOptions extends CheckpointOptions {
  /** [k, ceil(n / 8)], the "gemm" order of nibbles. */
  qweight: HostData;
  /** [groups, ceil(n / 8)]; absent for symmetric weights, zero point 8. */
  qzeros?: HostData;
  /** [groups, n] */
  scales: HostData;
}

export interface CompressedTensorsOptions extends CheckpointOptions {
  /** weight_packed [n, ceil(k / 8)] */
  weightPacked: HostData;
  /** weight_scale [n, groups] */
  weightScale: HostData;
  /** weight_zero_point [ceil(n / 8), groups]; absent for symmetric weights, zero point 8. */
  weightZeroPoint?: HostData;
  /** weight_g_idx [k]: the group of each column (act-order). All -1 counts as absent. */
  weightGIdx?: HostData;
}

/** A checked matrix on the host, ready to be packed. */
export interface HostMatrix extends UnpackedMatrix {
  readonly n: number;
  readonly k: number;
  readonly groupSize: number;
  readonly groups: number;
  readonly dtype: FloatDType;
  /** [k]: the group of each column; absent where it is floor(column / groupSize). */
  readonly groupIndex?: Int32Array | undefined;
}

const commonKeys = ['shape', 'groupSize', 'dtype'] as const;

/** What every checkpoint gives: sizes and dtypes. */
function readCommon(options: CheckpointOptions) {
  const { n, k } = checkMatrixShape(own(options, 'shape'), 'shape');
  const groupSize = checkGroupSize(own(options, 'groupSize'), k);
  const stored = own(options, 'scalesDType');
  const scalesDType = stored === undefined ? undefined : checkFloatDType(stored, 'scalesDType');
  const dtype = checkFloatDType(own(options, 'dtype') ?? scalesDType ?? 'float16', 'dtype');
  return { n, k, groupSize, groups: Math.ceil(k / groupSize), dtype, scalesDType };
}

export function fromWeights(weights: HostData, options: QuantizeOptions): HostMatrix {
  checkOptions(required(options), [...commonKeys, 'symmetric', 'weightsDType']);
  const { n, k } = checkMatrixShape(own(options, 'shape'), 'shape');
  const groupSize = checkGroupSize(own(options, 'groupSize') ?? 128, k);
  const symmetric = checkBoolean(own(options, 'symmetric') ?? true, 'symmetric');
  const dtype = checkFloatDType(own(options, 'dtype') ?? 'float16', 'dtype');
  const stored = own(options, 'weightsDType');
  const weightsDType = stored === undefined ? undefined : checkFloatDType(stored, 'weightsDType');
  const values = checkFloats(weights, 'weights', [n, k], weightsDType);
  const rounded = roundToNearest(values, { n, k, groupSize, symmetric, dtype });
  return { ...rounded, n, k, groupSize, groups: Math.ceil(k / groupSize), dtype };
}

export function fromGptq(options: GptqOptions): HostMatrix {
  const keys = [...commonKeys, 'qweight', 'qzeros', 'scales', 'scalesDType', 'gIdx', 'format'];
  checkOptions(required(options), keys);
  const common = readCommon(options);
  const { n, k, groups, dtype, scalesDType } = common;
  const format = checkOneOf(own(options, 'format') ?? 'gptq', 'format', ['gptq', 'gptq_v2', 'auto']);
  const qweight = checkWords(own(options, 'qweight'), 'qweight', [wordsFor(k), n]);
  const scales = checkFloats(own(options, 'scales'), 'scales', [groups, n], scalesDType);
  const qzeros = own(options, 'qzeros');
  const gIdx = own(options, 'gIdx');
  const groupIndex = gIdx === undefined ? undefined : checkIntegers(gIdx, 'gIdx', k, 0, groups - 1);
  return {
    ...common,
    u: transpose(unpackAlongRows(qweight, k, n), k, n),
    scales: roundScales(scales, dtype, 'scales'),
    zeroPoints: qzeros === undefined ? eights(groups * n) : gptqZeroPoints(qzeros, groups, n, format),
    groupIndex,
  };
}

function gptqZeroPoints(
  qzeros: HostData,
  groups: number,
  n: number,
  format: 'gptq' | 'gptq_v2' | 'auto',
): Uint8Array {
  const zeroPoints = unpackAlongColumns(checkWords(qzeros, 'qzeros', [groups, wordsFor(n)]), groups, n);
  if (format === 'gptq_v2') return zeroPoints;
  if (format === 'auto') {
    if (zeroPoints.every((zero) => zero === 8)) return zeroPoints;
    if (!zeroPoints.every((zero) => zero === 7)) {
      throw new WarptileError(
        'ERR_ARGUMENT',
        "format: 'auto' needs symmetric weights, whose stored zero points are all 7 or all 8; give 'gptq' or 'gptq_v2'",
      );
    }
  }
  // Not modulo 16: a stored 15 stands for 16.
  for (let i = 0; i < zeroPoints.length; ++i) ++zeroPoints[i];
  return zeroPoints;
}

export function fromAwq(options: AwqOptions): HostMatrix {
  checkOptions(required(options), [...commonKeys, 'qweight', 'qzeros', 'scales', 'scalesDType']);
  const common = readCommon(options);
  const { n, k, groups, dtype, scalesDType } = common;
  const qweight = checkWords(own(options, 'qweight'), 'qweight', [k, wordsFor(n)]);
  const scales = checkFloats(own(options, 'scales'), 'scales', [groups, n], scalesDType);
  const qzeros = own(options, 'qzeros');
  return {
    ...common,
    u: transpose(unpackAlongColumns(qweight, k, n, 'awq'), k, n),
    scales: roundScales(scales, dtype, 'scales'),
    zeroPoints:
      qzeros === undefined
        ? eights(groups * n)
        : unpackAlongColumns(checkWords(qzeros, 'qzeros', [groups, wordsFor(n)]), groups, n, 'awq'),
  };
}

export function fromCompressedTensors(options: CompressedTensorsOptions): HostMatrix {
  const keys = ['weightPacked', 'weightScale', 'weightZeroPoint', 'weightGIdx', 'scalesDType'];
  checkOptions(required(options), [...commonKeys, ...keys]);
  const common = readCommon(options);
  const { n, k, groups, dtype, scalesDType } = common;
  const packed = checkWords(own(options, 'weightPacked'), 'weightPacked', [n, wordsFor(k)]);
  const source = checkFloats(own(options, 'weightScale'), 'weightScale', [n, groups], scalesDType);
  const zeroPoints = own(options, 'weightZeroPoint');
  const indices = own(options, 'weightGIdx');
  const groupIndex =
    indices === undefined ? undefined : checkIntegers(indices, 'weightGIdx', k, -1, groups - 1);
  const absent = groupIndex?.every((group) => group === -1);
  // With some -1 left, the stricter range reports the first.
  if (groupIndex && !absent) checkIntegers(groupIndex, 'weightGIdx', k, 0, groups - 1);
  return {
    ...common,
    u: unpackAlongColumns(packed, n, k),
    scales: transpose(roundScales(source, dtype, 'weightScale'), n, groups),
    zeroPoints:
      zeroPoints === undefined
        ? eights(groups * n)
        : transpose(
            unpackAlongRows(checkWords(zeroPoints, 'weightZeroPoint', [wordsFor(n), groups]), n, groups),
            n,
            groups,
          ),
    groupIndex: absent ? undefined : groupIndex,
  };
}

function eights(length: number): Uint8Array {
  return new Uint8Array(length).fill(8);
}

/** Options that hold tensors cannot be left out. */
function required<T extends object>(options: T | undefined): T {
  if (options === undefined)
    throw new WarptileError('ERR_ARGUMENT', 'options: expected an object, received undefined');
  return options;
}
