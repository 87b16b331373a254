import type { View } from '../backend.js';

/** y[i, r] = sum_j x[i, c(j)] scale[g(j), r] (u[r, j] - z[g(j), r]) + bias[r], with c and g as below. */
export interface W4A16MatmulCall {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly groups: number;
  /** Stored column j belongs to group floor(j / groupSize), unless `columnGroups` says otherwise. */
  readonly groupSize: number;
  /** Parts of k that are summed apart; 0 lets the backend choose. */
  readonly splitK: number;
  /** [m, k] */
  readonly x: View;
  /** [n, ceil(k / 8)] int32: nibble i of word w is u of stored column 8 w + i, the lowest first. */
  readonly packed: View;
  /** [groups, n], dtype of x */
  readonly scales: View;
  /** [groups, n] uint8, 0 to 16 */
  readonly zeroPoints: View;
  /** [k] int32: stored column j multiplies column permutation[j] of x. Absent: the identity. */
  readonly permutation: View | undefined;
  /** [k] int32: the group of each stored column, for groups of unequal size. */
  readonly columnGroups: View | undefined;
  /** [n], dtype of x */
  readonly bias: View | undefined;
  /** [m, n], dtype of x */
  readonly y: View;
}
