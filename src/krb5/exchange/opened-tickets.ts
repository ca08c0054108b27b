import { equalPublic, readUint32 } from '../../bytes/bytes.ts'
import type { Key } from '../../crypto/index.ts'
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
/** Least time between two searches for tickets that have ended. Microseconds. */
const SWEEP_PAUSE = 60e6
/** How many tickets may have been met once without pushing each other out; a power of two. */
const MET_SLOTS = 8192

/**
 * A ticket that one of our keys has opened: its MAC was right. Whether it holds now, here and for whom it says is asked anew each time.
 *
 * Whoever works with it holds it; when nobody holds it and it is not remembered either, its session key goes.
 */
export class OpenedTicket {
  #raw: Uint8Array
  readonly part: EncTicketPart
  readonly serviceKey: ServiceKey
  /** From the ticket alone. */
  readonly client: Principal
  #sessionKey: Key | undefined
  #holders = 1
  #isRemembered = false
  #isGone = false
  /** Whether it was used since `OpenedTickets` last looked for what may go; for it alone. */
  wasUsed = false

  /** Held by its maker. @param raw copied when the ticket is remembered */
  constructor(raw: Uint8Array, part: EncTicketPart, serviceKey: ServiceKey) {
    this.#raw = raw
    this.part = part
    this.serviceKey = serviceKey
    this.client = principalOf(part.cname, part.crealm)
  }

  /** The ticket as it came. */
  get raw(): Uint8Array {
    return this.#raw
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
    return 2 * this.#raw.length + OBJECT_BYTES
  }

  get isRemembered(): boolean {
    return this.#isRemembered
  }

  hold(): this {
    this.#holders++
    return this
  }

  release(): void {
    this.#holders--
    this.#wipeIfFree()
  }

  /** For `OpenedTickets`, which holds it in its own way. */
  remember(isRemembered: boolean): this {
    if (isRemembered) this.#raw = new Uint8Array(this.#raw)
    this.#isRemembered = isRemembered
    this.#wipeIfFree()
    return this
  }

  #wipeIfFree(): void {
    if (this.#holders > 0 || this.#isRemembered) return
    this.#isGone = true
    this.#sessionKey?.dispose()
    this.#sessionKey = undefined
    this.part.key.keyvalue.fill(0)
  }
}

/**
 * Tickets that were opened before, so that a client's next requests need no decryption and no key derivation. Kept from a ticket's second login on:
 * what a client who never comes again leaves behind would cost more than it saves. Bounded in number and octets; the oldest goes first, but after those
 * that were not used since they were passed over, and each at its end.
 *
 * It decides nothing: it only answers what these very octets were when a key of the acceptor opened them.
 */
export class OpenedTickets {
  readonly #maxTickets: number
  readonly #maxBytes: number
  /** By the end of the ticket; in the order in which they may go. */
  readonly #byTail = new Map<number, OpenedTicket>()
  /** Of tickets that one login was made with, four octets each, in the slot that the four before name. */
  readonly #met = new Uint32Array(MET_SLOTS)
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
    if (!equalPublic(found.raw, raw)) return undefined // check: S97
    if (!keys.has(found.serviceKey)) return undefined // check: S98
    found.wasUsed = true
    return found
  }

  /** Keeps a ticket whose authenticator was right, when that was not the first one; `now` in microseconds since 1970. */
  keepIfMetBefore(ticket: OpenedTicket, now: number): void {
    if (now >= this.#nextSweep) this.#sweep(now) // also when all that come are known
    if (ticket.isRemembered) return
    const { high, low } = endOf(ticket.raw)
    const slot = high % MET_SLOTS
    if (this.#met[slot] === low) this.#keep(ticket, now)
    this.#met[slot] = low
  }

  #keep(ticket: OpenedTicket, now: number): void {
    if (ticket.part.endtime <= now) return
    const tail = tailOf(ticket.raw)
    this.#forget(tail)
    if (!this.#makeRoom(ticket.bytes)) return
    this.#byTail.set(tail, ticket.remember(true))
    this.#bytes += ticket.bytes
    this.#nextSweep = Math.min(this.#nextSweep, Math.max(ticket.part.endtime, now + SWEEP_PAUSE))
  }

  /** Who was used since he was passed over has a second chance: so a login with a known ticket moves nothing. */
  #makeRoom(bytes: number): boolean {
    if (bytes > this.#maxBytes) return false
    const isRoom = () => this.#byTail.size < this.#maxTickets && this.#bytes + bytes <= this.#maxBytes
    for (const [tail, ticket] of this.#byTail) {
      if (isRoom()) break
      if (ticket.wasUsed) {
        ticket.wasUsed = false
        this.#byTail.delete(tail)
        this.#byTail.set(tail, ticket)
      } else {
        this.#forget(tail)
      }
    }
    return isRoom()
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

  #forget(tail: number): void {
    const ticket = this.#byTail.get(tail)
    if (ticket === undefined) return
    this.#byTail.delete(tail)
    this.#bytes -= ticket.bytes
    ticket.remember(false)
  }
}

/** 52 bits of the end of a ticket, which is that of its MAC: of every enctype as good as random. */
function tailOf(raw: Uint8Array): number {
  const { high, low } = endOf(raw)
  return (high & 0xfffff) * 2 ** 32 + low
}

/** The last eight octets. */
function endOf(raw: Uint8Array): { readonly high: number; readonly low: number } {
  return { high: readUint32(raw, raw.length - 8), low: readUint32(raw, raw.length - 4) }
}
