import { checkSparseMatrix, type SparseMatrix } from '../formats/sparse-matrix.js';
import { planDevice } from '../planning/plan-device.js';
import { mostCandidates, type Tuning, tune, tuningCache } from '../planning/tuning.js';
import type { FloatDType } from '../tensor/dtype.js';
import type { Tensor } from '../tensor/tensor.js';
import { sddmmCall, sddmmProblem, tilesFor } from './sddmm.js';
import { selectSddmm } from './sddmm-plan.js';
import { sddmmPlanName, sddmmPlansToMeasure, sddmmProblemClass } from './sddmm-tuned.js';

/** What `autotuneSddmm` found. */
export type SddmmTuning = Tuning;

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
  const cache = tuningCache(device);
  const { matrix, left, right, batch, features } = sddmmProblem(mask, a, b);
  const shape = batch === undefined ? matrix.setShape : [batch, ...matrix.setShape];
  const out = device.unscoped(() => matrix.adopt(device.empty(shape, features.dtype)));
  try {
    const { candidates } = selectSddmm(features, planDevice(device));
    const expected = Math.min(...candidates.map(({ us }) => us ?? Number.POSITIVE_INFINITY));
    const plans = sddmmPlansToMeasure(features, device, mostCandidates);
    return await tune(
      device,
      cache,
      'sddmm',
      sddmmProblemClass(features),
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
  } finally {
    out.dispose();
  }
}
