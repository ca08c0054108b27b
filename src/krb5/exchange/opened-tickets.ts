import { type Key, sameSecret } from '../../crypto/index.ts'
import { UsageError } from '../../errors.ts'
import { type EncTicketPart, KEY_USAGE, type Principal, principalOf } from '../messages/index.ts'
import { keyFromWire } from './key-from-wire.ts'
import type { ServiceKey } from './service-keys.ts'

/** Most tickets that an acceptor remembers. */
export const MAX_OPENED_TICKETS = 4096
/** Most octets that they may take, as `OpenedTicket.bytes` counts. */
export const MAX_OPENED_BYTES: number = 32 * 2 ** 20
/** What a ticket takes beside its octets: the session key with what was derived from it, four fifths of it in Node’s own objects. */
const OBJECT_BYTES = 10_240
/** Octets at the end of a ticket, where its MAC ends: of every enctype as good as random. */
const TAIL_BYTES = 12
/** Least time between two searches for tickets that have ended. Microseconds. */
const SWEEP_PAUSE = 60e6

/**
 * A ticket that one of our keys has opened: its MAC was right. Whether it holds now, here and for whom it says is asked anew each time.
 *
 * Whoever works with it holds it; when nobody holds it and it is not remembered either, its session key goes. Of one that is remembered but was used
 * only once, what was derived from the session key goes already then: most of its size, for a client who may never come again.
 */
export class OpenedTicket {
  /** The ticket as it came. */
  readonly raw: Uint8Array
  readonly part: EncTicketPart
  readonly serviceKey: ServiceKey
  /** From the ticket alone. */
  readonly client: Principal
  #sessionKey: Key | undefined
  #holders = 1
  #uses = 1
  #isRemembered = false
  #isGone = false

  /** Held by its maker. */
  constructor(raw: Uint8Array, part: EncTicketPart, serviceKey: ServiceKey) {
    this.raw = raw
    this.part = part
    this.serviceKey = serviceKey
    this.client = principalOf(part.cname, part.crealm)
  }

  /**
   * @throws {MalformedError} `MALFORMED` when the ticket's key is none of its enctype
   * @throws {UsageError} `KEY_INVALID` when nobody holds the ticket any more
   */
  get sessionKey(): Key {
    if (this.#isGone) throw new UsageError('KEY_INVALID', 'the ticket is not held any more')
    if (this.#sessionKey === undefined) {
      this.#sessionKey = keyFromWire(this.part.key, 'EncTicketPart.key')
      this.#sessionKey.derive(KEY_USAGE.AP_REQ_AUTHENTICATOR, KEY_USAGE.AP_REP)
    }
    return this.#sessionKey
  }

  /** Octets that it takes, roughly: it is there as cipher text and as clear text. */
  get bytes(): number {
    return 2 * this.raw.length + OBJECT_BYTES
  }

  hold(): this {
    this.#holders++
    this.#uses++
    return this
  }

  release(): void {
    this.#holders--
    this.#rest()
  }

  /** For `OpenedTickets`, which holds it in its own way. */
  remember(isRemembered: boolean): this {
    this.#isRemembered = isRemembered
    this.#rest()
    return this
  }

  #rest(): void {
    if (this.#holders > 0 || (this.#isRemembered && this.#uses > 1)) return
    this.#sessionKey?.dispose()
    this.#sessionKey = undefined
    this.#isGone = !this.#isRemembered
    if (this.#isGone) this.part.key.keyvalue.fill(0)
  }
}

/**
 * Tickets that were opened before, so that a client's next request needs no decryption and no key derivation. Bounded in number and octets; the
 * one unused for longest goes first, and each at its end.
 *
 * It decides nothing: it only answers what these very octets were when a key of the acceptor opened them.
 */
export class OpenedTickets {
  readonly #maxTickets: number
  readonly #maxBytes: number
  /** By the end of the ticket; the one unused for longest first. */
  readonly #byTail = new Map<string, OpenedTicket>()
  #bytes = 0
  #nextSweep = Number.POSITIVE_INFINITY

  constructor(maxTickets: number = MAX_OPENED_TICKETS, maxBytes: number = MAX_OPENED_BYTES) {
    this.#maxTickets = maxTickets
    this.#maxBytes = maxBytes
  }

  get size(): number {
    return this.#byTail.size
  }

  /** As `OpenedTicket.bytes`, of all. */
  get bytes(): number {
    return this.#bytes
  }

  /** The ticket of exactly these octets, if one of these keys has opened it. */
  find(raw: Uint8Array, keys: ReadonlySet<ServiceKey>): OpenedTicket | undefined {
    const tail = tailOf(raw)
    const found = this.#byTail.get(tail)
    if (found === undefined) return undefined
    if (!sameSecret(found.raw, raw)) return undefined // check: S97
    if (!keys.has(found.serviceKey)) return undefined // check: S98
    this.#byTail.delete(tail)
    this.#byTail.set(tail, found)
    return found
  }

  /** Keeps a ticket that a whole login was made with; `now` in microseconds since 1970. */
  keep(ticket: OpenedTicket, now: number): void {
    if (now >= this.#nextSweep) this.#sweep(now)
    const tail = tailOf(ticket.raw)
    if (this.#byTail.get(tail) === ticket || ticket.part.endtime <= now) return
    this.#forget(tail)
    this.#byTail.set(tail, ticket.remember(true))
    this.#bytes += ticket.bytes
    this.#nextSweep = Math.min(this.#nextSweep, Math.max(ticket.part.endtime, now + SWEEP_PAUSE))
    for (const oldest of this.#byTail.keys()) {
      if (this.#byTail.size <= this.#maxTickets && this.#bytes <= this.#maxBytes) break
      this.#forget(oldest)
    }
  }

  /** Forgets what these keys have opened. */
  forget(keys: ReadonlySet<ServiceKey>): void {
    for (const [tail, { serviceKey }] of this.#byTail) if (keys.has(serviceKey)) this.#forget(tail)
  }

  /** Forgets those that have ended. */
  #sweep(now: number): void {
    let next = Number.POSITIVE_INFINITY
    for (const [tail, { part }] of this.#byTail) {
      if (part.endtime <= now) this.#forget(tail)
      else next = Math.min(next, part.endtime)
    }
    this.#nextSweep = Math.max(next, now + SWEEP_PAUSE)
  }

  #forget(tail: string): void {
    const ticket = this.#byTail.get(tail)
    if (ticket === undefined) return
    this.#byTail.delete(tail)
    this.#bytes -= ticket.bytes
    ticket.remember(false)
  }
}

function tailOf(raw: Uint8Array): string {
  return String.fromCharCode(...raw.subarray(-TAIL_BYTES))
}
