import { defineConfig, type ViteUserConfig } from 'vitest/config'

const config: ViteUserConfig = defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/interop/**', 'test/matrix/**'],
          testTimeout: 20_000,
        },
      },
      {
        // What test/matrix/run.sh runs on each runtime.
        test: {
          name: 'matrix',
          include: ['test/matrix/*.test.ts', 'test/unit/adapters-client/*.test.ts', 'test/unit/http-client/*.test.ts'],
          testTimeout: 20_000,
        },
      },
      {
        test: {
          name: 'interop',
          include: ['test/interop/**/*.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
    ],
  },
})

export default config
