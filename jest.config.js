/** @type {import('jest').Config} */
export default {
  testEnvironment: 'node',
  testMatch: ['<rootDir>/test/**/*.test.ts'],
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      { jsc: { parser: { syntax: 'typescript' }, target: 'es2023' }, module: { type: 'es6' } },
    ],
  },
  // cases recorded by other projects are checked where they are at hand: PODWALK_CASES names their folder
  testPathIgnorePatterns: ['/node_modules/', ...(process.env.PODWALK_CASES ? [] : ['recorded-cases'])],
  modulePathIgnorePatterns: ['<rootDir>/dist/'],
}
