import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { CLIENT_ENTRIES, CLIENT_OPTIONS } from '../../src/entries/wiring/client.ts'

/** Holds table and documentation together. `UPDATE_DOCS=1 npx vitest run --project unit test/docs` writes the page anew. */

const PAGE = fileURLToPath(new URL('../../docs/options.md', import.meta.url))

function page(): string {
  const rows = Object.entries(CLIENT_OPTIONS).map(([name, row]) => {
    const cells = CLIENT_ENTRIES.map((entry) => row.limits?.[entry]?.text ?? 'yes')
    return `| \`${name}\` | ${[row.default, row.meaning, ...cells].join(' | ')} |`
  })
  return `# Options of the clients

The same options everywhere; the columns say what an entry makes of one. What an entry cannot honour is refused at once (\`OPTION_UNSUPPORTED\`), an
unknown option too (\`OPTION_UNKNOWN\`): nothing is ignored. Types and ranges are in the declarations.

| option | default | meaning | ${CLIENT_ENTRIES.map((entry) => `\`spnego/${entry}\``).join(' | ')} |
| --- | --- | --- | ${CLIENT_ENTRIES.map(() => '---').join(' | ')} |
${rows.join('\n')}

\`spnego/undici\` and \`spnego/agent\` see each redirect as a request of its own. There a name made from the URL's host may be used for any https origin;
an explicit \`targetName\`, or \`delegate\`, needs \`origins\` (\`ORIGINS_MISSING\`): only the caller knows whom it is meant for.
`
}

test('docs/options.md is the table of the options', () => {
  const text = readFileSync(PAGE, 'utf8')
  const [table = ''] = text.split(/^(?=\n## )/m) // what follows is written by hand
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(PAGE, page() + text.slice(table.length))
  else expect(table).toBe(page())
})
