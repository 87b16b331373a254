/** @type {import('jest').Config} */
export default {
  testEnvironment: 'node',
  testMatch: ['<rootDir>/test/**/*.test.ts'],
  testPathIgnorePatterns: ['/node_modules/', '<rootDir>/test/gpu/'],
  extensionsToTreatAsEsm: [],
  // Tests run in a vm, where a global costs an interceptor call at every use: far more than a multiply and an add.
  sandboxInjectedGlobals: ['Math', 'Number'],
  moduleFileExtensions: ['ts', 'cts', 'js', 'cjs', 'json', 'node'],
  moduleNameMapper: { '^(\\.{1,2}/.*)\\.c?js$': '$1' },
  transform: {
    '^.+\\.c?ts$': [
      '@swc/jest',
      { jsc: { parser: { syntax: 'typescript' }, target: 'es2022' }, module: { type: 'commonjs' } },
    ],
  },
};
