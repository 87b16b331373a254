import type { OperationCase } from '../harness/case.js';

/** Every case of every operation: one row each. */
export const allCases: readonly OperationCase[] = [];
