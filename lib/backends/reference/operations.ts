import type { Operations } from '../backend.js';
import { runSddmm } from './sddmm.js';
import { runSparseSoftmax } from './sparse-softmax.js';
import { runSpmm } from './spmm.js';

/** The CPU implementation of every operation: one row each. */
export const referenceOperations: Operations = {
  sddmm: runSddmm,
  sparseSoftmax: runSparseSoftmax,
  spmm: runSpmm,
};
