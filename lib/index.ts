export type { DeviceInfo, MemoryStatistics } from './backends/backend.js';
export type { SpmmVariant } from './backends/calls/spmm.js';
export { Device, type TensorOptions } from './device/device.js';
export { Graph } from './device/graph.js';
export { type OpenDeviceOptions, openDevice } from './device/open.js';
export { WarptileError, type WarptileErrorCode } from './errors.js';
export { BlockSparseMatrix, type BlockSparseOptions } from './formats/block-sparse-matrix.js';
export { CsrMatrix, type CsrOptions } from './formats/csr-matrix.js';
export { CumulativeLengths } from './formats/cumulative-lengths.js';
export {
  type KroneckerFactor,
  type KroneckerFactorOptions,
  KroneckerMatrix,
  type KroneckerOptions,
} from './formats/kronecker-matrix.js';
export {
  butterflyPatterns,
  type KroneckerPattern,
  monarchPatterns,
  productPattern,
} from './formats/kronecker-pattern.js';
export type { PrepareOptions } from './formats/prepare-spmm.js';
export type {
  AwqOptions,
  CompressedTensorsOptions,
  GptqOptions,
  QuantizeOptions,
} from './formats/quantized/checkpoints.js';
export { QuantizedMatrix } from './formats/quantized-matrix.js';
export type { SparseMatrix } from './formats/sparse-matrix.js';
export type { HostCsr } from './io/host-csr.js';
export type { HostDType, HostTensor } from './io/host-tensor.js';
export { parseMatrixMarket, readMatrixMarket } from './io/matrix-market.js';
export { parseNpy, readNpy } from './io/npy.js';
export {
  openSafetensors,
  type SafetensorsEntry,
  SafetensorsFile,
  writeSafetensors,
} from './io/safetensors.js';
export { parseSmtx, readSmtx } from './io/smtx.js';
export {
  type AttentionOptions,
  type AttentionResult,
  type AttentionWindow,
  attention,
} from './ops/attention.js';
export type { ColumnRange } from './ops/column-range.js';
export { type KroneckerMatmulOptions, kroneckerMatmul } from './ops/kronecker.js';
export { type NeighborhoodAttentionOptions, neighborhoodAttention } from './ops/neighborhood-attention.js';
export { explainSddmm, type SddmmExplanation, type SddmmOptions, sddmm } from './ops/sddmm.js';
export { autotuneSddmm, type SddmmTuning } from './ops/sddmm-autotune.js';
export { type SparseAttentionOptions, sparseAttention } from './ops/sparse-attention.js';
export { type SparseSoftmaxOptions, sparseSoftmax } from './ops/sparse-softmax.js';
export { explainSpmm, type SpmmExplanation, type SpmmOptions, spmm } from './ops/spmm.js';
export { autotuneSpmm, type SpmmTuning } from './ops/spmm-autotune.js';
export type { SpmmCandidate } from './ops/spmm-plan.js';
export { type W4A16MatmulOptions, w4a16Matmul } from './ops/w4a16.js';
export type { MeasuredCandidate } from './planning/autotune.js';
export { AutotuneCache } from './planning/autotune-cache.js';
export type { DataOf, DType, FloatDType, StorageArray } from './tensor/dtype.js';
export type { HostData, NumericArray } from './tensor/host-data.js';
export { Tensor } from './tensor/tensor.js';
