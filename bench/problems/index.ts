import type { Family } from '../problem.js';
import { attentionFamily } from './attention.js';
import { kroneckerFamily } from './kronecker.js';
import { neighborhoodFamily } from './neighborhood-attention.js';
import { sddmmFamily } from './sddmm.js';
import { sparseAttentionFamily } from './sparse-attention.js';
import { sparseSoftmaxFamily } from './sparse-softmax.js';
import { spmmFamily } from './spmm.js';
import { w4a16Family } from './w4a16.js';

/** One row an operation, in the order of the report. */
export const families: readonly Family[] = [
  spmmFamily,
  sddmmFamily,
  sparseSoftmaxFamily,
  kroneckerFamily,
  w4a16Family,
  attentionFamily,
  neighborhoodFamily,
  sparseAttentionFamily,
];
