// Copies of dense operands whose rows do not begin at multiples of 16 bytes: what they cost, and where they pay.

import type { Found } from '../planning/choice.js';
import { dtypeInfo, type FloatDType } from '../tensor/dtype.js';

/** Of all copies of a call. */
const mostBytes = 2 ** 30;

// Of an H200: microseconds of a launch, and megabytes a microsecond that are read or written, where the L2 cache holds them and where
// it does not.
const launchTime = 1.15;
const cachedBytes = 20e6;
const cachedRate = 4e6;
const memoryRate = 2.3e6;
/** Elements of half types are copied by two bytes, or four. */
const halfShare = 1.35;

/** Columns of a copy: whole vectors of 16 bytes. */
export function paddedColumns(columns: number, dtype: FloatDType): number {
  const vector = 16 / dtypeInfo[dtype].bytes;
  return Math.ceil(columns / vector) * vector;
}

/** Expected microseconds of copies of so many elements in all, in so many launches; infinite where they take too much memory. */
export function paddingTime(elements: number, dtype: FloatDType, launches: number): number {
  const bytes = elements * dtypeInfo[dtype].bytes;
  if (bytes > mostBytes) return Number.POSITIVE_INFINITY;
  const us = launches * launchTime + (2 * bytes) / (bytes > cachedBytes ? memoryRate : cachedRate);
  return dtype === 'float32' ? us : halfShare * us;
}

/** Each variant as it was found, or on copies that take `us` to make where that is faster. */
export function orPadded<Plan extends { readonly variant: string; readonly padded: boolean }>(
  found: readonly Found<Plan>[],
  onCopies: readonly Found<Plan>[],
  us: number,
): Found<Plan>[] {
  return found.map((one, i) => {
    const { variant, plan, us: copied } = onCopies[i];
    if (plan === undefined || !(copied + us < one.us)) return one;
    return { variant, plan: { ...plan, padded: true }, us: copied + us };
  });
}
