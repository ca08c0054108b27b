import type { Principal } from '../../krb5/messages/index.ts'
import { type Flag, GuardedContext, incomplete, type SecurityContext } from '../context.ts'
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

/** What initiator and acceptor share: new, then waiting for the peer, then established or failed for ever. */
export abstract class Krb5Context extends GuardedContext implements SecurityContext {
  #established: Established | undefined

  protected get isSettled(): boolean {
    return this.#established !== undefined
  }

  protected establish(established: Established): void {
    if (!this.hasFailed) this.#established = established
  }

  get complete(): boolean {
    return !this.hasFailed && this.#established !== undefined
  }

  get #known(): Established {
    this.mustNotHaveFailed() // check: S05
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

  protected release(): void {
    this.#established = undefined
  }
}

export function flagNames(bits: number, channelBound: boolean): ReadonlySet<Flag> {
  const names = (Object.keys(GSS_FLAG) as (keyof typeof GSS_FLAG)[]).filter((name) => (bits & GSS_FLAG[name]) !== 0)
  return new Set<Flag>(channelBound ? [...names, 'channel-bound'] : names)
}
