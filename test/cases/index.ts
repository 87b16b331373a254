import type { OperationCase } from '../harness/case.js';
import { attentionCases } from './attention.js';
import { kroneckerCases } from './kronecker.js';
import { neighborhoodAttentionCases } from './neighborhood-attention.js';
import { sddmmCases } from './sddmm.js';
import { sparseAttentionCases } from './sparse-attention.js';
import { sparseSoftmaxCases } from './sparse-softmax.js';
import { spmmCases } from './spmm.js';
import { spmmLayoutCases } from './spmm-layout.js';
import { transposeCases } from './transpose.js';
import { w4a16Cases } from './w4a16.js';

/** Every case of every operation: one row each. */
export const allCases: readonly OperationCase[] = [
  attentionCases,
  kroneckerCases,
  neighborhoodAttentionCases,
  sddmmCases,
  sparseAttentionCases,
  sparseSoftmaxCases,
  spmmCases,
  spmmLayoutCases,
  transposeCases,
  w4a16Cases,
].flat();
