// Copies of dense operands whose rows do not begin at multiples of 16 bytes: what they cost, and where they pay.

import type { Found } from '../planning/choice.js';
import type { Estimate } from '../planning/tuning.js';
import { dtypeInfo, type FloatDType } from '../tensor/dtype.js';
import { wholeVector } from './vectors.js';

/** Of all copies of a call. */
const mostBytes = 2 ** 30;

// Of an H200: microseconds of a launch, whose rows are waited for twice, and of a million bytes that are copied where the L2 cache holds them
// and where it does not. Elements of half types are copied by two bytes, or four. From what plans on copies took longer than expected of operands
// whose rows are aligned (2,200 random problems). `ragged`: a million elements of C that are written one by one, or in pairs.
const cachedBytes = 20e6;
const copying = {
  float32: { launch: 1.5, cached: 0.6, memory: 0.7, ragged: 0.55 },
  halfPairs: { launch: 1.75, cached: 0.85, memory: 0.9, ragged: 0.8 },
  half: { launch: 1.9, cached: 1.25, memory: 1.25, ragged: 1.2 },
};

const copyingOf = ({ dtype, pairs }: PaddedOperands): (typeof copying)['half'] =>
  copying[dtype === 'float32' ? dtype : pairs ? 'halfPairs' : 'half'];

/** Columns of a copy: whole vectors of 16 bytes. */
export function paddedColumns(columns: number, dtype: FloatDType): number {
  const vector = wholeVector(dtype);
  return Math.ceil(columns / vector) * vector;
}

/** What is copied: rows that begin at multiples of two elements, or anywhere. */
interface PaddedOperands {
  readonly dtype: FloatDType;
  readonly pairs: boolean;
}

/** Expected microseconds of copies of so many elements in all, in one launch; infinite where they take too much memory. */
export function paddingTime(elements: number, operands: PaddedOperands): number {
  const bytes = elements * dtypeInfo[operands.dtype].bytes;
  if (bytes > mostBytes) return Number.POSITIVE_INFINITY;
  const { launch, cached, memory } = copyingOf(operands);
  return launch + (bytes / 1e6) * (bytes > cachedBytes ? memory : cached);
}

/** Expected microseconds by which so many elements take longer to write that lie anywhere. */
export const raggedTime = (elements: number, operands: PaddedOperands): number =>
  (elements / 1e6) * copyingOf(operands).ragged;

interface PaddablePlan {
  readonly variant: string;
  readonly padded: boolean;
}

/** A problem on copies, and the microseconds of making them. */
export interface Padded<Features> {
  readonly features: Features;
  readonly us: number;
}

/** Each variant as `find` finds it, or on the copies of `padded` where that is faster. */
export function withPadding<Features, Plan extends PaddablePlan>(
  features: Features,
  padded: Padded<Features> | undefined,
  find: (features: Features) => readonly Found<Plan>[],
): readonly Found<Plan>[] {
  const found = find(features);
  if (padded === undefined) return found;
  const onCopies = find(padded.features);
  return found.map((one, i) => {
    const { variant, plan } = onCopies[i];
    const us = onCopies[i].us + padded.us;
    if (plan === undefined || !(us < one.us)) return one;
    return { variant, plan: { ...plan, padded: true }, us, problem: undefined };
  });
}

/** Every plan that `list` lists, for operands as they are and for the copies of `padded`. */
export function plansWithPadding<Features, Plan extends PaddablePlan>(
  features: Features,
  padded: Padded<Features> | undefined,
  list: (features: Features) => readonly Estimate<Plan>[],
): readonly Estimate<Plan>[] {
  const plans = list(features);
  if (padded === undefined) return plans;
  const onCopies = list(padded.features).map(({ plan, us }) => ({
    plan: { ...plan, padded: true },
    us: us + padded.us,
  }));
  return [...plans, ...onCopies];
}

/** What a plan does, and that it does it on copies. */
export function describePadding(parameters: string, { padded }: PaddablePlan): string {
  if (!padded) return parameters;
  return parameters === '' ? 'padded' : `${parameters}, padded`;
}
