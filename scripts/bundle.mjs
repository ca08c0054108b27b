// Puts the JavaScript of all entries into `dist`: a file for each, and what several need in files between them. Node takes most of an import's time for finding
// and opening files, so a hundred modules cost three times as much as ten. Nothing is minified, and the source maps lead to the sources.
import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { rolldown } from 'rolldown'

const root = new URL('../', import.meta.url)
const entries = readdirSync(new URL('src/entries/', root)).filter((name) => name.endsWith('.ts'))
const input = Object.fromEntries([
  ...entries.map((name) => [`entries/${name.slice(0, -3)}`, `src/entries/${name}`]),
  ['cli/main', 'src/cli/main.ts'],
])

const bundle = await rolldown({
  cwd: fileURLToPath(root),
  input,
  external: (id) => !/^[./]|^@oxc-project\/runtime/.test(id), // the compiler's own helpers come along
  platform: 'node',
  transform: { target: 'es2023' }, // Node 20 knows no `using`
})
await bundle.write({ dir: 'dist', format: 'esm', sourcemap: true, chunkFileNames: 'chunks/[name].js' })
await bundle.close()
