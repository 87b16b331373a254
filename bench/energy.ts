import { CudaBackend } from '../lib/backends/cuda.js';
import type { Device } from '../lib/device/device.js';

// The card's counter moves in steps of some tens of milliseconds: over this window that is within a percent.
const windowMs = 5000;
const chunkMs = 100;

/** Joules of one call, replayed without a pause from a CUDA graph; undefined on the CPU. @throws WarptileError ERR_UNSUPPORTED without NVML. */
export async function measureEnergy(
  device: Device,
  run: () => void,
  us: number,
): Promise<number | undefined> {
  const { backend } = device;
  if (!(backend instanceof CudaBackend)) return undefined;
  const calls = Math.max(1, Math.min(100, Math.round(1000 / us)));
  const graph = device.capture(() => {
    for (let call = 0; call < calls; ++call) run();
  });
  try {
    const replays = Math.max(1, Math.round((1000 * chunkMs) / (calls * us)));
    const chunk = async (): Promise<void> => {
      for (let replay = 0; replay < replays; ++replay) graph.replay();
      await device.synchronize();
    };
    // The power settles first.
    for (let i = 0; i < 5; ++i) await chunk();
    const start = performance.now();
    const before = backend.energy();
    let chunks = 0;
    for (; performance.now() - start < windowMs; ++chunks) await chunk();
    return (backend.energy() - before) / (chunks * replays * calls);
  } finally {
    graph.dispose();
  }
}
