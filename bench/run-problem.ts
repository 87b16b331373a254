import type { Device } from '../lib/device/device.js';
import { checkProblem } from './check.js';
import { measureEnergy } from './energy.js';
import type { Effort } from './measure.js';
import { measurePeers, noPeers, type PeerTimes } from './peers.js';
import type { BoundProblem, Problem } from './problem.js';
import type { ColumnTimes, Row } from './report.js';
import { type Ceilings, shareOfRoof } from './roofline.js';
import { type Column, measureColumns, type Times } from './timings.js';
import type { TorchPeer } from './torch.js';

/** How a problem is measured. */
export interface Plan {
  readonly effort: Effort;
  /** The first one is what ratios are of. */
  readonly columns: readonly Column[];
  /** Libraries to compare with; absent for all that there are. */
  readonly peers?: readonly string[];
  readonly energy: boolean;
  /** Problems that can are tuned before they are measured. */
  readonly tune: boolean;
  /** PyTorch's process; absent to do without. */
  readonly torch?: TorchPeer;
}

/** Checks and measures one problem and its peers. What goes wrong is in the row; only a lost device throws. */
export async function runProblem(
  device: Device,
  problem: Problem,
  plan: Plan,
  ceilings: Ceilings,
): Promise<Row> {
  const { operation: op, name, dtype, n, group, density, work } = problem;
  const base = {
    op,
    problem: name,
    dtype,
    n,
    device: device.id,
    ...(group === undefined ? {} : { group }),
    ...(density === undefined ? {} : { density }),
    ...work,
  };
  let bound: BoundProblem | undefined;
  try {
    bound = problem.bind(device);
    if (plan.tune) await bound.tune?.();
    const check = await checkProblem(bound, `${op} ${name} ${dtype}`, device.kind === 'cpu' ? 8 : 16);
    const { run } = bound;
    const { effort, columns } = plan;
    const times = await measureColumns(device, run, effort, columns);
    const [first] = Object.keys(times) as Column[];
    const { us, spread } = times[first] ?? { us: Number.NaN, spread: 0 };
    const wanted = plan.peers?.filter((name) => name !== 'torch');
    const libraries =
      wanted?.length === 0 ? noPeers : await measurePeers(device, bound, effort, columns, wanted);
    const compared =
      plan.torch === undefined || problem.torch === undefined
        ? libraries
        : joined(libraries, await plan.torch.measure(op, dtype, problem.torch, columns, effort));
    const peers = Object.fromEntries(
      Object.entries(compared.times).map(([library, timing]) => [library, timing[first]?.us ?? Number.NaN]),
    );
    const best = Math.min(...Object.values(peers));
    const joules = plan.energy ? await measureEnergy(device, run, us) : undefined;
    return {
      ...base,
      variant: bound.variant ?? (device.kind === 'cpu' ? 'reference' : 'default'),
      ...bound.preparation,
      us,
      spread,
      ...(first === 'warm' ? {} : { column: first }),
      ...more(times, compared.times, first),
      peers,
      peerVariants: compared.variants,
      ...(compared.runs.length === 0 ? {} : { peerRuns: compared.runs }),
      ratio: Number.isFinite(best) ? best / us : null,
      roof: shareOfRoof(work, dtype, us, ceilings),
      error: check.error,
      nmse: check.nmse,
      ...(joules === undefined ? {} : { joules }),
      pass: check.pass,
      ...(compared.problems.length === 0 ? {} : { peerProblems: compared.problems }),
      ...(check.failure === undefined ? {} : { note: check.failure }),
    };
  } catch (error) {
    // A lost device fails every later problem too; anything else is this problem's own failure.
    if ((error as { code?: string }).code === 'ERR_DEVICE_LOST') throw error;
    const note = error instanceof Error ? error.message : String(error);
    const nothing = {
      us: Number.NaN,
      spread: 0,
      peers: {},
      peerVariants: {},
      ratio: null,
      roof: null,
      error: null,
      nmse: null,
    };
    return { ...base, variant: '-', ...nothing, pass: false, note };
  } finally {
    bound?.dispose();
  }
}

function joined(a: PeerTimes, b: PeerTimes): PeerTimes {
  return {
    times: { ...a.times, ...b.times },
    variants: { ...a.variants, ...b.variants },
    runs: [...a.runs, ...b.runs],
    problems: [...a.problems, ...b.problems],
  };
}

/** The columns beside the first, ours and the peers'. */
function more(times: Times, peers: { readonly [library: string]: Times }, first: Column): Partial<Row> {
  const columns: { [C in Column]?: ColumnTimes } = {};
  for (const column of Object.keys(times) as Column[]) {
    const timing = times[column];
    if (column === first || timing === undefined) continue;
    const peerUs: { [library: string]: number } = {};
    for (const [library, timings] of Object.entries(peers)) {
      if (timings[column] !== undefined) peerUs[library] = timings[column].us;
    }
    columns[column] = { ...timing, peers: peerUs };
  }
  return Object.keys(columns).length === 0 ? {} : { columns };
}
