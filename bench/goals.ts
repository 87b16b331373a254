// What the sparse products should reach over cuSPARSE, by operation and kind of matrix, and how a run stands to it.

import type { FloatDType } from '../lib/tensor/dtype.js';
import type { Row } from './report.js';
import { type Column, columns } from './timings.js';

/** Peers' library that the goals speak of. */
export const goalLibrary = 'cusparse';

// Geometric means for half types and for float32.
const goals: { readonly [operation: string]: { readonly [group: string]: readonly [number, number] } } = {
  spmm: {
    'n < 32': [1.3, 1.2],
    dlmc: [2.5, 1.8],
    uniform: [4, 2.5],
    graph: [1.8, 1.3],
    fem: [3, 2],
  },
  sddmm: { dlmc: [2, 1.5], uniform: [3, 2], graph: [3, 2], fem: [3, 2] },
};

const fewColumns = 32;

export interface GroupSummary {
  readonly op: string;
  readonly group: string;
  readonly dtype: FloatDType;
  readonly column: Column;
  readonly problems: number;
  /** Geometric mean of cuSPARSE's time over ours. */
  readonly geomean: number;
  readonly worst: number;
  readonly worstProblem: string;
  /** Problems on which cuSPARSE is faster. */
  readonly losses: number;
  /** The geometric mean wanted; null where there is no goal. The worst ratio wanted is 1 everywhere. */
  readonly goal: number | null;
}

/** A problem on which a library is faster. */
export interface Loss {
  readonly op: string;
  readonly problem: string;
  readonly dtype: FloatDType;
  readonly column: Column;
  readonly library: string;
  readonly ratio: number;
}

function groupOf({ op, group, n }: Row): string {
  if (op === 'spmm' && n < fewColumns) return `n < ${fewColumns}`;
  return group ?? 'other';
}

/** A library's time over ours in a column; undefined where one of them is missing. */
export function ratioOf(row: Row, library: string, column: Column): number | undefined {
  // The first column's times stand in the row itself.
  const extra = row.columns?.[column];
  const [ours, theirs] =
    column === (row.column ?? 'warm') ? [row.us, row.peers[library]] : [extra?.us, extra?.peers[library]];
  return ours === undefined || theirs === undefined ? undefined : theirs / ours;
}

/** One line for each operation, group of problems, dtype and column that cuSPARSE was compared in. */
export function summaries(rows: readonly Row[]): GroupSummary[] {
  const groups = new Map<string, { rows: { row: Row; ratio: number }[]; column: Column }>();
  for (const row of rows) {
    for (const column of columns) {
      const ratio = ratioOf(row, goalLibrary, column);
      if (ratio === undefined || !Number.isFinite(ratio)) continue;
      const key = JSON.stringify([row.op, groupOf(row), row.dtype, column]);
      const known = groups.get(key) ?? { rows: [], column };
      known.rows.push({ row, ratio });
      groups.set(key, known);
    }
  }
  return [...groups.values()].map(({ rows: members, column }) => {
    const [{ row }] = members;
    const worst = members.reduce((least, member) => (member.ratio < least.ratio ? member : least));
    const logarithms = members.reduce((sum, { ratio }) => sum + Math.log(ratio), 0);
    const [half, single] = goals[row.op]?.[groupOf(row)] ?? [null, null];
    return {
      op: row.op,
      group: groupOf(row),
      dtype: row.dtype,
      column,
      problems: members.length,
      geomean: Math.exp(logarithms / members.length),
      worst: worst.ratio,
      worstProblem: worst.row.problem,
      losses: members.filter(({ ratio }) => ratio < 1).length,
      goal: row.dtype === 'float32' ? single : half,
    };
  });
}

/** Every problem and column in which a library is faster than we are, the worst first. */
export function losses(rows: readonly Row[]): Loss[] {
  const found: Loss[] = [];
  for (const row of rows) {
    const { op, problem, dtype } = row;
    for (const library of Object.keys(row.peers)) {
      for (const column of columns) {
        const ratio = ratioOf(row, library, column);
        if (ratio !== undefined && ratio < 1) found.push({ op, problem, dtype, column, library, ratio });
      }
    }
  }
  return found.sort((a, b) => a.ratio - b.ratio);
}
