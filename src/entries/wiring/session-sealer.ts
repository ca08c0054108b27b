import { ConfigError } from '../../errors.ts'
import { SESSION_KEY_BYTES, type SessionSealer, type SessionSettings } from '../../http/index.ts'
import { isClusterWorker } from '../../system/cluster-worker.ts'
import { systemSource } from '../../system/index.ts'
import { processDefaults } from './process-defaults.ts'

/**
 * Loads what seals sessions, once, and only when there are any.
 *
 * @throws {ConfigError} `SESSION_KEYS_NEEDED` in a worker of node:cluster that would make a key of its own
 */
export function sealerLoader({ keys }: SessionSettings): () => Promise<SessionSealer> {
  const { random } = systemSource()
  const [first = sharedKey(random), ...others] = keys
  const loading = import('../../sessions/index.ts').then(({ sessionSealer }) =>
    sessionSealer([first, ...others], random),
  )
  loading.catch(() => {}) // whoever waits for it is told
  return () => loading
}

/** One for all servers of this process: else each would refuse the others' cookies. */
function sharedKey(random: (length: number) => Uint8Array): Uint8Array {
  if (!isClusterWorker()) {
    const shared = processDefaults()
    shared.sessionKey ??= random(SESSION_KEY_BYTES)
    return shared.sessionKey // check: S110
  }
  throw new ConfigError('SESSION_KEYS_NEEDED', 'a worker of node:cluster cannot open what the others have sealed', {
    hint: 'Set sessions.keys to one key for all: `openssl rand -base64 32`.',
  })
}
