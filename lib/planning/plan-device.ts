import type { Device } from '../device/device.js';

/** Blocks along the second and third dimension of a grid, of any card (CUDA C++ Programming Guide, "Technical Specifications"). */
export const mostInGrid = 65_535;

/** What planners know of a device. */
export interface PlanDevice {
  readonly multiprocessors: number;
  /** Compute capability 9.0: later cards run the kernels of 8.0, which have no clusters. */
  readonly clusters: boolean;
  /** Bytes that a block may have: 99 KiB at least (compute capability 8.6, 8.9 and 12.0), 227 KiB at most. */
  readonly sharedMemory: number;
}

/** Bytes that a multiprocessor of compute capability 9.0 has for its blocks, and that it keeps for each beside what they may have. */
export const multiprocessorMemory = 227 * 1024;
export const reservedBytes = 1024;

/** The CPU plans as an H200 would, so that what is tested there is what runs. */
export function planDevice({ info }: Device): PlanDevice {
  const [major] = info.computeCapability ?? [9];
  return {
    multiprocessors: info.multiprocessors ?? 132,
    clusters: major === 9,
    sharedMemory: info.sharedMemoryPerBlockBytes ?? 232_448,
  };
}

/** What a kernel needs beyond what every card since compute capability 8.0 has. */
export interface CardNeeds {
  /** Clusters, or other instructions of compute capability 9.0. */
  readonly clusters?: boolean;
  /** Bytes of a block. */
  readonly sharedMemory?: number;
}

/** What of that a card lacks, to be said after 'needs'. */
export function lackOf(
  card: PlanDevice,
  { clusters = false, sharedMemory = 0 }: CardNeeds,
): string | undefined {
  if (clusters && !card.clusters) return 'compute capability 9.0';
  if (sharedMemory <= card.sharedMemory) return undefined;
  return `${Math.ceil(sharedMemory / 1024)} KiB of shared memory a block`;
}
