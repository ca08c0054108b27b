import { UsageError } from '../entries/index.ts'
import { TestRealm } from '../entries/testing.ts'
import { exportLines, portOf, untilInterrupted } from './output.ts'

export interface KdcFlags {
  readonly realm?: string
  readonly user: readonly string[]
  readonly service: readonly string[]
  readonly port?: string
}

export async function kdc(flags: KdcFlags): Promise<void> {
  const port = portOf(flags.port)
  await using realm = await TestRealm.start({
    ...(flags.realm === undefined ? {} : { realm: flags.realm }),
    ...(port === undefined ? {} : { port }),
    ...(flags.service.length === 0 ? {} : { services: flags.service }),
    users: Object.fromEntries((flags.user.length === 0 ? ['alice:secret'] : flags.user).map(userOf)),
  })
  const interrupted = untilInterrupted()
  console.log(`The realm ${realm.realm} is up, for tests only: 127.0.0.1:${realm.port}, TCP and UDP.`)
  console.log(`To join it from another terminal:\n\n${exportLines(realm.environment)}\n`)
  console.log('Then, for instance: kinit alice. Ctrl-C ends the realm and removes its files.')
  await interrupted
}

function userOf(text: string): [string, string] {
  const at = text.indexOf(':')
  if (at < 1) throw new UsageError('OPTION_INVALID', '--user: expected name:password')
  return [text.slice(0, at), text.slice(at + 1)]
}
