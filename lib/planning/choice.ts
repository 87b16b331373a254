// What the planners of the operations share: the choice among variants, and saying why.

import { WarptileError } from '../errors.js';
import type { TunedPlan } from './tuning.js';

/** A variant with its best parameters and their expected time, or the problem that rules it out. */
export interface Candidate<Variant extends string = string> {
  readonly variant: Variant;
  readonly us?: number;
  readonly parameters?: string;
  readonly problem?: string;
}

/** A variant as a planner finds it: its best plan, or why there is none. */
export interface Found<Plan extends { readonly variant: string }> {
  readonly variant: Plan['variant'];
  readonly plan: Plan | undefined;
  /** Infinite where there is no plan. */
  readonly us: number;
  readonly problem: string | undefined;
}

export interface Choice<Plan extends { readonly variant: string }> {
  readonly plan: Plan;
  readonly candidates: readonly Candidate<Plan['variant']>[];
}

/** The plan of a variant that is expected to be fastest; none where a `problem` rules all of them out. */
export function bestOf<Plan extends { readonly variant: string }>(
  variant: Plan['variant'],
  problem: string | undefined,
  plans: Iterable<Plan>,
  time: (plan: Plan) => number,
): Found<Plan> {
  let plan: Plan | undefined;
  let us = Number.POSITIVE_INFINITY;
  if (problem === undefined) {
    for (const one of plans) {
      const expected = time(one);
      if (expected < us) [plan, us] = [one, expected];
    }
  }
  return { variant, plan, us, problem };
}

/** What was found, with its plan as `place` makes it; its time is that of the plan so placed. */
export const placedAs = <Plan extends { readonly variant: string }>(
  found: Found<Plan>,
  place: (plan: Plan) => Plan,
): Found<Plan> => (found.plan === undefined ? found : { ...found, plan: place(found.plan) });

/**
 * The plan that is expected to be fastest, or that of a `forced` variant. The first variant takes every problem.
 * @throws WarptileError ERR_UNSUPPORTED where the forced variant is impossible.
 */
export function choose<Plan extends { readonly variant: string }>(
  found: readonly Found<Plan>[],
  describe: (plan: Plan) => string,
  forced?: Plan['variant'],
): Choice<Plan> {
  let best = found[0];
  if (forced === undefined) {
    for (const item of found) if (item.plan !== undefined && item.us < best.us) best = item;
  } else {
    best = found.find(({ variant }) => variant === forced) as Found<Plan>;
  }
  const { plan, problem = 'no kernel' } = best;
  if (plan === undefined) throw new WarptileError('ERR_UNSUPPORTED', `variant: ${forced}: ${problem}`);
  return new Chosen(plan, found, describe);
}

/** A class: to make an object with a getter takes longer than to estimate thirty plans. */
class Chosen<Plan extends { readonly variant: string }> implements Choice<Plan> {
  readonly plan: Plan;
  readonly #found: readonly Found<Plan>[];
  readonly #describe: (plan: Plan) => string;

  constructor(plan: Plan, found: readonly Found<Plan>[], describe: (plan: Plan) => string) {
    this.plan = plan;
    this.#found = found;
    this.#describe = describe;
  }

  /** Described where they are asked for: products ask for the plan alone. */
  get candidates(): readonly Candidate<Plan['variant']>[] {
    return this.#found.map(({ variant, plan, us, problem = 'no kernel' }) =>
      plan === undefined ? { variant, problem } : { variant, us, parameters: this.#describe(plan) },
    );
  }
}

/** 'row-group vector 4, lanes 8, splits 4, warps 2' */
export function nameOf<Plan extends { readonly variant: string }>(
  plan: Plan,
  describe: (plan: Plan) => string,
): string {
  return `${plan.variant} ${describe(plan)}`.trim();
}

export interface Explanation<Variant extends string> {
  readonly variant: Variant;
  readonly parameters: string;
  readonly reason: string;
  readonly candidates: readonly Candidate<Variant>[];
}

/** What runs, and why: the measured choice if there is one, else the planner's. */
export function explain<Plan extends { readonly variant: string }>(
  { plan, candidates }: Choice<Plan>,
  tuned: TunedPlan<Plan> | undefined,
  describe: (plan: Plan) => string,
): Explanation<Plan['variant']> {
  if (tuned !== undefined) {
    const { us, plannedUs } = tuned.entry;
    return {
      variant: tuned.plan.variant,
      parameters: describe(tuned.plan),
      reason: `measured to take ${us.toFixed(1)} us, where ${nameOf(plan, describe)} takes ${plannedUs.toFixed(1)} us`,
      candidates,
    };
  }
  const chosen = candidates.find((candidate) => candidate.variant === plan.variant);
  const compared = candidates
    .filter((candidate) => candidate !== chosen)
    .map(({ variant, us, problem }) => `${variant}: ${problem ?? `${us?.toFixed(1)} us`}`)
    .join('; ');
  return {
    variant: plan.variant,
    parameters: describe(plan),
    reason: Number.isFinite(chosen?.us)
      ? `expected to take ${chosen?.us?.toFixed(1)} us, the least; ${compared}`
      : `the only one for this matrix; ${compared}`,
    candidates,
  };
}
