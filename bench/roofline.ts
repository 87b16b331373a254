import type { Device } from '../lib/device/device.js';
import type { FloatDType } from '../lib/tensor/dtype.js';
import { summarise } from './measure.js';
import type { Work } from './problem.js';

/** What the card reaches at best, measured on it; empty on the CPU, where it would say nothing. */
export interface Ceilings {
  /** Bytes read plus bytes written by a device copy, in 10^9 a second. */
  readonly copyGbps?: number;
  /** Dense matrix products by input dtype, in 10^12 operations a second. */
  readonly tflops?: { readonly [D in FloatDType]?: number };
}

// Past the L2 of every card so far, below what the smallest has.
const copyBytes = 512 * 2 ** 20;

export async function measureCeilings(device: Device): Promise<Ceilings> {
  if (device.kind === 'cpu') return {};
  const bytes = Math.min(copyBytes, Math.floor(device.info.totalMemoryBytes / 8));
  const source = device.zeros([bytes], 'uint8');
  const target = device.empty([bytes], 'uint8');
  try {
    // Never zeros as data: some cards compress them.
    const pattern = new Uint8Array(Math.min(bytes, 2 ** 22));
    for (let i = 0; i < pattern.length; ++i) pattern[i] = Math.imul(i, 0x9e3779b1) >>> 24;
    for (let start = 0; start < bytes; start += pattern.length) {
      const part = pattern.subarray(0, Math.min(pattern.length, bytes - start));
      device.backend.upload(source.view.buffer, source.view.byteOffset + start, part);
    }
    // Eager calls: a copy in a CUDA graph was measured at two thirds of this rate on an H200.
    const calls = 10;
    const samples: number[] = [];
    for (let sample = -2; sample < 9; ++sample) {
      const ms = await device.time(() => {
        for (let call = 0; call < calls; ++call) target.copyFrom(source);
      });
      if (sample >= 0) samples.push((1000 * ms) / calls);
    }
    return { copyGbps: (2 * bytes) / summarise(samples).us / 1000 };
  } finally {
    source.dispose();
    target.dispose();
  }
}

/** The share of the ceiling that a time reaches: the longer of moving the bytes and computing, over the time. */
export function shareOfRoof(work: Work, dtype: FloatDType, us: number, ceilings: Ceilings): number | null {
  const { copyGbps, tflops } = ceilings;
  if (copyGbps === undefined) return null;
  const memoryUs = work.bytes / copyGbps / 1000;
  const peak = tflops?.[dtype];
  const computeUs = peak === undefined ? 0 : work.flops / peak / 1e6;
  return Math.max(memoryUs, computeUs) / us;
}
