// Which of a few candidates is fastest on this device, measured.

import type { Device } from '../device/device.js';
import type { Graph } from '../device/graph.js';
import { WarptileError } from '../errors.js';

export interface Candidate {
  readonly name: string;
  /** Enqueues it once. */
  readonly run: () => void;
}

export interface MeasuredCandidate {
  readonly name: string;
  /** Median microseconds of a call; undefined where it cannot run. */
  readonly us?: number;
  readonly problem?: string;
}

/** What replaces the planner's choice must be faster by more than this: less is within what two measurements differ by. */
export const worthwhileGain = 0.03;

const mostCallsInGraph = 20;
// A sample shorter than this is as much clock as kernel.
const sampleUs = 500;
const fewestRounds = 5;
const mostRounds = 25;
const budgetMs = 100;

/**
 * Device time of each candidate: replays of a graph of several calls, in turns, so that a change of the clock meets all. Records all
 * before it first waits: what the graphs use stays, whatever the caller disposes meanwhile.
 * @param expectedUs About what a call takes.
 * @throws WarptileError what the first candidate throws; ERR_UNSUPPORTED inside a capture.
 */
export async function measureCandidates(
  device: Device,
  candidates: readonly Candidate[],
  expectedUs: number,
): Promise<readonly MeasuredCandidate[]> {
  if (device.capturing) {
    throw new WarptileError('ERR_UNSUPPORTED', 'capture: measuring cannot be recorded; do it before');
  }
  const calls = Math.max(1, Math.min(mostCallsInGraph, Math.round(sampleUs / Math.max(1, expectedUs))));
  const entrants = candidates.map(({ name, run }, index) => record(device, name, run, calls, index > 0));
  try {
    for (const { graph } of entrants) if (graph !== undefined) await device.time(() => graph.replay());
    const deadline = performance.now() + budgetMs * candidates.length;
    for (let round = 0; round < mostRounds; ++round) {
      if (round >= fewestRounds && performance.now() > deadline) break;
      for (const { graph, samples } of entrants) {
        if (graph === undefined) continue;
        samples.push((1000 * (await device.time(() => graph.replay()))) / calls);
      }
    }
  } finally {
    for (const { graph } of entrants) graph?.dispose();
  }
  return entrants.map(({ name, problem, samples }) =>
    problem === undefined ? { name, us: median(samples) } : { name, problem },
  );
}

interface Entrant {
  readonly name: string;
  readonly graph?: Graph;
  readonly problem?: string;
  readonly samples: number[];
}

function record(device: Device, name: string, run: () => void, calls: number, mayFail: boolean): Entrant {
  try {
    const graph = device.capture(() => {
      for (let call = 0; call < calls; ++call) run();
    });
    return { name, graph, samples: [] };
  } catch (error) {
    if (!mayFail || !(error instanceof WarptileError) || error.code === 'ERR_DEVICE_LOST') throw error;
    return { name, problem: error.message, samples: [] };
  }
}

function median(samples: readonly number[]): number {
  return [...samples].sort((a, b) => a - b)[Math.floor(samples.length / 2)];
}

export interface Verdict {
  /** The fastest, if it beats the first by more than `worthwhileGain`; else the first. */
  readonly name: string;
  readonly us: number;
  /** Of the first, which the planner chose. */
  readonly plannedUs: number;
}

/** Judges measurements of which the first is the planner's choice. */
export function judge(measured: readonly MeasuredCandidate[]): Verdict {
  const planned = { name: measured[0].name, us: measured[0].us ?? Number.POSITIVE_INFINITY };
  let best = planned;
  for (const { name, us } of measured) if (us !== undefined && us < best.us) best = { name, us };
  const { name, us } = best.us < planned.us * (1 - worthwhileGain) ? best : planned;
  return { name, us, plannedUs: planned.us };
}
