// Measuring the likely plans of a problem, and heeding what was measured, whatever the operation.

import type { Device } from '../device/device.js';
import { WarptileError } from '../errors.js';
import { type Candidate, judge, type MeasuredCandidate, measureCandidates } from './autotune.js';
import type { AutotuneCache, AutotuneEntry } from './autotune-cache.js';

/** What measuring a problem's plans found. */
export interface Tuning {
  /** What now runs for problems of this class. */
  readonly choice: string;
  readonly us: number;
  /** What the planner chose without measurements. */
  readonly planned: string;
  readonly plannedUs: number;
  /** Every candidate in the order of its expected time: its microseconds, or why it cannot run. */
  readonly measured: readonly MeasuredCandidate[];
}

/** Most plans of a problem that are measured. */
export const mostCandidates = 8;

/** @throws WarptileError ERR_ARGUMENT on a device that was opened without `autotune`; ERR_UNSUPPORTED inside a capture. */
export function tuningCache(device: Device): AutotuneCache {
  if (device.autotune === undefined) {
    throw new WarptileError('ERR_ARGUMENT', 'autotune: expected a device opened with autotune: true');
  }
  if (device.capturing) {
    throw new WarptileError('ERR_UNSUPPORTED', 'capture: autotuning cannot be recorded; do it before');
  }
  return device.autotune;
}

/** Measures candidates of which the first is the planner's choice, and remembers the fastest for the class `problem`. */
export async function tune(
  device: Device,
  cache: AutotuneCache,
  operation: string,
  problem: string,
  candidates: readonly Candidate[],
  expectedUs: number,
): Promise<Tuning> {
  const measured = await measureCandidates(device, candidates, expectedUs);
  const { name, us, plannedUs } = judge(measured);
  const planned = candidates[0].name;
  // Once the planner is as good, an older choice gives way to it.
  if (name !== planned || cache.get(operation, problem) !== undefined) {
    const entry = { choice: name, us, plannedUs, date: new Date().toISOString() };
    await cache.remember(operation, problem, entry);
  }
  return { choice: name, us, planned, plannedUs, measured };
}

/** A plan that could run, and its expected microseconds. */
export interface Estimate<Plan> {
  readonly plan: Plan;
  readonly us: number;
}

export function estimates<Plan>(plans: Iterable<Plan>, time: (plan: Plan) => number): Estimate<Plan>[] {
  return Array.from(plans, (plan) => ({ plan, us: time(plan) }));
}

/** The planner's choice, then the best of each variant, then others in the order of their expected time: `most` plans. */
export function plansToMeasure<Plan extends { readonly variant: string }>(
  planned: Plan,
  estimates: readonly Estimate<Plan>[],
  nameOf: (plan: Plan) => string,
  most: number,
): Plan[] {
  const others = [...estimates].sort((a, b) => a.us - b.us);
  const firsts = others.filter(
    ({ plan }, i) => others.findIndex((one) => one.plan.variant === plan.variant) === i,
  );
  const ordered = [planned, ...firsts.map(({ plan }) => plan), ...others.map(({ plan }) => plan)];
  const unique = new Map(ordered.map((plan) => [nameOf(plan), plan]));
  return [...unique.values()].slice(0, most);
}

export interface TunedPlan<Plan> {
  readonly plan: Plan;
  readonly entry: AutotuneEntry;
}

/** The plan that was measured to be fastest, if it is among those that can run. */
export function recallPlan<Plan>(
  entry: AutotuneEntry | undefined,
  estimates: () => readonly Estimate<Plan>[],
  nameOf: (plan: Plan) => string,
): TunedPlan<Plan> | undefined {
  if (entry === undefined) return undefined;
  const found = estimates().find(({ plan }) => nameOf(plan) === entry.choice);
  return found === undefined ? undefined : { plan: found.plan, entry };
}

/** A size to the nearest half power of two. */
export function bucket(size: number): string {
  return size === 0 ? '0' : `2^${Math.round(2 * Math.log2(size)) / 2}`;
}
