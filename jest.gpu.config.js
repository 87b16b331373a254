import base from './jest.config.js';

/** @type {import('jest').Config} */
export default {
  ...base,
  testMatch: ['<rootDir>/test/gpu/**/*.test.ts'],
  testPathIgnorePatterns: ['/node_modules/'],
  // One process on the GPU at a time: timings hold, and a lost device is noticed where it was lost.
  maxWorkers: 1,
  testTimeout: 600_000,
};
