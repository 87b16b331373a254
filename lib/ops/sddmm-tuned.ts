// What the measured choices of lib/planning say of sddmm.

import type { SddmmPlan } from '../backends/calls/sddmm.js';
import type { Device } from '../device/device.js';
import type { AutotuneEntry } from '../planning/autotune-cache.js';
import {
  describeSddmmPlan,
  gatherPlans,
  gatherTime,
  type SddmmFeatures,
  selectSddmm,
  tilePlans,
  tilesTime,
} from './sddmm-plan.js';
import { planDevice } from './spmm-plan.js';
import { bucket } from './spmm-tuned.js';

export interface TunedSddmmPlan {
  readonly plan: SddmmPlan;
  readonly entry: AutotuneEntry;
}

/** 'rows vector 4, lanes 8, splits 4' */
export function sddmmPlanName(plan: SddmmPlan): string {
  return `${plan.variant} ${describeSddmmPlan(plan)}`.trim();
}

/**
 * The class of a problem, whose members share a choice: sizes by half powers of two, but the depth, dtype and format, which rule kernels out,
 * as they are.
 */
export function sddmmProblemClass(features: SddmmFeatures): string {
  const { dtype, format, rows, columns, stored, longestRow, depth, batch, vectors, tiles } = features;
  const parts = [
    `${format} ${dtype} ${bucket(rows)}x${bucket(columns)}`,
    `stored ${bucket(stored)}`,
    `longest ${bucket(longestRow)}`,
    `k ${depth}`,
    `batch ${bucket(batch)}`,
    `tiles ${tiles.map((count) => (count === undefined ? 'none' : bucket(count))).join(' ')}`,
  ];
  if (vectors) parts.push('vectors');
  return parts.join(', ');
}

/** Every plan that could run, each with its expected microseconds. */
function allPlans(features: SddmmFeatures, device: Device): { plan: SddmmPlan; us: number }[] {
  const card = planDevice(device);
  const found: { plan: SddmmPlan; us: number }[] = [];
  for (const { variant, us = Number.POSITIVE_INFINITY, problem } of selectSddmm(features, card).candidates) {
    if (problem !== undefined) continue;
    if (variant === 'segments') {
      found.push({ plan: selectSddmm(features, card, variant).plan, us });
    } else if (variant === 'tiles' || variant === 'staged') {
      for (const plan of tilePlans(features, variant, card)) {
        found.push({ plan, us: tilesTime(features, card.multiprocessors, plan) });
      }
    } else {
      for (const plan of gatherPlans(features)) {
        if (plan.variant !== variant) continue;
        found.push({ plan, us: gatherTime(features, card.multiprocessors, plan) });
      }
    }
  }
  return found;
}

/** The planner's choice, then the best of each variant, then others in the order of their expected time: `most` plans. */
export function sddmmPlansToMeasure(features: SddmmFeatures, device: Device, most: number): SddmmPlan[] {
  const { plan: planned } = selectSddmm(features, planDevice(device));
  const others = allPlans(features, device).sort((a, b) => a.us - b.us);
  const firsts = others.filter(
    ({ plan }, i) => others.findIndex((one) => one.plan.variant === plan.variant) === i,
  );
  const ordered = [planned, ...firsts.map(({ plan }) => plan), ...others.map(({ plan }) => plan)];
  const unique = new Map(ordered.map((plan) => [sddmmPlanName(plan), plan]));
  return [...unique.values()].slice(0, most);
}

/** The plan that was measured to be fastest for this class of problems, if it can run. */
export function tunedSddmmPlan(features: SddmmFeatures, device: Device): TunedSddmmPlan | undefined {
  const entry = device.autotune?.get('sddmm', sddmmProblemClass(features));
  if (entry === undefined) return undefined;
  const found = allPlans(features, device).find(({ plan }) => sddmmPlanName(plan) === entry.choice);
  return found === undefined ? undefined : { plan: found.plan, entry };
}
