/** Element types of a tensor. Half types are stored as 16-bit patterns. */
export type DType = 'float32' | 'float16' | 'bfloat16' | 'int32' | 'int8' | 'uint8';

/** Types in which the numerical operations compute. */
export type FloatDType = 'float32' | 'float16' | 'bfloat16';

/** What `Tensor.data()` returns for a dtype: half types are widened to float32, which is exact. */
export type DataOf<D extends DType> = D extends FloatDType
  ? Float32Array
  : D extends 'int32'
    ? Int32Array
    : D extends 'int8'
      ? Int8Array
      : Uint8Array;

/** What `Tensor.rawData()` returns: the stored elements, half types as their bit patterns. */
export type StorageArray = Float32Array | Uint16Array | Int32Array | Int8Array | Uint8Array;

interface DTypeInfo {
  readonly bytes: number;
  /** Matches `warptile::DType` in cuda/common/dtype.h. */
  readonly code: number;
  readonly float: boolean;
  /** Half the distance from 1 to the next larger value: the unit roundoff. Zero for integers. */
  readonly unitRoundoff: number;
}

export const dtypeInfo: { readonly [D in DType]: DTypeInfo } = {
  float32: { bytes: 4, code: 0, float: true, unitRoundoff: 2 ** -24 },
  float16: { bytes: 2, code: 1, float: true, unitRoundoff: 2 ** -11 },
  bfloat16: { bytes: 2, code: 2, float: true, unitRoundoff: 2 ** -8 },
  int32: { bytes: 4, code: 3, float: false, unitRoundoff: 0 },
  int8: { bytes: 1, code: 4, float: false, unitRoundoff: 0 },
  uint8: { bytes: 1, code: 5, float: false, unitRoundoff: 0 },
};

export const dtypes = Object.keys(dtypeInfo) as readonly DType[];
export const floatDTypes: readonly FloatDType[] = ['float32', 'float16', 'bfloat16'];

export function isDType(value: unknown): value is DType {
  return typeof value === 'string' && Object.hasOwn(dtypeInfo, value);
}

export function isFloatDType(value: unknown): value is FloatDType {
  return isDType(value) && dtypeInfo[value].float;
}

/** A typed array over `length` stored elements of `buffer`, starting at `byteOffset`. */
export function storageArray(
  dtype: DType,
  buffer: ArrayBuffer,
  byteOffset = 0,
  length?: number,
): StorageArray {
  switch (dtype) {
    case 'float32':
      return new Float32Array(buffer, byteOffset, length);
    case 'float16':
    case 'bfloat16':
      return new Uint16Array(buffer, byteOffset, length);
    case 'int32':
      return new Int32Array(buffer, byteOffset, length);
    case 'int8':
      return new Int8Array(buffer, byteOffset, length);
    case 'uint8':
      return new Uint8Array(buffer, byteOffset, length);
  }
}
