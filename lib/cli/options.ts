// Options that several commands share, and how their values are read.

import { InvalidArgumentError, Option } from 'commander';
import type { Device } from '../device/device.js';
import { openDevice } from '../device/open.js';
import { floatDTypes } from '../tensor/dtype.js';

export function deviceOption(): Option {
  return new Option('--device <id>', "'auto', 'cpu', 'cuda' or 'cuda:N'").default('auto');
}

export function jsonOption(): Option {
  return new Option('--json <file>', 'also write the results to a file');
}

export function dtypeOption(): Option {
  return new Option('--dtype <dtype...>', 'only these dtypes').choices([...floatDTypes]);
}

export function positiveInteger(text: string, before: number[] = []): number[] {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < 1 || value > 2 ** 31 - 1) {
    throw new InvalidArgumentError('It must be a positive integer.');
  }
  return [...before, value];
}

/** Opens the device and says which one it is; of 'auto' on the CPU, why. */
export async function openNamed(id: string, options?: { autotune?: boolean }): Promise<Device> {
  const device = await openDevice(id as 'auto', options);
  const { name, computeCapability, driverVersion, runtimeVersion } = device.info;
  const details =
    device.kind === 'cuda'
      ? `, compute capability ${computeCapability?.join('.')}, driver ${driverVersion}, CUDA ${runtimeVersion}`
      : '';
  console.log(`device ${device.id}: ${name}${details}`);
  if (device.fallbackReasons.length > 0) {
    console.log('No GPU is used:');
    for (const reason of device.fallbackReasons) console.log(`  ${reason}`);
    console.log('The work is done on the CPU. `warptile doctor` says how to mend it.');
  }
  return device;
}
