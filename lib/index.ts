export type { DeviceInfo, MemoryStatistics } from './backends/backend.js';
export { Device, type TensorOptions } from './device/device.js';
export { Graph } from './device/graph.js';
export { type OpenDeviceOptions, openDevice } from './device/open.js';
export { WarptileError, type WarptileErrorCode } from './errors.js';
export type { DataOf, DType, FloatDType, StorageArray } from './tensor/dtype.js';
export type { HostData, NumericArray } from './tensor/host-data.js';
export { Tensor } from './tensor/tensor.js';
