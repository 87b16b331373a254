import type { Device } from '../../lib/index.js';
import type { PlanDevice } from '../../lib/planning/plan-device.js';

/** Makes planners take `device` for another card; everything still runs on it. */
export function withCard(device: Device, { multiprocessors, clusters, sharedMemory }: PlanDevice): Device {
  const info = {
    ...device.info,
    computeCapability: clusters ? ([9, 0] as const) : ([8, 0] as const),
    multiprocessors,
    sharedMemoryPerBlockBytes: sharedMemory,
  };
  return Object.defineProperty(device, 'info', { value: info, configurable: true });
}
