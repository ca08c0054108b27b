// Proves that every check that refuses something is guarded by a test of its case.
//
// A line that ends in `// check: S20 S21` (or that follows such a comment) is taken out, alone, in a copy of the tree; then the tests whose names
// have one of these numbers run.
// At least one of them must fail. `npm run break -- S20` tries that case only.
import { execFile } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const WORKERS = 2
const MARK = /\/\/.*\bcheck: ([A-Z]\d+[a-z]?(?: [A-Z]\d+[a-z]?)*)(?= |$)/
const wanted = process.argv.slice(2)

const filesBelow = (folder) =>
  readdirSync(join(root, folder), { recursive: true })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(folder, name))

const marks = filesBelow('src').flatMap((file) =>
  readFileSync(join(root, file), 'utf8')
    .split('\n')
    .flatMap((text, i) => {
      const cases = MARK.exec(text)?.[1]?.split(' ')
      const line = /^\s*\/\//.test(text) ? i + 2 : i + 1
      if (cases === undefined && text.includes('// check:')) throw new Error(`${file}:${i + 1} names no case`)
      return cases === undefined ? [] : [{ file, line, cases }]
    }),
)
const tests = filesBelow('test')
  .filter((file) => file.endsWith('.test.ts') && !file.startsWith(join('test', 'interop')))
  .map((file) => ({ file, text: readFileSync(join(root, file), 'utf8') }))

const queue = marks.filter(({ cases }) => wanted.length === 0 || cases.some((one) => wanted.includes(one)))
const failures = []
const green = new Map()
let proved = 0

const results = await Promise.allSettled(Array.from({ length: WORKERS }, work))
for (const { reason } of results) if (reason !== undefined) throw reason
console.log(`${proved} checks proved, ${failures.length} not`)
for (const text of failures) console.log(`  ${text}`)
process.exitCode = failures.length === 0 && proved > 0 ? 0 : 1

async function work() {
  const copy = mkdtempSync(join(tmpdir(), 'spnego-break-'))
  try {
    for (const name of [
      'src',
      'test',
      'docs',
      'package.json',
      'vitest.config.ts',
      'tsconfig.json',
      'tsconfig.build.json',
    ]) {
      cpSync(join(root, name), join(copy, name), { recursive: true })
    }
    symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'))
    for (let mark = queue.shift(); mark !== undefined; mark = queue.shift()) await takeOut(copy, mark)
  } finally {
    rmSync(copy, { recursive: true, force: true })
  }
}

async function takeOut(copy, { file, line, cases }) {
  const where = `${file}:${line} (${cases.join(' ')})`
  const path = join(copy, file)
  const whole = readFileSync(path, 'utf8')
  const lines = whole.split('\n')
  lines[line - 1] = '// taken out'
  const named = new RegExp(`\\b(${cases.join('|')})\\b`)
  const chosen = tests.filter(({ text }) => named.test(text)).map(({ file: name }) => name)
  if (chosen.length === 0) return failures.push(`${where}: no test is named after it`)
  const pattern = `(^|[^A-Z0-9])(${cases.join('|')})([^0-9a-z]|$)`
  if (!(await isGreen(copy, chosen, pattern))) return failures.push(`${where}: the tests fail with it, too`)
  writeFileSync(path, lines.join('\n'))
  try {
    const failed = await failedTests(copy, chosen, pattern)
    if (failed > 0) proved++
    else failures.push(`${where}: the tests stay green without it`)
    console.log(`${failed > 0 ? 'ok  ' : 'FAIL'} ${where}`)
  } finally {
    writeFileSync(path, whole)
  }
}

/** Whether the tests pass while nothing is taken out: what fails anyhow proves nothing. */
function isGreen(copy, files, pattern) {
  const key = `${pattern} ${files}`
  if (!green.has(key))
    green.set(
      key,
      failedTests(copy, files, pattern).then((failed) => failed === 0),
    )
  return green.get(key)
}

/** How many tests of that name failed; a file that does not even load counts for nothing. */
function failedTests(copy, files, pattern) {
  const report = join(copy, 'report.json')
  const args = [
    'run',
    '--project',
    'unit',
    '--bail=1',
    '--reporter=json',
    `--outputFile=${report}`,
    '-t',
    pattern,
    ...files,
  ]
  rmSync(report, { force: true })
  return new Promise((resolve, reject) => {
    execFile(
      join(copy, 'node_modules/.bin/vitest'),
      args,
      { cwd: copy, timeout: 120_000, maxBuffer: 2 ** 26 },
      (error) => {
        try {
          const { testResults } = JSON.parse(readFileSync(report, 'utf8'))
          resolve(testResults.flatMap((one) => one.assertionResults).filter(({ status }) => status === 'failed').length)
        } catch {
          reject(new Error(`vitest gave no report for ${relative(copy, files[0])}: ${error?.message}`))
        }
      },
    )
  })
}
