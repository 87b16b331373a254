import type { Device } from '../lib/device/device.js';
import { checkProblem } from './check.js';
import { type Effort, measure } from './measure.js';
import type { BoundProblem } from './problem.js';

export interface PeerTimes {
  /** Microseconds of each library's fastest peer. */
  readonly times: { readonly [library: string]: number };
  /** Which peer of the library that is. */
  readonly variants: { readonly [library: string]: string };
  /** One line for each peer that was left out. */
  readonly problems: readonly string[];
}

export const noPeers: PeerTimes = { times: {}, variants: {}, problems: [] };

/** Checks and measures the peers of a problem by the same rules as our own operation. */
export async function measurePeers(device: Device, bound: BoundProblem, effort: Effort): Promise<PeerTimes> {
  const times: { [library: string]: number } = {};
  const variants: { [library: string]: string } = {};
  const problems: string[] = [];
  const absent: { library: string; problem: string }[] = [];
  for (const peer of bound.peers?.() ?? []) {
    const [library, ...variant] = peer.name.split(' ');
    if ('problem' in peer) {
      absent.push({ library, problem: `${peer.name}: ${peer.problem}` });
      continue;
    }
    try {
      const run = (): void => peer.run();
      const { pass } = await checkProblem({ ...bound, run }, peer.name, 4);
      if (!pass) {
        problems.push(`${peer.name}: its result is wrong`);
        continue;
      }
      const { us } = await measure(device, run, effort);
      if (us >= (times[library] ?? Number.POSITIVE_INFINITY)) continue;
      times[library] = us;
      variants[library] = variant.join(' ');
    } catch (error) {
      if ((error as { code?: string }).code === 'ERR_DEVICE_LOST') throw error;
      problems.push(`${peer.name}: ${error instanceof Error ? error.message : error}`);
    } finally {
      peer.dispose();
    }
  }
  // That one algorithm of a library does not take a problem matters only where none does.
  const missed = absent.filter(({ library }) => !Object.hasOwn(times, library));
  return { times, variants, problems: [...problems, ...missed.map(({ problem }) => problem)] };
}
