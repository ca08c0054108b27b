import { Credentials, UsageError } from '../entries/index.ts'
import { fullName, password, passwordsFrom } from './prompt.ts'

export interface PasswdFlags {
  readonly passwordStdin?: boolean
}

export async function passwd(name: string | undefined, flags: PasswdFlags): Promise<void> {
  const principal = await fullName(name)
  const asked = flags.passwordStdin === true || !process.stdin.isTTY
  const [old, fresh] = asked ? await passwordsFrom(process.stdin, 2) : await ask(principal)
  await Credentials.fromPassword(principal, old ?? '').changePassword(given(fresh))
  console.log(`The password of ${principal} is changed.`)
}

async function ask(principal: string): Promise<readonly string[]> {
  const old = await password(`Password for ${principal}: `)
  const fresh = await password('New password: ')
  const again = await password('New password once more: ')
  if (fresh !== again) throw new UsageError('OPTION_INVALID', 'the two new passwords differ: nothing is changed')
  return [old, fresh]
}

function given(fresh: string | undefined): string {
  if (fresh !== undefined && fresh !== '') return fresh
  throw new UsageError('OPTION_INVALID', 'no new password was given: nothing is changed', {
    hint: 'On standard input the first line is the old password, the second the new one.',
  })
}
