import type { Principal } from '../../krb5/messages/index.ts'
import { type Flag, GuardedContext, incomplete, type SecurityContext } from '../context.ts'
import { GSS_FLAG } from './checksum.ts'
import { type MessageKeys, PerMessage } from './per-message.ts'

/** What an established context knows. */
export interface Established {
  readonly peer: Principal
  /** Bits of `GSS_FLAG`. */
  readonly flagBits: number
  readonly channelBound: boolean
  /** Microseconds since 1970. */
  readonly endTime: number
  readonly messageKeys: MessageKeys
}

/** Initial tokens of RFC 4121 §4.1 */
export const TOK_ID = { AP_REQ: 0x0100, AP_REP: 0x0200, ERROR: 0x0300 } as const

/** What initiator and acceptor share: new, then waiting for the peer, then established or failed for ever. */
export abstract class Krb5Context extends GuardedContext implements SecurityContext {
  #established: Established | undefined
  /** Made at the first message: most contexts over HTTP protect none. */
  #messages: PerMessage | undefined

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
    const { flagBits, channelBound } = this.#known
    return flagNames(flagBits, channelBound)
  }

  get expiresAt(): Date {
    return new Date(this.#known.endTime / 1000)
  }

  wrap(data: Uint8Array, options: { confidential?: boolean } = {}): Uint8Array {
    return this.#protection.wrap(data, options.confidential ?? true)
  }

  unwrap(token: Uint8Array): { readonly data: Uint8Array; readonly confidential: boolean } {
    return this.#protection.unwrap(token)
  }

  getMic(data: Uint8Array): Uint8Array {
    return this.#protection.getMic(data)
  }

  verifyMic(data: Uint8Array, mic: Uint8Array): void {
    this.#protection.verifyMic(data, mic)
  }

  get #protection(): PerMessage {
    const { messageKeys } = this.#known
    this.#messages ??= new PerMessage(messageKeys)
    return this.#messages
  }

  protected release(): void {
    this.#established = undefined
    this.#messages = undefined
  }
}

const FLAG_NAMES = Object.keys(GSS_FLAG) as readonly (keyof typeof GSS_FLAG)[]

function flagNames(bits: number, channelBound: boolean): ReadonlySet<Flag> {
  const names = new Set<Flag>()
  for (const name of FLAG_NAMES) if ((bits & GSS_FLAG[name]) !== 0) names.add(name)
  if (channelBound) names.add('channel-bound')
  return names
}
