import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { FRAMEWORKS } from '../unit/adapters/frameworks.ts'

/**
 * Holds the rows by which the suite of the adapters runs and the documentation together. `UPDATE_DOCS=1 npx vitest run --project unit test/docs`
 * writes the table anew; the rest of the page is written by hand.
 */

const PAGE = fileURLToPath(new URL('../../docs/servers.md', import.meta.url))
const TABLE = /(<!-- frameworks -->\n)[\s\S]*?(\n<!-- \/frameworks -->)/

function table(): string {
  const rows = FRAMEWORKS.map(({ name, multiLeg, ownPage, seesErrors }) => {
    const cells = [multiLeg, ownPage, seesErrors].map((has) => (has ? 'yes' : 'no'))
    return `| ${[name, ...cells].join(' | ')} |`
  })
  return `| framework | several tokens | pages | token on what a handler throws |\n| --- | --- | --- | --- |\n${rows.join('\n')}`
}

test('the table of docs/servers.md is that of the adapters', () => {
  const page = readFileSync(PAGE, 'utf8')
  const wanted = page.replace(TABLE, (_, start: string, end: string) => `${start}${table()}${end}`)
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(PAGE, wanted)
  expect(readFileSync(PAGE, 'utf8')).toBe(wanted)
  expect(page).toMatch(TABLE)
})
