import type { View } from '../backend.js';

/**
 * Where the stored elements of a sparse matrix lie: compressed rows of blocks. CSR is the case of 1 x 1 blocks. Elements
 * of an edge block outside the matrix are stored, never read and written as zero.
 */
export interface SparsePattern {
  /** Rows and columns of the matrix, in elements. */
  readonly rows: number;
  readonly columns: number;
  readonly blockRows: number;
  readonly blockColumns: number;
  /** Stored blocks. */
  readonly stored: number;
  /** Most stored blocks in one row of blocks. */
  readonly longestRow: number;
  /** int32 [ceil(rows / blockRows) + 1] */
  readonly rowPointers: View;
  /** int32 [stored]: block columns, ascending within each row. */
  readonly columnIndices: View;
}
