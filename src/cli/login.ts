import { CredentialCache, Credentials } from '../entries/index.ts'
import { shortTime } from './output.ts'
import { fullName, password, passwordsFrom } from './prompt.ts'

export interface LoginFlags {
  readonly cache?: string
  readonly keytab?: string
  readonly passwordStdin?: boolean
}

export async function login(name: string | undefined, flags: LoginFlags): Promise<void> {
  const principal = await fullName(name)
  CredentialCache.nameOf(flags.cache) // a cache that cannot be written is told before a password is asked for
  const credentials =
    flags.keytab === undefined
      ? Credentials.fromPassword(principal, await passwordOf(principal, flags))
      : Credentials.fromKeytab(principal, flags.keytab)
  const { expiresAt } = await credentials.login()
  await credentials.save(flags.cache)
  const cache = CredentialCache.nameOf(flags.cache)
  console.log(`${principal} is logged in until ${shortTime(expiresAt)}; tickets in ${cache}`)
}

async function passwordOf(principal: string, { passwordStdin }: LoginFlags): Promise<string> {
  if (passwordStdin !== true && process.stdin.isTTY) return password(`Password for ${principal}: `)
  const [line = ''] = await passwordsFrom(process.stdin, 1)
  return line
}
