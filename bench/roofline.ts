import { CudaBackend } from '../lib/backends/cuda.js';
import type { Device } from '../lib/device/device.js';
import { spmmCall } from '../lib/ops/spmm.js';
import type { FloatDType } from '../lib/tensor/dtype.js';
import { measure, summarise } from './measure.js';
import { Operand } from './operands.js';
import type { Work } from './problem.js';
import { SparseOperand } from './sparse.js';

/** What the card reaches at best, measured on it; empty on the CPU, where it would say nothing. */
export interface Ceilings {
  /** Bytes read plus bytes written by a device copy, in 10^9 a second. */
  readonly copyGbps?: number;
  /** Bytes read by a kernel that only reads. */
  readonly readGbps?: number;
  /** Dense matrix products by input dtype, in 10^12 operations a second. */
  readonly tflops?: { readonly [D in FloatDType]?: number };
}

// Past the L2 of every card so far, below what the smallest has.
const copyBytes = 512 * 2 ** 20;
const gemmSize = 4096;
const gemmColumns = 8192;
const block = 64;

/** Measures the card: copying, reading, and where cuBLAS is found dense products of the given dtypes. */
export async function measureCeilings(device: Device, dtypes: readonly FloatDType[]): Promise<Ceilings> {
  const { backend } = device;
  if (!(backend instanceof CudaBackend)) return {};
  const bytes = Math.min(copyBytes, 16 * Math.floor(device.info.totalMemoryBytes / 128));
  const source = device.zeros([bytes], 'uint8');
  const target = device.empty([bytes], 'uint8');
  const { buffer, byteOffset } = source.view;
  try {
    // Never zeros as data: some cards compress them.
    const pattern = new Uint8Array(Math.min(bytes, 2 ** 22));
    for (let i = 0; i < pattern.length; ++i) pattern[i] = Math.imul(i, 0x9e3779b1) >>> 24;
    for (let start = 0; start < bytes; start += pattern.length) {
      const part = pattern.subarray(0, Math.min(pattern.length, bytes - start));
      backend.upload(buffer, byteOffset + start, part);
    }
    const copyUs = await eagerUs(device, () => target.copyFrom(source));
    const readUs = await eagerUs(device, () => backend.read(buffer, bytes, target.view.buffer));
    const tflops: { [D in FloatDType]?: number } = {};
    for (const dtype of dtypes) {
      const rate = await gemmTflops(device, dtype);
      if (rate !== undefined) tflops[dtype] = rate;
    }
    return { copyGbps: (2 * bytes) / copyUs / 1000, readGbps: bytes / readUs / 1000, tflops };
  } finally {
    source.dispose();
    target.dispose();
  }
}

/** Eager calls: a copy in a CUDA graph was measured at two thirds of this rate on an H200. */
async function eagerUs(device: Device, run: () => void): Promise<number> {
  const calls = 10;
  const samples: number[] = [];
  for (let sample = -2; sample < 9; ++sample) {
    const ms = await device.time(() => {
      for (let call = 0; call < calls; ++call) run();
    });
    if (sample >= 0) samples.push((1000 * ms) / calls);
  }
  return summarise(samples).us;
}

/** 10^12 operations a second of cuBLAS on a matrix of which every block is stored; undefined without cuBLAS. */
async function gemmTflops(device: Device, dtype: FloatDType): Promise<number | undefined> {
  const blocks = gemmSize / block;
  const a = new SparseOperand('gemm', {
    rows: gemmSize,
    columns: gemmSize,
    blockRows: block,
    blockColumns: block,
    rowPointers: Int32Array.from({ length: blocks + 1 }, (_, row) => row * blocks),
    columnIndices: Int32Array.from({ length: blocks * blocks }, (_, index) => index % blocks),
  });
  const matrix = a.on(device, a.values(dtype));
  const b = Operand.normal('gemm b', [gemmSize, gemmColumns], dtype).on(device);
  const out = device.empty([gemmSize, gemmColumns], dtype);
  const peers = device.backend.preparePeers('spmm', spmmCall(matrix, b, out, 1, 0));
  try {
    const peer = peers.find((candidate) => candidate.name === 'cublas dense');
    if (peer === undefined || 'problem' in peer) return undefined;
    const { us } = await measure(device, () => peer.run(), { samples: 9, budgetMs: 50 });
    return (2 * gemmSize ** 2 * gemmColumns) / us / 1e6;
  } finally {
    for (const peer of peers) if (!('problem' in peer)) peer.dispose();
    for (const item of [matrix, b, out]) item.dispose();
  }
}

/** The share of the ceiling that a time reaches: the longer of moving the bytes and computing, over the time. */
export function shareOfRoof(work: Work, dtype: FloatDType, us: number, ceilings: Ceilings): number | null {
  const { copyGbps, readGbps = 0, tflops } = ceilings;
  if (copyGbps === undefined) return null;
  const memoryUs = work.bytes / Math.max(copyGbps, readGbps) / 1000;
  const peak = tflops?.[dtype];
  const computeUs = peak === undefined ? 0 : work.flops / peak / 1e6;
  return Math.max(memoryUs, computeUs) / us;
}
