import { expect, test } from 'vitest'

/** From inside: what really runs the tests. */
const versions: Readonly<Record<string, string | undefined>> = process.versions
const runtime =
  versions['bun'] !== undefined
    ? `bun ${versions['bun']}`
    : versions['deno'] !== undefined
      ? `deno ${versions['deno']}`
      : `node ${versions['node']}`

test('the runtime is the one that was asked for', () => {
  console.log(`runtime: ${runtime}`)
  expect(runtime).toMatch(new RegExp(`^${process.env['SPNEGO_RUNTIME']}\\.`))
})
