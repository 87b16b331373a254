import type { Backend } from '../backends/backend.js';
import { CpuBackend } from '../backends/cpu.js';
import { CudaBackend } from '../backends/cuda.js';
import { fail, WarptileError } from '../errors.js';
import { autotuneFileOf, openAutotuneCache } from '../planning/open-autotune.js';
import { checkInteger, checkOptions, own } from '../validate.js';
import { Device } from './device.js';

export interface OpenDeviceOptions {
  /** Most bytes of live buffers; past it an allocation throws ERR_OUT_OF_MEMORY. Default: what the device has. */
  memoryLimit?: number;
  /**
   * Heeds the choices that `autotuneSpmm` measured on such a machine, and lets it remember more: in WARPTILE_AUTOTUNE_CACHE, else in
   * warptile/autotune.json in the user's cache folder, or in `file`. Default false.
   */
  autotune?: boolean | { file?: string };
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
  const checked = checkOptions(options, ['memoryLimit', 'autotune']);
  const memoryLimit = own(checked, 'memoryLimit');
  if (memoryLimit !== undefined) checkInteger(memoryLimit, 'memoryLimit', 1);
  const limit = memoryLimit === undefined ? {} : { memoryLimit };
  const file = autotuneFileOf(own(checked, 'autotune'));
  const match = typeof name === 'string' ? /^(?:auto|cpu|cuda(?::(0|[1-9]\d{0,3}))?)$/.exec(name) : null;
  if (match === null) fail('ERR_ARGUMENT', 'name', "'auto', 'cpu', 'cuda' or 'cuda:N'", name);
  const open = (backend: Backend, reasons?: readonly string[]): Device =>
    new Device(backend, reasons, file === undefined ? undefined : openAutotuneCache(file, backend.info));
  if (name === 'cpu') return open(new CpuBackend(limit));
  try {
    return open(CudaBackend.open(Number(match[1] ?? 0), limit));
  } catch (error) {
    if (name !== 'auto' || !(error instanceof WarptileError) || error.code !== 'ERR_BACKEND_UNAVAILABLE')
      throw error;
    return open(new CpuBackend(limit), error.message.split('\n'));
  }
}
