import { KerberosError, NetworkError } from '../errors.ts'
import { aborted, type Deadline, type World } from './client.ts'

/** Beyond the deadline the sender itself reports which KDC was silent: its error is the better one. */
const GRACE_MS = 50

/**
 * Callers that want the same wait for the same. Each leaves when its own signal or deadline says so; who has more time than the one who
 * began tries again when that one's time was up. Nothing is remembered of a failure.
 */
export class SingleFlight<T> {
  readonly #world: Pick<World, 'monotonic' | 'after'>
  readonly #pending = new Map<string, Promise<T>>()

  constructor(world: Pick<World, 'monotonic' | 'after'>) {
    this.#world = world
  }

  async run(key: string, caller: Deadline, start: () => Promise<T>): Promise<T> {
    if (caller.signal?.aborted === true) throw aborted(caller.signal)
    const joined = this.#pending.get(key)
    const running = joined ?? start()
    if (joined === undefined) {
      this.#pending.set(key, running)
      const done = () => void this.#pending.delete(key)
      running.then(done, done)
    }
    try {
      return await this.#untilDeadline(running, caller)
    } catch (error) {
      const late = error instanceof KerberosError && error.code === 'KDC_TIMEOUT'
      if (joined === undefined || !late || this.#world.monotonic() >= caller.at) throw error
      return this.run(key, caller, start)
    }
  }

  #untilDeadline(running: Promise<T>, { signal, at }: Deadline): Promise<T> {
    return new Promise((resolve, reject) => {
      const abort = () => signal !== undefined && reject(aborted(signal))
      const cancel = this.#world.after(at - this.#world.monotonic() + GRACE_MS, () => reject(tooLate()))
      signal?.addEventListener('abort', abort, { once: true })
      running.then(resolve, reject).finally(() => {
        cancel()
        signal?.removeEventListener('abort', abort)
      })
    })
  }
}

function tooLate(): NetworkError {
  return new NetworkError('KDC_TIMEOUT', 'a login that was under way already did not end in time', {
    hint: 'Check the kdc addresses in krb5.conf, the network and the firewall (port 88).',
  })
}
