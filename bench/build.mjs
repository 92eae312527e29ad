// Bundles the benchmarks into dist-bench. One scope instead of three hundred modules: an imported constant or function
// costs V8 a load and a check on every use (it is a live binding), which the walk pays with a third of its speed;
// minifySyntax and the plugin put the numbers of constants in their places. The published bundle is built likewise.
import { rmSync } from 'node:fs'
import { build } from 'esbuild'
import { constants } from '../esbuild.constants.mjs'

rmSync('dist-bench', { recursive: true, force: true })
await build({
  entryPoints: ['bench/main.ts'],
  outdir: 'dist-bench',
  bundle: true,
  splitting: true,
  minifySyntax: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  packages: 'external',
  plugins: [constants(/\/(src|bench)\/.*\.ts$/)],
  logLevel: 'warning',
})
