import type { SparsePattern } from '../calls/sparse-pattern.js';
import type { CommandWriter } from './command-writer.js';

/** Read back by `read_pattern` of cuda/addon/sparse_pattern.h. */
export function writePattern(command: CommandWriter, pattern: SparsePattern): CommandWriter {
  return command
    .number(pattern.rows)
    .number(pattern.columns)
    .number(pattern.blockRows)
    .number(pattern.blockColumns)
    .number(pattern.stored)
    .number(pattern.longestRow)
    .view(pattern.rowPointers)
    .view(pattern.columnIndices);
}
