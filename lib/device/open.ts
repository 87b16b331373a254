import { CpuBackend } from '../backends/cpu.js';
import { CudaBackend } from '../backends/cuda.js';
import { fail, WarptileError } from '../errors.js';
import { checkInteger, checkOptions, own } from '../validate.js';
import { Device } from './device.js';

export interface OpenDeviceOptions {
  /** Most bytes of live buffers; past it an allocation throws ERR_OUT_OF_MEMORY. Default: what the device has. */
  memoryLimit?: number;
}

/**
 * Opens a device. 'auto' takes the first GPU that works, else the CPU, and keeps the reasons in
 * `device.fallbackReasons`; 'cuda:N' never falls back.
 * @throws WarptileError ERR_ARGUMENT for an unknown name, ERR_BACKEND_UNAVAILABLE listing every attempt.
 */
export async function openDevice(
  name: 'auto' | 'cpu' | 'cuda' | `cuda:${number}` = 'auto',
  options?: OpenDeviceOptions,
): Promise<Device> {
  const checked = checkOptions(options, ['memoryLimit']);
  const memoryLimit = own(checked, 'memoryLimit');
  if (memoryLimit !== undefined) checkInteger(memoryLimit, 'memoryLimit', 1);
  const limit = memoryLimit === undefined ? {} : { memoryLimit };
  const match = typeof name === 'string' ? /^(?:auto|cpu|cuda(?::(0|[1-9]\d{0,3}))?)$/.exec(name) : null;
  if (match === null) fail('ERR_ARGUMENT', 'name', "'auto', 'cpu', 'cuda' or 'cuda:N'", name);
  if (name === 'cpu') return new Device(new CpuBackend(limit));
  try {
    return new Device(CudaBackend.open(Number(match[1] ?? 0), limit));
  } catch (error) {
    if (name !== 'auto' || !(error instanceof WarptileError) || error.code !== 'ERR_BACKEND_UNAVAILABLE')
      throw error;
    return new Device(new CpuBackend(limit), error.message.split('\n'));
  }
}
