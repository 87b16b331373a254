// What the measured choices of lib/planning say of sddmm.

import type { SddmmPlan } from '../backends/calls/sddmm.js';
import type { Device } from '../device/device.js';
import { nameOf } from '../planning/choice.js';
import { type PlanDevice, planDevice } from '../planning/plan-device.js';
import {
  bucket,
  type Estimate,
  estimates,
  plansToMeasure,
  recallPlan,
  type TunedPlan,
} from '../planning/tuning.js';
import { plansWithPadding } from './padding.js';
import {
  describeSddmmPlan,
  gatherPlans,
  isTileVariant,
  paddedSddmm,
  placed,
  type SddmmFeatures,
  sddmmVariantsFor,
  selectSddmm,
  tilePlans,
} from './sddmm-plan.js';
import { sddmmTime } from './sddmm-time.js';

export const sddmmPlanName = (plan: SddmmPlan): string => nameOf(plan, describeSddmmPlan);

/**
 * The class of a problem, whose members share a choice: sizes by half powers of two, but the depth, dtype and format, which rule kernels out,
 * as they are.
 */
export function sddmmProblemClass(features: SddmmFeatures): string {
  const { dtype, format, rows, columns, stored, longestRow, depth, batch, vectors, pairs, lines, tiles } =
    features;
  const parts = [
    `${format} ${dtype} ${bucket(rows)}x${bucket(columns)}`,
    `stored ${bucket(stored)}`,
    `longest ${bucket(longestRow)}`,
    `k ${depth}`,
    `batch ${bucket(batch)}`,
    `tiles ${tiles.map(bucket).join(' ')}`,
  ];
  if (lines) parts.push('lines');
  else if (vectors) parts.push('vectors');
  else if (pairs) parts.push('pairs');
  return parts.join(', ');
}

/** Every plan that could run, each with its expected microseconds. */
function allPlans(features: SddmmFeatures, device: Device): readonly Estimate<SddmmPlan>[] {
  const card = planDevice(device);
  return plansWithPadding(features, paddedSddmm(features), (problem) => plansFor(problem, card));
}

/** Those for operands as they are. */
function plansFor(features: SddmmFeatures, card: PlanDevice): Estimate<SddmmPlan>[] {
  return sddmmVariantsFor(features, card).flatMap(({ variant, plan, us }) => {
    if (plan === undefined) return [];
    if (variant === 'segments') return [{ plan, us }];
    const plans = isTileVariant(variant)
      ? tilePlans(features, variant, card)
      : [...gatherPlans(features)].filter((one) => one.variant === variant);
    return estimates(
      plans.map((one) => placed(features, card, one)),
      (one) => sddmmTime(features, card, one),
    );
  });
}

/** As `plansToMeasure`, of all plans that could run. */
export function sddmmPlansToMeasure(features: SddmmFeatures, device: Device, most: number): SddmmPlan[] {
  const { plan } = selectSddmm(features, planDevice(device));
  return plansToMeasure(plan, allPlans(features, device), sddmmPlanName, most);
}

/** The plan that was measured to be fastest for this class of problems, if it can run. */
export function tunedSddmmPlan(features: SddmmFeatures, device: Device): TunedPlan<SddmmPlan> | undefined {
  const entry = device.autotune?.get('sddmm', sddmmProblemClass(features));
  return recallPlan(entry, () => allPlans(features, device), sddmmPlanName);
}
