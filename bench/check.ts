import { dtypeInfo, type StorageArray, storageArray } from '../lib/tensor/dtype.js';
import { compare } from '../test/harness/compare.js';
import { Random } from '../test/harness/random.js';
import type { BoundProblem } from './problem.js';

export interface Check {
  readonly pass: boolean;
  /** The largest error over its bound: at most 1 passes. */
  readonly error: number;
  /** Normalised mean squared error. */
  readonly nmse: number;
  readonly failure?: string;
  /** It fails, but is as right as sums kept in the output's own dtype can be: enough for a peer, not for us. */
  readonly coarse?: true;
}

// As any float dtype, all-ones bytes are NaN: an element that is never written shows.
const poison = 0xff;

/** Runs the problem once on a poisoned output and compares the first, the last and some random rows with the reference. */
export async function checkProblem(problem: BoundProblem, seed: string, samples: number): Promise<Check> {
  const { output, rows } = problem;
  const { buffer, byteOffset } = output.view;
  output.device.backend.fill(buffer, byteOffset, output.byteLength, poison);
  problem.run();
  const chosen = sampleRows(rows, Math.min(samples, problem.samples ?? samples), new Random(seed));
  const stored = await readRows(problem, chosen);
  const { dtype } = output;
  const { values, bound, ownSums } = problem.reference(chosen);
  const { mismatches, worstRatio, nmse, first } = compare(dtype, stored, { values, bound }, 'random');
  if (mismatches === 0) return { pass: true, error: worstRatio, nmse };
  const coarse =
    ownSums !== undefined &&
    nmse <= ownSums.nmse &&
    compare(dtype, stored, { values, bound: ownSums.bound }, 'random').mismatches === 0;
  const failure = `${mismatches} of ${values.length} wrong, ${first}`;
  return { pass: false, error: worstRatio, nmse, failure, ...(coarse ? { coarse } : {}) };
}

/** The stored elements of the given rows, one after another. */
async function readRows(problem: BoundProblem, chosen: readonly number[]): Promise<StorageArray> {
  const { output, rows, rowStarts } = problem;
  const { bytes } = dtypeInfo[output.dtype];
  if (problem.elements !== undefined) {
    const [whole, indices] = [await output.rawData(), problem.elements(chosen)];
    const picked = storageArray(output.dtype, new ArrayBuffer(indices.length * bytes));
    for (let i = 0; i < indices.length; ++i) picked[i] = whole[indices[i]];
    return picked;
  }
  const start = (row: number): number =>
    rowStarts === undefined ? (row * output.size) / rows : rowStarts[row];
  const flat = output.reshape([output.size]);
  const parts: StorageArray[] = [];
  for (const row of chosen) {
    const part = flat.slice(start(row), start(row + 1));
    parts.push(await part.rawData());
    part.dispose();
  }
  flat.dispose();
  return joined(output.dtype, parts);
}

function sampleRows(rows: number, samples: number, random: Random): number[] {
  if (rows <= samples) return Array.from({ length: rows }, (_, row) => row);
  const chosen = new Set([0, rows - 1]);
  while (chosen.size < samples) chosen.add(random.integer(0, rows - 1));
  return [...chosen].sort((a, b) => a - b);
}

function joined(dtype: BoundProblem['output']['dtype'], parts: readonly StorageArray[]): StorageArray {
  const size = parts.reduce((sum, part) => sum + part.length, 0);
  const whole = storageArray(dtype, new ArrayBuffer(size * dtypeInfo[dtype].bytes));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
