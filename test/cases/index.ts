import type { OperationCase } from '../harness/case.js';
import { sddmmCases } from './sddmm.js';
import { sparseSoftmaxCases } from './sparse-softmax.js';
import { spmmCases } from './spmm.js';

/** Every case of every operation: one row each. */
export const allCases: readonly OperationCase[] = [...sddmmCases, ...sparseSoftmaxCases, ...spmmCases];
