import { WarptileError } from '../errors.js';
import { checkSparseMatrix, type SparseMatrix } from '../formats/sparse-matrix.js';
import { judge, type MeasuredCandidate, measureCandidates } from '../planning/autotune.js';
import type { FloatDType } from '../tensor/dtype.js';
import type { Tensor } from '../tensor/tensor.js';
import { sddmmCall, sddmmProblem, tilesFor } from './sddmm.js';
import { selectSddmm } from './sddmm-plan.js';
import { sddmmPlanName, sddmmPlansToMeasure, sddmmProblemClass } from './sddmm-tuned.js';
import { planDevice } from './spmm-plan.js';

/** What `autotuneSddmm` found. */
export interface SddmmTuning {
  /** What `sddmm` now runs for problems of this class. */
  readonly choice: string;
  readonly us: number;
  /** What the planner chose without measurements. */
  readonly planned: string;
  readonly plannedUs: number;
  /** Every candidate in the order of its expected time: its microseconds, or why it cannot run. */
  readonly measured: readonly MeasuredCandidate[];
}

const mostCandidates = 8;

/**
 * Measures the planner's choice for `sddmm(mask, a, b)` and the next best, by replays of graphs, and remembers the fastest for all problems of
 * this class if it is faster by more than 3 %: in the device's autotune cache, which `sddmm` heeds from then on. Takes tenths of
 * seconds. The operands are read while it runs; they may be disposed.
 * @throws WarptileError as `sddmm`; ERR_ARGUMENT on a device that was opened without `autotune`; ERR_UNSUPPORTED inside a capture.
 */
export async function autotuneSddmm<D extends FloatDType>(
  mask: SparseMatrix,
  a: Tensor<D>,
  b: Tensor<D>,
): Promise<SddmmTuning> {
  const { device } = checkSparseMatrix(mask, 'mask');
  const cache = device.autotune;
  if (cache === undefined) {
    throw new WarptileError('ERR_ARGUMENT', 'autotune: expected a device opened with autotune: true');
  }
  if (device.capturing) {
    throw new WarptileError('ERR_UNSUPPORTED', 'capture: autotuning cannot be recorded; do it before');
  }
  const { matrix, left, right, batch, features } = sddmmProblem(mask, a, b);
  const shape = batch === undefined ? matrix.setShape : [batch, ...matrix.setShape];
  const out = device.unscoped(() => matrix.adopt(device.empty(shape, features.dtype)));
  try {
    const { candidates } = selectSddmm(features, planDevice(device));
    const expected = Math.min(...candidates.map(({ us }) => us ?? Number.POSITIVE_INFINITY));
    const plans = sddmmPlansToMeasure(features, device, mostCandidates);
    const measured = await measureCandidates(
      device,
      plans.map((plan) => {
        // Before the recording, in which a mask's tiles cannot be found.
        const tiles = tilesFor(matrix, plan);
        return {
          name: sddmmPlanName(plan),
          run: () => {
            const call = sddmmCall(left, right, out, 1, undefined, 'segments');
            device.backend.operations.sddmm({ ...call, plan, tiles });
          },
        };
      }),
      expected,
    );
    const { name, us, plannedUs } = judge(measured);
    const planned = sddmmPlanName(plans[0]);
    const key = sddmmProblemClass(features);
    // Once the planner is as good, an older choice gives way to it.
    if (name !== planned || cache.get('sddmm', key) !== undefined) {
      const entry = { choice: name, us, plannedUs, date: new Date().toISOString() };
      await cache.remember('sddmm', key, entry);
    }
    return { choice: name, us, planned, plannedUs, measured };
  } finally {
    out.dispose();
  }
}
