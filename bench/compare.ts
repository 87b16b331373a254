// A run against an earlier one on the same card.

import { readFileSync } from 'node:fs';
import { fail } from '../lib/errors.js';
import type { Timing } from './measure.js';
import type { Report, Row } from './report.js';

export interface Change {
  readonly op: string;
  readonly problem: string;
  readonly dtype: string;
  readonly column: string;
  readonly before: number;
  readonly now: number;
  /** Times that differ by less than this share are taken for the same. */
  readonly noise: number;
}

export interface Comparison {
  /** Times that both runs have. */
  readonly compared: number;
  readonly slower: readonly Change[];
  readonly faster: readonly Change[];
}

// Clocks and placement differ from run to run by this share even where each run's own spread is nil.
const leastNoise = 0.05;

/** @throws WarptileError ERR_ARGUMENT where the file is no report of `warptile bench --json`. */
export function readReport(file: string): Report {
  try {
    const report = JSON.parse(readFileSync(file, 'utf8')) as Report;
    if (Array.isArray(report.rows)) return report;
  } catch (error) {
    fail('ERR_ARGUMENT', file, 'a report of warptile bench --json', (error as Error).message);
  }
  return fail('ERR_ARGUMENT', file, 'a report of warptile bench --json', 'an object without rows');
}

/**
 * Which problems became slower or faster beyond the noise: twice the sum of both runs' distances between quartiles, and at
 * least 5 %. @throws WarptileError ERR_ARGUMENT for another card's report, or one without a problem in common.
 */
export function compareReports(before: Report, now: Report): Comparison {
  if (before.device !== now.device) fail('ERR_ARGUMENT', 'baseline', now.device, before.device);
  const known = new Map(before.rows.map((row) => [keyOf(row), row]));
  const changes: Change[] = [];
  let compared = 0;
  for (const row of now.rows) {
    const earlier = known.get(keyOf(row));
    if (earlier === undefined) continue;
    for (const [column, timing] of timesOf(row)) {
      const old = timesOf(earlier).get(column);
      if (old === undefined) continue;
      ++compared;
      const noise = Math.max(leastNoise, 2 * (old.spread + timing.spread));
      // A problem that no longer runs has no time.
      if (Math.abs(timing.us / old.us - 1) <= noise) continue;
      const { op, problem, dtype } = row;
      changes.push({ op, problem, dtype, column, before: old.us, now: timing.us, noise });
    }
  }
  if (compared === 0)
    fail('ERR_ARGUMENT', 'baseline', 'a report with a problem of this run', 'none in common');
  return {
    compared,
    slower: changes.filter((change) => !(change.now < change.before)),
    faster: changes.filter((change) => change.now < change.before),
  };
}

function keyOf({ op, problem, dtype }: Row): string {
  return JSON.stringify([op, problem, dtype]);
}

function timesOf(row: Row): ReadonlyMap<string, Timing> {
  // JSON has no NaN: a time that is missing reads null.
  const first: [string, Timing] = ['us', { us: row.us ?? Number.NaN, spread: row.spread }];
  return new Map([first, ...(Object.entries(row.columns ?? {}) as [string, Timing][])]);
}
