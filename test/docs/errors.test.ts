import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { ERROR_CODES } from '../../src/errors.ts'
import { ERROR } from '../../src/krb5/messages/error-codes.ts'

/** Holds codes and documentation together. `UPDATE_DOCS=1 npx vitest run --project unit test/docs` writes the page anew. */

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const PAGE = join(ROOT, 'docs/errors.md')

function page(): string {
  const rows = Object.entries(ERROR_CODES).map(([code, text]) => `| \`${code}\` | ${text} |`)
  const kdc = Object.entries(ERROR).map(([name, number]) => `| ${number} | \`${name}\` |`)
  return `# Errors

Every error of this package is a \`KerberosError\` with a stable \`code\`, a message, and mostly a \`hint\`: one sentence on what to do. The class says
who must act: \`UsageError\` (the program), \`ConfigError\` (the administrator), \`CredentialError\` (the user), \`KdcError\` (the KDC said no),
\`NetworkError\`, \`MalformedError\` (bytes that no grammar allows), \`VerificationError\` (the peer failed a check), \`MutualAuthenticationError\`. No error
holds a key, a password, a token or a ticket.

| code | what happened, and the cure |
| --- | --- |
${rows.join('\n')}

## Refusals of a KDC

A \`KdcError\` keeps the name of RFC 4120 §7.5.9 as its \`code\` and the number as \`errorCode\`; a number that no document names is \`KRB_ERR_<number>\`,
with the 32 bits of a negative number read without a sign: -1 is \`KRB_ERR_4294967295\`, and \`errorCode\` is -1.
The common ones have a hint: \`KDC_ERR_PREAUTH_FAILED\` (wrong password), \`KDC_ERR_KEY_EXPIRED\` (change the password), \`KDC_ERR_CLIENT_REVOKED\`
(locked), \`KDC_ERR_NAME_EXP\` (expired account), \`KDC_ERR_C_PRINCIPAL_UNKNOWN\` (no such user), \`KDC_ERR_S_PRINCIPAL_UNKNOWN\` (no such service),
\`KRB_AP_ERR_SKEW\` (clocks).

| number | code |
| ---: | --- |
${kdc.join('\n')}
`
}

test('docs/errors.md lists every code with its cure', () => {
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(PAGE, page())
  expect(readFileSync(PAGE, 'utf8')).toBe(page())
})

test('every code of the table is thrown somewhere, and no other', () => {
  const source = (readdirSync(join(ROOT, 'src'), { recursive: true }) as string[])
    .filter((name) => name.endsWith('.ts') && name !== 'errors.ts')
    .map((name) => readFileSync(join(ROOT, 'src', name), 'utf8'))
    .join('\n')
  const constructors = readFileSync(join(ROOT, 'src/errors.ts'), 'utf8').split('export class').slice(1).join('\n')
  const unused = Object.keys(ERROR_CODES).filter((code) => !`${source}${constructors}`.includes(`'${code}'`))
  expect(unused).toEqual([])
})
