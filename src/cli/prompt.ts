import { userInfo } from 'node:os'
import { createInterface } from 'node:readline/promises'
import { Writable } from 'node:stream'
import { Krb5Config, Principal, UsageError } from '../entries/index.ts'

/** The user's own name when none is given, in the default realm when it has none. */
export async function fullName(name: string | undefined): Promise<string> {
  const { defaultRealm } = await Krb5Config.load()
  const principal = Principal.parse(name ?? userInfo().username, defaultRealm)
  if (principal.realm !== '') return principal.toString()
  throw new UsageError('NAME_INVALID', `no realm is known for ${principal}`, {
    hint: `Write ${principal}@REALM, or set default_realm in krb5.conf.`,
  })
}

/** Asks at the terminal, which shows nothing of what is typed. */
export async function password(prompt: string): Promise<string> {
  process.stderr.write(prompt)
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() })
  const reader = createInterface({ input: process.stdin, output: silent, terminal: true })
  try {
    return await reader.question('')
  } catch (cause) {
    throw new UsageError('ABORTED', 'no password was given', { cause }) // Ctrl-C, Ctrl-D
  } finally {
    reader.close()
    process.stderr.write('\n')
  }
}

/** The first lines of an input that is no terminal. */
export async function passwordsFrom(input: NodeJS.ReadStream, count: number): Promise<readonly string[]> {
  let text = Buffer.alloc(0)
  for await (const chunk of input) {
    text = Buffer.concat([text, chunk as Buffer])
    if (text.toString('latin1').split('\n').length > count) break
  }
  return text.toString('utf8').split(/\r?\n/).slice(0, count)
}
