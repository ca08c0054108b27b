import type { Principal } from '../../krb5/messages/index.ts'
import { type Flag, failed, incomplete, type SecurityContext, type Step } from '../context.ts'
import { GSS_FLAG } from './checksum.ts'
import type { PerMessage } from './per-message.ts'

/** What an established context knows. */
export interface Established {
  readonly peer: Principal
  readonly flags: ReadonlySet<Flag>
  readonly expiresAt: Date
  readonly messages: PerMessage
}

/** Initial tokens of RFC 4121 §4.1 */
export const TOK_ID = { AP_REQ: 0x0100, AP_REP: 0x0200, ERROR: 0x0300 } as const

/**
 * What initiator and acceptor share: new, then waiting for the peer, then established or failed for ever (RFC 2743 §1.1.3). Whatever `advance`
 * throws ends the context.
 */
export abstract class Krb5Context implements SecurityContext {
  #state: 'open' | 'failed' = 'open'
  #stepping = false
  #established: Established | undefined

  /** One token from the peer; the first call of an initiator has none. */
  protected abstract advance(token: Uint8Array | undefined): Promise<Step>
  /** Drops keys. */
  protected abstract release(): void

  async step(token?: Uint8Array): Promise<Step> {
    if (this.#stepping) this.dispose() // of two tokens at once nobody can say which one counts
    this.#mustNotHaveFailed() // check: S04
    if (this.#established !== undefined) throw failed() // check: S04
    this.#stepping = true
    try {
      const step = await this.advance(token)
      this.#mustNotHaveFailed() // it may have been disposed meanwhile check: S04
      return step
    } catch (error) {
      this.dispose()
      throw error
    } finally {
      this.#stepping = false
    }
  }

  #mustNotHaveFailed(): void {
    if (this.#state === 'failed') throw failed()
  }

  protected establish(established: Established): void {
    if (this.#state === 'open') this.#established = established
  }

  get complete(): boolean {
    return this.#state === 'open' && this.#established !== undefined
  }

  get #known(): Established {
    this.#mustNotHaveFailed() // check: S05
    if (this.#established === undefined) throw incomplete() // check: S05
    return this.#established
  }

  get peer(): Principal {
    return this.#known.peer
  }

  get flags(): ReadonlySet<Flag> {
    return this.#known.flags
  }

  get expiresAt(): Date {
    return this.#known.expiresAt
  }

  wrap(data: Uint8Array, options: { confidential?: boolean } = {}): Uint8Array {
    return this.#known.messages.wrap(data, options.confidential ?? true)
  }

  unwrap(token: Uint8Array): { readonly data: Uint8Array; readonly confidential: boolean } {
    return this.#known.messages.unwrap(token)
  }

  getMic(data: Uint8Array): Uint8Array {
    return this.#known.messages.getMic(data)
  }

  verifyMic(data: Uint8Array, mic: Uint8Array): void {
    this.#known.messages.verifyMic(data, mic)
  }

  dispose(): void {
    if (this.#state === 'failed') return
    this.#state = 'failed'
    this.#established = undefined
    this.release()
  }
}

export function flagNames(bits: number, channelBound: boolean): ReadonlySet<Flag> {
  const names = (Object.keys(GSS_FLAG) as (keyof typeof GSS_FLAG)[]).filter((name) => (bits & GSS_FLAG[name]) !== 0)
  return new Set<Flag>(channelBound ? [...names, 'channel-bound'] : names)
}
