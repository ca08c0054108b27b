// What an import of each entry costs a program that starts: fresh processes, less the start of one that imports nothing.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const STARTS = 15
const root = new URL('..', import.meta.url)

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1]

function start(url, env = process.env) {
  const args = ['--input-type=module', '-e', url === undefined ? '' : `import ${JSON.stringify(url)}`]
  const started = process.hrtime.bigint()
  execFileSync(process.execPath, args, { env, stdio: ['ignore', 'ignore', 'pipe'] })
  return Number(process.hrtime.bigint() - started) / 1e6
}

/** The files that an import loads, as V8's coverage names them, or the package that is missing. */
function filesOf(url) {
  const folder = mkdtempSync(join(tmpdir(), 'spnego-import-'))
  try {
    start(url, { ...process.env, NODE_V8_COVERAGE: folder })
    const scripts = readdirSync(folder).flatMap((name) => JSON.parse(readFileSync(join(folder, name), 'utf8')).result)
    const files = new Set(scripts.map((script) => script.url).filter((one) => /^file:.*\.[cm]?js$/.test(one)))
    return { files: files.size, bytes: [...files].reduce((sum, one) => sum + statSync(fileURLToPath(one)).size, 0) }
  } catch (error) {
    const missing = /Cannot find package '([^']+)'/.exec(String(error.stderr))?.[1]
    if (missing === undefined) throw error
    return { missing }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

export function importTimes() {
  const { exports } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8'))
  const entries = Object.entries(exports)
    .filter(([, target]) => typeof target === 'object')
    .map(([name, target]) => {
      const url = new URL(target.default, root).href
      return { name: name.replace('.', 'spnego'), url, ...filesOf(url), ms: [] }
    })
  const present = entries.filter(({ missing }) => missing === undefined)
  const empty = []
  for (let i = 0; i < STARTS; i++) {
    empty.push(start(undefined))
    for (const { url, ms } of present) ms.push(start(url))
  }
  const base = median(empty)
  console.log(`import     a program that imports nothing starts in ${base.toFixed(0)} ms (median of ${STARTS})`)
  for (const { name, files, bytes, ms, missing } of entries) {
    const cost = () =>
      `${(median(ms) - base).toFixed(0)} ms (${(Math.min(...ms) - base).toFixed(0)}–${(Math.max(...ms) - base).toFixed(0)}), ${files} files, ${(bytes / 1024).toFixed(0)} KiB`
    console.log(`import     ${name.padEnd(16)} ${missing === undefined ? cost() : `skipped: no ${missing} here`}`)
  }
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) importTimes()
