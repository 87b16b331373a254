import type { Device } from '../device/device.js';
import type { Tensor } from '../tensor/tensor.js';

/** Uploads index arrays to read-only tensors: all of them or, on an error, none. */
export function uploadIndices(device: Device, arrays: readonly Int32Array[]): Tensor<'int32'>[] {
  const made: Tensor<'int32'>[] = [];
  try {
    for (const data of arrays) {
      const tensor = device.tensor(data, { dtype: 'int32', raw: true });
      made.push(tensor);
      tensor.freeze();
    }
    return made;
  } catch (error) {
    for (const tensor of made) tensor.dispose();
    throw error;
  }
}
