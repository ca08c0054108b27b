import { toBase64 } from '../../../src/bytes/base64.ts'
import { utf8 } from '../../../src/bytes/bytes.ts'
import { MalformedError, VerificationError } from '../../../src/errors.ts'
import { type Flag, failed, type Step } from '../../../src/gss/context.ts'
import { attemptCounts } from '../../../src/http/attempts.ts'
import {
  type AcceptingContext,
  type AcceptorContexts,
  NegotiateCore,
  type NegotiateRequest,
  type NegotiateServerOptions,
  type Proofs,
  type ServerEffects,
  serverSettings,
} from '../../../src/http/index.ts'
import { Principal } from '../../../src/krb5/messages/principal.ts'

/** A token is a text that says what shall come of it: `alice`, `bob…`, `silent …`, `leg …`, or one of the failures. */
class FakeContext implements AcceptingContext {
  complete = false
  disposed = 0
  legs = 0
  errorToken: Uint8Array | undefined
  readonly flags: ReadonlySet<Flag> = new Set(['mutual', 'channel-bound'])
  readonly expiresAt: Date = new Date(Date.UTC(2030, 0, 1))
  #peer = 'nobody'

  get peer(): Principal {
    return new Principal([this.#peer], 'EXAMPLE.ORG')
  }

  async step(token: Uint8Array = new Uint8Array(0)): Promise<Step> {
    if (this.disposed > 0) throw failed()
    this.legs++
    const text = Buffer.from(token).toString('latin1').replace('\xa1', '')
    const [word = '', argument] = text.split(' ')
    switch (word) {
      case 'leg':
        return { token: utf8('MORE'), complete: false }
      case 'liar':
        this.#peer = 'victim'
        return { token: utf8('STOKEN'), complete: true }
      case 'silent':
        return this.#accept(argument ?? 'user', undefined)
      case 'skew':
        this.errorToken = utf8('KRB-ERROR')
        throw new VerificationError('CLOCK_SKEW', 'clocks differ', { hint: 'Run NTP.' })
      case 'der':
        throw new MalformedError('MALFORMED', 'InitialContextToken: expected tag 0x60')
      case 'ntlm':
        throw new VerificationError('NTLM_OFFERED', 'NTLM', { hint: 'no ticket' })
      case 'full':
        throw new VerificationError('REPLAY_STORE_UNAVAILABLE', 'full')
      case 'bug':
        throw new TypeError('bug')
      case 'otherkey':
        throw new VerificationError('KEY_NOT_FOUND', 'no key')
      case 'replay':
        throw new VerificationError('REPLAY', 'seen before')
      default:
        return this.#accept(word, utf8('STOKEN'))
    }
  }

  #accept(peer: string, token: Uint8Array | undefined): Step {
    this.complete = true
    this.#peer = peer
    return { token, complete: true }
  }

  wrap(): Uint8Array {
    throw failed()
  }
  unwrap(): never {
    throw failed()
  }
  getMic(): Uint8Array {
    throw failed()
  }
  verifyMic(): void {}
  dispose(): void {
    this.disposed++
  }
}

export class FakeContexts implements AcceptorContexts {
  readonly made: FakeContext[] = []
  closed = 0

  createContext(): AcceptingContext {
    const context = new FakeContext()
    this.made.push(context)
    return context
  }

  async close(): Promise<void> {
    this.closed++
  }
}

/** `Authorization` for a token of that text; `\xa1` in front makes it one that continues. */
export function negotiateField(text: string): string {
  return `Negotiate ${toBase64(Buffer.from(text, 'latin1'))}`
}

export interface FakeServer {
  readonly core: NegotiateCore
  readonly contexts: FakeContexts
  readonly events: unknown[]
  readonly warnings: string[]
  /** Lets the time of every timer come. */
  readonly elapse: () => void
  readonly clock: { now: number }
}

/** What the response of an identity carries for caches. */
export const PRIVATE: readonly (readonly [string, string])[] = [
  ['Cache-Control', 'private'],
  ['Vary', 'Authorization'],
]

/** When its clock begins. */
export const START: number = Date.UTC(2029, 11, 31, 12)

export function fakeServer(options?: NegotiateServerOptions, proofs: Partial<Proofs> = {}): FakeServer {
  const contexts = new FakeContexts()
  const events: unknown[] = []
  const warnings: string[] = []
  const timers = new Set<() => void>()
  const effects: Omit<ServerEffects, 'now' | 'monotonic'> = {
    after(_delayMs, run) {
      timers.add(run)
      return () => timers.delete(run)
    },
    channel: { hasSubscribers: true, publish: (event) => events.push(event) },
    warn: (message, code) => warnings.push(`${code} ${message}`),
  }
  const clock = { now: START }
  const core = new NegotiateCore(
    { contexts, attempts: attemptCounts(() => clock.now, 7), ...proofs },
    serverSettings(options),
    {
      ...effects,
      now: () => clock.now,
      monotonic: () => clock.now,
    },
  )
  return { core, contexts, events, warnings, elapse, clock }

  function elapse(): void {
    for (const run of [...timers]) run()
  }
}

export interface RequestParts {
  readonly method?: string
  readonly connection?: object
  readonly headers?: NodeJS.Dict<string[]>
}

export function request(authorization?: string | string[], parts: RequestParts = {}): NegotiateRequest {
  const values = typeof authorization === 'string' ? [authorization] : authorization
  const headers = { host: ['intranet.example.org'], ...(values && { authorization: values }), ...parts.headers }
  return { method: 'GET', url: '/report?key=secret', ...parts, headers }
}
