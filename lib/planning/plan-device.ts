import type { Device } from '../device/device.js';

/** Blocks along the second and third dimension of a grid, of any card (CUDA C++ Programming Guide, "Technical Specifications"). */
export const mostInGrid = 65_535;

/** What planners know of a device. */
export interface PlanDevice {
  readonly multiprocessors: number;
  /** Compute capability 9.0: later cards run the kernels of 8.0, which have no clusters. */
  readonly clusters: boolean;
}

/** The CPU plans as an H200 would, so that what is tested there is what runs. */
export function planDevice({ info }: Device): PlanDevice {
  const [major] = info.computeCapability ?? [9];
  return { multiprocessors: info.multiprocessors ?? 132, clusters: major === 9 };
}
