// What the measured choices of lib/planning say of spmm.

import type { SpmmPlan } from '../backends/calls/spmm.js';
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
import { binPlans, binTime, groupPlans, groupTime } from './spmm-gather-plans.js';
import { memoryTimes } from './spmm-memory.js';
import { panelPlans, panelTime } from './spmm-panel.js';
import {
  describePlan,
  paddedSpmm,
  placed,
  type SpmmFeatures,
  selectSpmm,
  spmmVariantsFor,
} from './spmm-plan.js';
import { streamPlans, streamTime } from './spmm-stream.js';
import { type StripFeatures, stripPlans, stripsTime } from './spmm-strips.js';
import { type TileFeatures, tilePlans, tilesTime } from './spmm-tiles-plan.js';

export const spmmPlanName = (plan: SpmmPlan): string => nameOf(plan, describePlan);

/**
 * The class of a problem, whose members share a choice: sizes by half powers of two, but columns of B, dtype and format, which rule
 * kernels out, as they are.
 */
export function spmmProblemClass(features: SpmmFeatures): string {
  const { dtype, format, rows, columns, stored, longestRow, width, batch, tiles, strips, bins } = features;
  const parts = [
    `${format} ${dtype} ${bucket(rows)}x${bucket(columns)}`,
    `stored ${bucket(stored)}`,
    `longest ${bucket(longestRow)}`,
    `n ${width}`,
    `batch ${bucket(batch)}`,
  ];
  if (features.batchedValues) parts.push('batched values');
  if (features.vectors) parts.push('vectors');
  else if (features.pairs) parts.push('pairs');
  if (bins !== undefined) parts.push(`bins ${bucket(bins.items)} ${bucket(bins.segments)}`);
  if (tiles !== undefined) parts.push(`tiles ${tiles.rows} ${bucket(tiles.count)}`);
  if (strips !== undefined) parts.push(`strips ${strips.rows} ${bucket(strips.count)}`);
  return parts.join(', ');
}

/** Every plan that could run, each with its expected microseconds. */
function allPlans(features: SpmmFeatures, device: Device): readonly Estimate<SpmmPlan>[] {
  const card = planDevice(device);
  return plansWithPadding(features, paddedSpmm(features), (problem) => plansFor(problem, card));
}

/** Those for operands as they are. */
function plansFor(features: SpmmFeatures, card: PlanDevice): Estimate<SpmmPlan>[] {
  const memory = memoryTimes(features);
  const tiles = features.tiles as TileFeatures;
  const strips = features.strips as StripFeatures;
  return spmmVariantsFor(features, card).flatMap(({ variant, plan, us }) => {
    if (plan === undefined) return [];
    switch (variant) {
      case 'row-group':
        return estimates(
          groupPlans(features).map((one) => placed(features, card, one, memory)),
          (one) => groupTime(features, card, one, memory),
        );
      case 'row-bins':
        return estimates(binPlans(features), (one) => binTime(features, card, one, memory));
      case 'stream':
        return estimates(
          streamPlans(features).map((one) => placed(features, card, one, memory)),
          (one) => streamTime(features, one, memory),
        );
      case 'panel':
        return estimates(panelPlans(card), (one) => panelTime(features, card, one));
      case 'tiles':
        return estimates(tilePlans(features, tiles, card), (one) => tilesTime(features, tiles, card, one));
      case 'strips':
        return estimates(stripPlans(features, strips.rows), (one) => stripsTime(features, strips, card, one));
      default:
        return [{ plan, us }];
    }
  });
}

/** As `plansToMeasure`, of all plans that could run. */
export function spmmPlansToMeasure(features: SpmmFeatures, device: Device, most: number): SpmmPlan[] {
  const { plan } = selectSpmm(features, planDevice(device));
  return plansToMeasure(plan, allPlans(features, device), spmmPlanName, most);
}

/** The plan that was measured to be fastest for this class of problems, if it can run. */
export function tunedSpmmPlan(features: SpmmFeatures, device: Device): TunedPlan<SpmmPlan> | undefined {
  const entry = device.autotune?.get('spmm', spmmProblemClass(features));
  return recallPlan(entry, () => allPlans(features, device), spmmPlanName);
}
