import { WarptileError } from '../../errors.js';
import type { FloatDType } from '../../tensor/dtype.js';
import { bfloat16Bits, bfloat16Value, float16Bits, float16Value } from '../../tensor/half.js';

/** 4-bit values with their scales, still on the host and unpacked. */
export interface UnpackedMatrix {
  /** [n, k], 0 to 15 */
  readonly u: Uint8Array;
  /** [groups, n], exactly representable in the target dtype */
  readonly scales: Float64Array;
  /** [groups, n], 0 to 16 */
  readonly zeroPoints: Uint8Array;
}

export interface RoundOptions {
  readonly n: number;
  readonly k: number;
  readonly groupSize: number;
  readonly symmetric: boolean;
  readonly dtype: FloatDType;
}

/**
 * Rounds weights [n, k] to the nearest of 16 levels, group by group. Symmetric: 16 levels of step max|w| / 7.5 around
 * zero, zero point 8. Otherwise: 16 levels over [min(w, 0), max(w, 0)], so that zero stays exact.
 * The scale is the smallest number of `dtype` that reaches the ends of the range, so no weight is off by more than half of it.
 */
export function roundToNearest(weights: ArrayLike<number>, options: RoundOptions): UnpackedMatrix {
  const { n, k, groupSize, symmetric, dtype } = options;
  const groups = Math.ceil(k / groupSize);
  const u = new Uint8Array(n * k);
  const scales = new Float64Array(groups * n);
  const zeroPoints = new Uint8Array(groups * n);
  for (let row = 0; row < n; ++row) {
    for (let group = 0; group < groups; ++group) {
      const start = row * k + group * groupSize;
      const end = row * k + Math.min((group + 1) * groupSize, k);
      let low = 0;
      let high = 0;
      for (let i = start; i < end; ++i) {
        const value = weights[i];
        if (!Number.isFinite(value)) {
          throw new WarptileError(
            'ERR_ARGUMENT',
            `weights[${i}]: expected a finite number, received ${value}`,
          );
        }
        if (value < low) low = value;
        else if (value > high) high = value;
      }
      const ideal = symmetric ? Math.max(-low, high) / 7.5 : high / 15 - low / 15;
      // A group of zeros: any scale does.
      const scale = ideal === 0 ? 1 : roundUp(ideal, dtype);
      if (!Number.isFinite(scale)) {
        throw new WarptileError(
          'ERR_ARGUMENT',
          `weights: row ${row}, group ${group} needs a scale of ${ideal}, which ${dtype} cannot hold`,
        );
      }
      const zeroPoint = symmetric ? 8 : nearest(-low / scale);
      scales[group * n + row] = scale;
      zeroPoints[group * n + row] = zeroPoint;
      for (let i = start; i < end; ++i) {
        u[i] = Math.min(Math.max(nearest(weights[i] / scale) + zeroPoint, 0), 15);
      }
    }
  }
  return { u, scales, zeroPoints };
}

/** The nearest integer, ties to even. */
function nearest(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return rest < 0.5 ? floor : floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}

const float32 = new Float32Array(1);
const float32Bits = new Uint32Array(float32.buffer);

/** The smallest number of `dtype` that is at least `value` > 0; Infinity where there is none. */
function roundUp(value: number, dtype: FloatDType): number {
  if (dtype === 'float32') {
    float32[0] = value;
    if (float32[0] < value) ++float32Bits[0];
    return float32[0];
  }
  const toBits = dtype === 'float16' ? float16Bits : bfloat16Bits;
  const toValue = dtype === 'float16' ? float16Value : bfloat16Value;
  const bits = toBits(value);
  // Positive numbers of one format are ordered as their bits.
  return toValue(bits) < value ? toValue(bits + 1) : toValue(bits);
}
