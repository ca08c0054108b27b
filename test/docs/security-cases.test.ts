import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const CASE = /\b[CSKPFA]\d{2,3}\b/g

function texts(folder: string, ending: string): string {
  return (readdirSync(join(ROOT, folder), { recursive: true }) as string[])
    .filter((name) => name.endsWith(ending) && !name.startsWith('docs'))
    .map((name) => readFileSync(join(ROOT, folder, name), 'utf8'))
    .join('\n')
}

const rows = readFileSync(join(ROOT, 'docs/security-cases.md'), 'utf8')
  .split('\n')
  .filter((line) => /^\| [CSKPFA]\d{2}/.test(line))
const listed = new Set(rows.flatMap((line) => line.split('|')[1]?.match(CASE) ?? []))

test('docs/security-cases.md lists every case that a check is marked with', () => {
  const marks = [...texts('src', '.ts').matchAll(/\/\/.*\bcheck: (.*)$/gm)].flatMap(
    ([, cases]) => cases?.match(CASE) ?? [],
  )
  expect([...new Set(marks)].filter((one) => !listed.has(one))).toEqual([])
})

test('and nothing that no test is named after', () => {
  const named = new Set(texts('test', '.test.ts').match(CASE) ?? [])
  expect([...listed].filter((one) => !named.has(one))).toEqual([])
})
