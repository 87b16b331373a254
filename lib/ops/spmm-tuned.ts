// What the measured choices of lib/planning say of spmm.

import type { SpmmPlan } from '../backends/calls/spmm.js';
import type { Device } from '../device/device.js';
import type { AutotuneEntry } from '../planning/autotune-cache.js';
import { binPlans, binTime, groupPlans, groupTime } from './spmm-gather-plans.js';
import { panelPlans, panelTime } from './spmm-panel.js';
import { describePlan, planDevice, type SpmmFeatures, selectSpmm } from './spmm-plan.js';
import { type TileFeatures, tilePlans, tilesTime } from './spmm-tiles-plan.js';

export interface TunedPlan {
  readonly plan: SpmmPlan;
  readonly entry: AutotuneEntry;
}

/** 'row-group vector 4, lanes 8, splits 4, warps 2' */
export function planName(plan: SpmmPlan): string {
  return `${plan.variant} ${describePlan(plan)}`.trim();
}

/**
 * The class of a problem, whose members share a choice: sizes by half powers of two, but columns of B, dtype and format, which rule
 * kernels out, as they are.
 */
export function problemClass(features: SpmmFeatures): string {
  const { dtype, format, rows, columns, stored, longestRow, width, batch, tiles, bins } = features;
  const parts = [
    `${format} ${dtype} ${bucket(rows)}x${bucket(columns)}`,
    `stored ${bucket(stored)}`,
    `longest ${bucket(longestRow)}`,
    `n ${width}`,
    `batch ${bucket(batch)}`,
  ];
  if (features.batchedValues) parts.push('batched values');
  if (features.vectors) parts.push('vectors');
  if (bins !== undefined) parts.push(`bins ${bucket(bins.items)} ${bucket(bins.segments)}`);
  if (tiles !== undefined) parts.push(`tiles ${tiles.rows} ${bucket(tiles.count)}`);
  return parts.join(', ');
}

/** A size to the nearest half power of two. */
export function bucket(size: number): string {
  return size === 0 ? '0' : `2^${Math.round(2 * Math.log2(size)) / 2}`;
}

/** Every plan that could run, each with its expected microseconds. */
function allPlans(features: SpmmFeatures, device: Device): { plan: SpmmPlan; us: number }[] {
  const card = planDevice(device);
  const { candidates } = selectSpmm(features, card);
  const found: { plan: SpmmPlan; us: number }[] = [];
  for (const { variant, us = Number.POSITIVE_INFINITY, problem } of candidates) {
    if (problem !== undefined) continue;
    const { plan } = selectSpmm(features, card, variant);
    if (variant === 'row-group') {
      for (const one of groupPlans(features)) found.push({ plan: one, us: groupTime(features, card, one) });
    } else if (variant === 'row-bins') {
      for (const one of binPlans(features)) found.push({ plan: one, us: binTime(features, card, one) });
    } else if (variant === 'tiles') {
      const tiles = features.tiles as TileFeatures;
      for (const one of tilePlans(features, tiles, card)) {
        found.push({ plan: one, us: tilesTime(features, tiles, card, one) });
      }
    } else if (variant === 'panel') {
      for (const one of panelPlans(card)) found.push({ plan: one, us: panelTime(features, card, one) });
    } else {
      found.push({ plan, us });
    }
  }
  return found;
}

/** The planner's choice, then the best of each variant, then others in the order of their expected time: `most` plans. */
export function plansToMeasure(features: SpmmFeatures, device: Device, most: number): SpmmPlan[] {
  const { plan: planned } = selectSpmm(features, planDevice(device));
  const others = allPlans(features, device).sort((a, b) => a.us - b.us);
  const firsts = others.filter(
    ({ plan }, i) => others.findIndex((one) => one.plan.variant === plan.variant) === i,
  );
  const ordered = [planned, ...firsts.map(({ plan }) => plan), ...others.map(({ plan }) => plan)];
  const unique = new Map(ordered.map((plan) => [planName(plan), plan]));
  return [...unique.values()].slice(0, most);
}

/** The plan that was measured to be fastest for this class of problems, if it can run. */
export function tunedPlan(features: SpmmFeatures, device: Device): TunedPlan | undefined {
  const entry = device.autotune?.get('spmm', problemClass(features));
  if (entry === undefined) return undefined;
  const found = allPlans(features, device).find(({ plan }) => planName(plan) === entry.choice);
  return found === undefined ? undefined : { plan: found.plan, entry };
}
