import { WarptileError } from '../errors.js';
import { checkSparseMatrix, type SparseMatrix } from '../formats/sparse-matrix.js';
import { transposedMatrix } from '../formats/transposed-copy.js';
import { judge, type MeasuredCandidate, measureCandidates } from '../planning/autotune.js';
import type { FloatDType } from '../tensor/dtype.js';
import type { Tensor } from '../tensor/tensor.js';
import { type SpmmOptions, spmmCall, spmmProblem } from './spmm.js';
import { planDevice, selectSpmm } from './spmm-plan.js';
import { planName, plansToMeasure, problemClass } from './spmm-tuned.js';

/** What `autotuneSpmm` found. */
export interface SpmmTuning {
  /** What `spmm` now runs for problems of this class. */
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
  const cache = device.autotune;
  if (cache === undefined) {
    throw new WarptileError('ERR_ARGUMENT', 'autotune: expected a device opened with autotune: true');
  }
  if (device.capturing) {
    throw new WarptileError('ERR_UNSUPPORTED', 'capture: autotuning cannot be recorded; do it before');
  }
  const { matrix, transposeA, dense, start, batch, features } = spmmProblem(a, b, options);
  const { rows, width } = features;
  const shape = batch === undefined ? [rows, width] : [batch, rows, width];
  const out = device.unscoped(() => device.empty(shape, matrix.dtype));
  try {
    const { candidates } = selectSpmm(features, planDevice(device));
    const expected = Math.min(...candidates.map(({ us }) => us ?? Number.POSITIVE_INFINITY));
    const plans = plansToMeasure(features, device, mostCandidates);
    const measured = await measureCandidates(
      device,
      plans.map((plan) => ({
        name: planName(plan),
        run: () => {
          // Within the recording, which then keeps the transposed copy.
          const operand = transposeA ? transposedMatrix(a) : matrix;
          const call = spmmCall(operand, dense, out, 1, 0, plan.variant, { width, b: start, out: 0 });
          device.backend.operations.spmm({ ...call, plan });
        },
      })),
      expected,
    );
    const { name, us, plannedUs } = judge(measured);
    const planned = planName(plans[0]);
    const key = problemClass(features);
    // Once the planner is as good, an older choice gives way to it.
    if (name !== planned || cache.get('spmm', key) !== undefined) {
      const entry = { choice: name, us, plannedUs, date: new Date().toISOString() };
      await cache.remember('spmm', key, entry);
    }
    return { choice: name, us, planned, plannedUs, measured };
  } finally {
    out.dispose();
  }
}
