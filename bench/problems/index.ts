import type { Family } from '../problem.js';

/** One row an operation, in the order of the report. */
export const families: readonly Family[] = [];
