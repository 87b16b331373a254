import { spawn } from 'node:child_process';
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import type { CudaBackend } from '../../lib/backends/cuda.js';
import { packageRoot } from '../../lib/backends/load-addon.cjs';
import type { Device } from '../../lib/index.js';

/** The addon behind a CUDA device, for its diagnostic rows. */
export function cudaBackend(device: Device): CudaBackend {
  return device.backend as CudaBackend;
}

/** Keeps the device's stream busy for a time. */
export function spin(device: Device, milliseconds: number): void {
  cudaBackend(device).runRow('diagnosticSpin', Float64Array.of(milliseconds));
}

/** Resolves after a time on the host's clock. */
export function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

// Children and workers are plain Node on the built package, without jest's transform. In scope of their bodies: the
// library, `spin` as above, `ones` (a tensor of 1s), and in workers `parentPort` and `workerData`.
const library = JSON.stringify(path.join(packageRoot(), 'dist', 'cjs', 'lib', 'index.js'));
const workerPrelude = `
  const { Worker, parentPort, workerData } = require('node:worker_threads');
  const { openDevice, WarptileError } = require(${library});
  const spin = (device, milliseconds) => device.backend.runRow('diagnosticSpin', Float64Array.of(milliseconds));
  const ones = (device, size) => device.tensor(new Float32Array(size).fill(1));
`;
// A child can start workers of its own: startWorker(body, workerData).
const childPrelude = `${workerPrelude}
  const startWorker = (body, workerData) =>
    new Worker(${JSON.stringify(workerPrelude)} + '(async () => {' + body + '})();', { eval: true, workerData });
`;

export interface ChildResult {
  /** The exit code, or the name of the signal that ended the process. */
  readonly status: number | string;
  readonly stdout: string;
  readonly stderr: string;
  readonly milliseconds: number;
}

/** Runs the body of an async function in a Node process of its own; killed after 60 s. */
export function runChild(body: string): Promise<ChildResult> {
  const start = performance.now();
  const child = spawn(process.execPath, ['-e', `${childPrelude}(async () => {${body}})();`], {
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 60_000,
    killSignal: 'SIGKILL',
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text) => {
    stderr += text;
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) =>
      resolve({ status: code ?? signal ?? '', stdout, stderr, milliseconds: performance.now() - start }),
    );
  });
}

/** Starts a worker thread with the body of an async function. */
export function startWorker(body: string): Worker {
  return new Worker(`${workerPrelude}(async () => {${body}})();`, { eval: true });
}

/** Delays past `period` milliseconds of a timer that is set again and again until `work` settles, sorted. */
export async function timerDelays(period: number, work: Promise<unknown>): Promise<number[]> {
  const delays: number[] = [];
  let running = true;
  const settled = work.finally(() => {
    running = false;
  });
  const ticking = (async () => {
    while (running) {
      const start = performance.now();
      await sleep(period);
      delays.push(performance.now() - start - period);
    }
  })();
  await settled;
  await ticking;
  return delays.sort((a, b) => a - b);
}

/** The value that a share `p` of sorted values does not exceed. */
export function percentile(sorted: readonly number[], p: number): number {
  return sorted[Math.min(sorted.length - 1, Math.ceil(p * sorted.length) - 1)];
}
