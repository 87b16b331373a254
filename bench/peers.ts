import type { AbsentPeer, PreparedPeer } from '../lib/backends/backend.js';
import type { Device } from '../lib/device/device.js';
import { checkProblem } from './check.js';
import type { Effort } from './measure.js';
import type { BoundProblem } from './problem.js';
import { type Column, measureColumns, type Times } from './timings.js';

/** One routine of a library on one problem. */
export interface PeerRun {
  /** 'cusparse CSR_ALG2' */
  readonly name: string;
  /** Microseconds, where it was the first thing measured of it: enough to choose the fastest by. */
  readonly us: number;
  /** Its largest error over the bound of float32 sums: above 1 it sums in something coarser, and is counted all the same. */
  readonly error: number;
}

export interface PeerTimes {
  /** Of each library's fastest peer. */
  readonly times: { readonly [library: string]: Times };
  /** Which peer of the library that is. */
  readonly variants: { readonly [library: string]: string };
  /** Every peer whose result is right. */
  readonly runs: readonly PeerRun[];
  /** One line for each peer that was left out. */
  readonly problems: readonly string[];
}

export const noPeers: PeerTimes = { times: {}, variants: {}, runs: [], problems: [] };

/** How sure one must be that a peer is not the fastest to leave its full measurement out. */
const margin = 1.1;

/**
 * Checks and measures the peers of a problem by the same rules as our own operation, with one allowance: sums may be
 * kept in the output's dtype. Every peer of the libraries named is timed once; those within a tenth of a library's fastest are
 * measured as we are, and the fastest counts in every column by itself.
 */
export async function measurePeers(
  device: Device,
  bound: BoundProblem,
  effort: Effort,
  columns: readonly Column[],
  libraries?: readonly string[],
): Promise<PeerTimes> {
  const ready: { peer: PreparedPeer; run: PeerRun }[] = [];
  const problems: string[] = [];
  const absent: AbsentPeer[] = [];
  const all = bound.peers?.() ?? [];
  const disposable = all.filter((peer): peer is PreparedPeer => !('problem' in peer));
  try {
    const screening = { samples: 3, budgetMs: effort.budgetMs / 3 };
    for (const peer of all) {
      if (libraries !== undefined && !libraries.includes(libraryOf(peer.name))) continue;
      if ('problem' in peer) {
        absent.push(peer);
        continue;
      }
      try {
        const { pass, coarse, error, failure } = await checkProblem(
          { ...bound, run: () => peer.run() },
          peer.name,
          4,
        );
        if (!pass && coarse !== true) {
          problems.push(`${peer.name}: its result is wrong (${failure})`);
          continue;
        }
        const { warm } = await measureColumns(device, () => peer.run(), screening, ['warm']);
        ready.push({ peer, run: { name: peer.name, us: warm?.us ?? Number.NaN, error } });
      } catch (error) {
        problems.push(describe(peer.name, error));
      }
    }
    const times: { [library: string]: Times } = {};
    const variants: { [library: string]: string } = {};
    for (const library of new Set(ready.map(({ run }) => libraryOf(run.name)))) {
      const own = ready.filter(({ run }) => libraryOf(run.name) === library);
      const fastest = Math.min(...own.map(({ run }) => run.us));
      for (const { peer, run } of own) {
        if (run.us > margin * fastest) continue;
        const measured = await measureColumns(device, () => peer.run(), effort, columns);
        if (
          (measured[columns[0]]?.us ?? 0) < (times[library]?.[columns[0]]?.us ?? Number.POSITIVE_INFINITY)
        ) {
          variants[library] = run.name.slice(library.length + 1);
        }
        times[library] = fastestOf(times[library], measured);
      }
    }
    // That one algorithm of a library does not take a problem matters only where none does.
    const missed = absent.filter(({ name }) => !Object.hasOwn(times, libraryOf(name)));
    return {
      times,
      variants,
      runs: ready.map(({ run }) => run),
      problems: [...problems, ...missed.map(({ name, problem }) => `${name}: ${problem}`)],
    };
  } finally {
    for (const peer of disposable) peer.dispose();
  }
}

export function libraryOf(peer: string): string {
  return peer.split(' ', 1)[0];
}

/** Column by column. */
function fastestOf(before: Times | undefined, now: Times): Times {
  if (before === undefined) return now;
  const merged: { [column in Column]?: NonNullable<Times[Column]> } = { ...now };
  for (const [column, timing] of Object.entries(before) as [Column, NonNullable<Times[Column]>][]) {
    if (timing.us < (merged[column]?.us ?? Number.POSITIVE_INFINITY)) merged[column] = timing;
  }
  return merged;
}

function describe(name: string, error: unknown): string {
  if ((error as { code?: string }).code === 'ERR_DEVICE_LOST') throw error;
  return `${name}: ${error instanceof Error ? error.message : error}`;
}
