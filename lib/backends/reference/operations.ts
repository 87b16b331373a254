import type { Operations } from '../backend.js';

/** The CPU implementation of every operation: one row each. */
export const referenceOperations: Operations = {};
