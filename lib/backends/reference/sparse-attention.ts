import type { SparseAttentionCall } from '../calls/sparse-attention.js';
import {
  type AttentionInputs,
  type AttentionRows,
  type AttentionScoring,
  attendRow,
  headMajor,
  newAttentionRows,
} from './attention.js';
import { type HostPattern, listRow, readPattern, rowEntries } from './sparse-pattern.js';
import { readFloats, writeFloats } from './views.js';

// Taken out of the global object once: a look-up in a loop costs more than the arithmetic in a test's sandbox.
const { floor } = Math;

export interface SparseAttentionProblem extends AttentionInputs, AttentionScoring {
  /** [seqQ, seqK] */
  readonly pattern: HostPattern;
  /** Rows to compute, as queryToken * heads + head over all batch entries; all in order where not given. */
  readonly rows?: ArrayLike<number>;
}

/** Attention over a sparse pattern, before rounding. */
export function sparseAttentionRows(problem: SparseAttentionProblem): AttentionRows {
  const { q, heads, headDim, pattern, rows } = problem;
  const count = rows === undefined ? q.length / headDim : rows.length;
  const result = newAttentionRows(count, headDim);
  const entries = rowEntries(pattern);
  const scores = new Float64Array(entries.columns.length);
  let listed = -1;
  for (let index = 0; index < count; ++index) {
    const row = rows === undefined ? index : rows[index];
    const token = floor(row / heads);
    const query = token % pattern.rows;
    if (query !== listed) listRow(pattern, query, entries);
    listed = query;
    const keyBase = floor(token / pattern.rows) * pattern.columns;
    attendRow(problem, problem, row, keyBase, entries.columns, 0, entries.count, scores, result, index);
  }
  return result;
}

export function runSparseAttention(call: SparseAttentionCall): void {
  const { heads, kvHeads, headDim, scale, softcap, logSumExp } = call;
  const pattern = readPattern(call.pattern);
  const [q, k, v] = [readFloats(call.q), readFloats(call.k), readFloats(call.v)];
  const result = sparseAttentionRows({ q, k, v, pattern, heads, kvHeads, headDim, scale, softcap });
  writeFloats(call.out, result.out);
  if (logSumExp !== undefined) writeFloats(logSumExp, headMajor(result.logSumExp, pattern.rows, heads));
}
