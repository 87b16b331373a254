// A hunt for losses: problems that nobody chose.

import type { Device } from '../lib/device/device.js';
import type { FloatDType } from '../lib/tensor/dtype.js';
import { Random } from '../test/harness/random.js';
import { goalLibrary, ratioOf } from './goals.js';
import { randomMatrix } from './problem-set.js';
import { sddmmFamily } from './problems/sddmm.js';
import { spmmFamily } from './problems/spmm.js';
import type { Row } from './report.js';
import { type Plan, runProblem } from './run-problem.js';

export interface HuntOptions {
  readonly count: number;
  readonly seed: string;
  /** Of spmm and sddmm; empty for both. */
  readonly operations: readonly string[];
  readonly dtypes: readonly FloatDType[];
}

export const huntOperations: readonly string[] = ['spmm', 'sddmm'];

/** A ratio below this, twice, is a loss. */
export const lossRatio = 0.95;

const mostColumns = 512;

/** Measures `count` random problems; calls `found` for each that cuSPARSE does more than 5 % faster. */
export async function hunt(
  device: Device,
  { count, seed, operations, dtypes }: HuntOptions,
  progress: { step(done: number, problem: string): void; found(row: Row): void },
): Promise<Row[]> {
  const families = [spmmFamily, sddmmFamily].filter(
    ({ operation }) => operations.length === 0 || operations.includes(operation),
  );
  const quick: Plan = {
    effort: { samples: 5, budgetMs: 50 },
    columns: ['warm'],
    peers: [goalLibrary],
    energy: false,
    tune: false,
  };
  const careful: Plan = { ...quick, effort: { samples: 15, budgetMs: 300 } };
  const rows: Row[] = [];
  for (let i = 0; i < count; ++i) {
    const random = new Random(`${seed} ${i}`);
    const family = random.pick(families);
    const dtype = random.pick(dtypes);
    const n = Math.round(mostColumns ** random.unit());
    const matrix = randomMatrix(`${seed} ${i} matrix`);
    const [problem] = family.problems({
      kind: device.kind,
      quick: true,
      full: false,
      dtypes: [dtype],
      sizes: () => [n],
      matrices: [matrix],
    });
    progress.step(i, `${problem.operation} ${problem.name} ${dtype}`);
    let row = await runProblem(device, problem, quick, {});
    // A loss by chance is no loss.
    if (isLoss(row)) row = await runProblem(device, problem, careful, {});
    if (isLoss(row) || !row.pass) progress.found(row);
    rows.push(row);
  }
  return rows;
}

function isLoss(row: Row): boolean {
  return (ratioOf(row, goalLibrary, 'warm') ?? 1) < lossRatio;
}
