import { checkSparseMatrix, type SparseMatrix } from '../formats/sparse-matrix.js';
import { transposedMatrix } from '../formats/transposed-copy.js';
import { planDevice } from '../planning/plan-device.js';
import { mostCandidates, type Tuning, tune, tuningCache } from '../planning/tuning.js';
import type { FloatDType } from '../tensor/dtype.js';
import type { Tensor } from '../tensor/tensor.js';
import { type SpmmOptions, spmmCall, spmmProblem } from './spmm.js';
import { selectSpmm } from './spmm-plan.js';
import { spmmPlanName, spmmPlansToMeasure, spmmProblemClass } from './spmm-tuned.js';

/** What `autotuneSpmm` found. */
export type SpmmTuning = Tuning;

/**
 * Measures the planner's choice for `spmm(a, b, options)` and the next best, by replays of graphs, and remembers the fastest for all problems
 * of this class if it is faster by more than 3 %: in the device's autotune cache, which `spmm` heeds from then on. Takes tenths of
 * seconds. The operands are read while it runs; they may be disposed.
 * @throws WarptileError as `spmm`; ERR_ARGUMENT on a device that was opened without `autotune`; ERR_UNSUPPORTED inside a capture.
 */
export async function autotuneSpmm<D extends FloatDType>(
  a: SparseMatrix<D>,
  b: Tensor<D>,
  options?: Pick<SpmmOptions<D>, 'transposeA' | 'bColumns'>,
): Promise<SpmmTuning> {
  const { device } = checkSparseMatrix(a, 'a');
  const cache = tuningCache(device);
  const { matrix, transposeA, dense, start, batch, features } = spmmProblem(a, b, options);
  const { rows, width } = features;
  const shape = batch === undefined ? [rows, width] : [batch, rows, width];
  const out = device.unscoped(() => device.empty(shape, matrix.dtype));
  try {
    const { candidates } = selectSpmm(features, planDevice(device));
    const expected = Math.min(...candidates.map(({ us }) => us ?? Number.POSITIVE_INFINITY));
    const plans = spmmPlansToMeasure(features, device, mostCandidates);
    return await tune(
      device,
      cache,
      'spmm',
      spmmProblemClass(features),
      plans.map((plan) => ({
        name: spmmPlanName(plan),
        run: () => {
          // Within the recording, which then keeps the transposed copy.
          const operand = transposeA ? transposedMatrix(a) : matrix;
          const call = spmmCall(operand, dense, out, 1, 0, plan.variant, { width, b: start, out: 0 });
          device.backend.operations.spmm({ ...call, plan });
        },
      })),
      expected,
    );
  } finally {
    out.dispose();
  }
}
