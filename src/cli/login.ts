import { userInfo } from 'node:os'
import { createInterface } from 'node:readline/promises'
import { Writable } from 'node:stream'
import { CredentialCache, Credentials, Krb5Config, Principal, UsageError } from '../entries/index.ts'
import { shortTime } from './output.ts'

export interface LoginFlags {
  readonly cache?: string
  readonly keytab?: string
  readonly passwordStdin?: boolean
}

export async function login(name: string | undefined, flags: LoginFlags): Promise<void> {
  const principal = await fullName(name)
  const cache = CredentialCache.nameOf(flags.cache)
  const credentials =
    flags.keytab === undefined
      ? Credentials.fromPassword(principal, await password(principal, flags))
      : Credentials.fromKeytab(principal, flags.keytab)
  const { expiresAt } = await credentials.login()
  await credentials.save(cache)
  console.log(`${principal} is logged in until ${shortTime(expiresAt)}; tickets in ${cache}`)
}

async function fullName(name: string | undefined): Promise<string> {
  const { defaultRealm } = await Krb5Config.load()
  const principal = Principal.parse(name ?? userInfo().username, defaultRealm)
  if (principal.realm !== '') return principal.toString()
  throw new UsageError('NAME_INVALID', `no realm is known for ${principal}`, {
    hint: `Write ${principal}@REALM, or set default_realm in krb5.conf.`,
  })
}

async function password(principal: string, { passwordStdin }: LoginFlags): Promise<string> {
  if (passwordStdin === true || !process.stdin.isTTY) return firstLine()
  process.stderr.write(`Password for ${principal}: `)
  // A terminal that shows nothing of what is typed.
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

async function firstLine(): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of process.stdin) {
    chunks.push(chunk as Buffer)
    if ((chunk as Buffer).includes(0x0a)) break
  }
  return Buffer.concat(chunks).toString('utf8').split(/\r?\n/, 1)[0] ?? ''
}
