import { concat, equal } from '../../bytes/bytes.ts'
import { ByteReader } from '../../bytes/reader.ts'
import { CONFOUNDER_BYTES, enctype, type Key } from '../../crypto/index.ts'
import { malformed, VerificationError } from '../../errors.ts'

/** RFC 4121 §2 */
const USAGE = { ACCEPTOR_SEAL: 22, ACCEPTOR_SIGN: 23, INITIATOR_SEAL: 24, INITIATOR_SIGN: 25 } as const
/** RFC 4121 §4.2.6 */
const TOK_ID = { MIC: 0x0404, WRAP: 0x0504 } as const
/** RFC 4121 §4.2.2 */
const FLAG = { SENT_BY_ACCEPTOR: 1, SEALED: 2, ACCEPTOR_SUBKEY: 4 } as const
const HEADER_BYTES = 16
const FILLER = 0xff
/** How far behind the newest a token may arrive. */
const WINDOW = 64n
const ALL_SEEN = (1n << WINDOW) - 1n

export interface MessageKeys {
  readonly key: Key
  readonly isAcceptor: boolean
  readonly acceptorSubkey: boolean
  readonly sendSequence: number
  readonly receiveSequence: number
  readonly random: (length: number) => Uint8Array
}

/** Per-message protection of an established context (RFC 4121 §4.2), both directions. */
export class PerMessage {
  readonly #keys: MessageKeys
  #sendSequence: bigint
  readonly #window: SequenceWindow

  constructor(keys: MessageKeys) {
    this.#keys = keys
    this.#sendSequence = BigInt(keys.sendSequence)
    this.#window = new SequenceWindow(BigInt(keys.receiveSequence))
  }

  /** RFC 4121 §4.2.6.1 */
  getMic(data: Uint8Array): Uint8Array {
    const header = this.#header(TOK_ID.MIC, 0, FILLER * 0x101, FILLER * 0x101)
    return concat(header, this.#keys.key.checksum(this.#usage('SIGN', true), concat(data, header)))
  }

  verifyMic(data: Uint8Array, token: Uint8Array): void {
    const header = readHeader(token, TOK_ID.MIC)
    this.#checkFlags(header)
    if (header.ec !== 0xffff || header.rrc !== 0xffff) throw malformed('MIC token: filler') // RFC 4121 §4.2.6.1 check: P60
    this.#keys.key.verifyChecksum(this.#usage('SIGN', false), concat(data, header.octets), header.rest) // check: P62
    this.#window.accept(header.sequence)
  }

  /** RFC 4121 §4.2.6.2 */
  wrap(data: Uint8Array, confidential: boolean): Uint8Array {
    const { key, random } = this.#keys
    if (confidential) {
      const header = this.#header(TOK_ID.WRAP, FLAG.SEALED, 0, 0)
      return concat(header, key.encrypt(this.#usage('SEAL', true), concat(data, header), random(CONFOUNDER_BYTES)))
    }
    const bare = this.#header(TOK_ID.WRAP, 0, 0, 0)
    const mac = key.checksum(this.#usage('SEAL', true), concat(data, bare)) // SEAL for every Wrap token (RFC 4121 §2)
    const header = bare.slice()
    header[5] = mac.length // EC: the checksum is signed over a header in which it is zero (RFC 4121 §4.2.4)
    return concat(header, data, mac)
  }

  unwrap(token: Uint8Array): { data: Uint8Array; confidential: boolean } {
    const header = readHeader(token, TOK_ID.WRAP)
    this.#checkFlags(header)
    const confidential = (header.flags & FLAG.SEALED) !== 0
    const body = rotateLeft(header.rest, header.rrc)
    const data = confidential ? this.#unseal(header, body) : this.#unsign(header, body)
    this.#window.accept(header.sequence)
    return { data, confidential }
  }

  /** RFC 4121 §4.2.4: the plaintext ends with EC octets of filler and a copy of the header, in which RRC is zero. */
  #unseal(header: Header, body: Uint8Array): Uint8Array {
    const plain = this.#keys.key.decrypt(this.#usage('SEAL', false), body)
    const end = plain.length - HEADER_BYTES - header.ec
    if (end < 0) throw malformed('Wrap token: shorter than its EC') // check: P61
    const copy = new Uint8Array(header.octets)
    copy.fill(0, 6, 8)
    if (!equal(copy, plain.subarray(plain.length - HEADER_BYTES))) throw altered() // check: P60
    return plain.slice(0, end)
  }

  #unsign(header: Header, body: Uint8Array): Uint8Array {
    const macBytes = enctype(this.#keys.key.enctype).macBytes
    if (header.ec !== macBytes || body.length < macBytes) throw malformed(`Wrap token: EC is ${header.ec}`) // check: P60
    const data = new Uint8Array(body.subarray(0, body.length - macBytes))
    const bare = new Uint8Array(header.octets)
    bare.fill(0, 4, 8)
    const mac = body.subarray(body.length - macBytes)
    this.#keys.key.verifyChecksum(this.#usage('SEAL', false), concat(data, bare), mac) // check: P62
    return data
  }

  #usage(kind: 'SEAL' | 'SIGN', sending: boolean): number {
    return USAGE[`${this.#keys.isAcceptor === sending ? 'ACCEPTOR' : 'INITIATOR'}_${kind}`]
  }

  #header(tokenId: number, flags: number, ec: number, rrc: number): Uint8Array {
    const { isAcceptor, acceptorSubkey } = this.#keys
    const octets = new Uint8Array(HEADER_BYTES)
    const view = new DataView(octets.buffer)
    view.setUint16(0, tokenId)
    octets[2] = flags | (isAcceptor ? FLAG.SENT_BY_ACCEPTOR : 0) | (acceptorSubkey ? FLAG.ACCEPTOR_SUBKEY : 0)
    octets[3] = FILLER
    view.setUint16(4, ec)
    view.setUint16(6, rrc)
    view.setBigUint64(8, this.#sendSequence)
    this.#sendSequence = BigInt.asUintN(64, this.#sendSequence + 1n)
    return octets
  }

  #checkFlags({ flags }: Header): void {
    const fromAcceptor = (flags & FLAG.SENT_BY_ACCEPTOR) !== 0
    if (fromAcceptor === this.#keys.isAcceptor) throw outOfOrder('comes from this very side') // check: P63
    const subkey = (flags & FLAG.ACCEPTOR_SUBKEY) !== 0
    if (subkey !== this.#keys.acceptorSubkey) throw altered() // RFC 4121 §4.2.2 check: P60
  }
}

interface Header {
  readonly octets: Uint8Array
  readonly flags: number
  readonly ec: number
  readonly rrc: number
  readonly sequence: bigint
  readonly rest: Uint8Array
}

function readHeader(token: Uint8Array, tokenId: number): Header {
  const from = new ByteReader(token)
  const octets = from.take(HEADER_BYTES, 'token header')
  const view = new DataView(octets.buffer, octets.byteOffset)
  if (view.getUint16(0) !== tokenId) throw malformed(`token of kind 0x${view.getUint16(0).toString(16)}`) // check: P65
  if (octets[3] !== FILLER) throw malformed('token header: filler') // RFC 4121 §4.2.6.2 check: P60
  return {
    octets,
    flags: octets[2] as number,
    ec: view.getUint16(4),
    rrc: view.getUint16(6),
    sequence: view.getBigUint64(8),
    rest: from.rest(),
  }
}

/** Undoes the right rotation by RRC octets (RFC 4121 §4.2.5); peers send counts over the length. */
function rotateLeft(body: Uint8Array, count: number): Uint8Array {
  const by = body.length === 0 ? 0 : count % body.length
  return by === 0 ? body : concat(body.subarray(by), body.subarray(0, by))
}

/** Each number once; gaps are allowed, what lies too far behind is not (RFC 2743 §1.2.3). */
class SequenceWindow {
  #next: bigint
  /** The lowest bit is the number before `#next`. What lies before the first was never sent. */
  #seen = ALL_SEEN

  constructor(first: bigint) {
    this.#next = first
  }

  accept(sequence: bigint): void {
    const ahead = BigInt.asIntN(64, sequence - this.#next)
    if (ahead >= 0n) {
      this.#seen = BigInt.asUintN(Number(WINDOW), (this.#seen << (ahead + 1n > WINDOW ? WINDOW : ahead + 1n)) | 1n)
      this.#next = BigInt.asUintN(64, sequence + 1n)
      return
    }
    if (-ahead > WINDOW) throw outOfOrder('is too old') // check: P64
    const bit = 1n << (-ahead - 1n) // after the check: the peer chooses the number
    if ((this.#seen & bit) !== 0n) throw outOfOrder('has been seen before') // check: P64
    this.#seen |= bit
  }
}

function altered(): VerificationError {
  return new VerificationError('INTEGRITY_FAILED', 'the per-message token was altered')
}

function outOfOrder(why: string): VerificationError {
  return new VerificationError('SEQUENCE_ERROR', `the per-message token ${why}`)
}
