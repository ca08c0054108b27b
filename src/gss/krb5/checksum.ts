import { concat, EMPTY, uint16le, uint32le } from '../../bytes/bytes.ts'
import { ByteReader } from '../../bytes/reader.ts'
import { CredentialError, malformed } from '../../errors.ts'
import { BINDING_HASH_BYTES } from '../bindings.ts'

/** Checksum type of the authenticator in a GSS token (RFC 4121 §4.1.1). It is no checksum: it carries flags and bindings. */
export const GSS_CHECKSUM_TYPE = 0x8003

/** RFC 4121 §4.1.1.1 */
export const GSS_FLAG = {
  delegate: 1,
  mutual: 2,
  replay: 4,
  sequence: 8,
  confidential: 16,
  integrity: 32,
} as const

/** DlgOpt: the only value there is (RFC 4121 §4.1.1). */
const DELEGATION_OPTION = 1
/** Dlgth has 16 bits. */
const MAX_DELEGATION_BYTES = 0xffff

export interface GssChecksum {
  /** 16 octets, all zero without channel bindings. */
  readonly bindingHash: Uint8Array
  readonly flags: number
  /** DER of a KRB-CRED, when the delegate flag is set. */
  readonly delegation: Uint8Array | undefined
}

/** RFC 4121 §4.1.1. @throws {CredentialError} `TICKET_NOT_FORWARDABLE` for a delegation over 65 535 octets, which no length can tell */
export function encodeGssChecksum({ bindingHash, flags, delegation }: GssChecksum): Uint8Array {
  const head = concat(uint32le(BINDING_HASH_BYTES), bindingHash, uint32le(flags))
  if (delegation === undefined) return head
  if (delegation.length > MAX_DELEGATION_BYTES) throw tooLong(delegation.length)
  return concat(head, uint16le(DELEGATION_OPTION), uint16le(delegation.length), delegation)
}

/** RFC 4121 §4.1.1: Lgth, Bnd, Flags; then DlgOpt, Dlgth, Deleg when the flag says so; then extensions (RFC 6542 §3.1). */
export function decodeGssChecksum(bytes: Uint8Array): GssChecksum {
  const from = new ByteReader(bytes)
  const length = from.uint32le('GSS checksum Lgth')
  if (length !== BINDING_HASH_BYTES) throw malformed(`GSS checksum: Lgth is ${length}`) // check: S38
  const bindingHash = from.take(BINDING_HASH_BYTES, 'GSS checksum Bnd')
  const flags = from.uint32le('GSS checksum Flags')
  const delegation = (flags & GSS_FLAG.delegate) === 0 ? undefined : readDelegation(from)
  while (from.remaining > 0) {
    from.uint32('GSS checksum extension type')
    from.take(from.uint32('GSS checksum extension length'), 'GSS checksum extension')
  }
  return { bindingHash, flags, delegation }
}

function readDelegation(from: ByteReader): Uint8Array {
  const option = from.uint16le('GSS checksum DlgOpt')
  if (option !== DELEGATION_OPTION) throw malformed(`GSS checksum: DlgOpt is ${option}`) // check: S38
  const length = from.uint16le('GSS checksum Dlgth')
  return length === 0 ? EMPTY : from.take(length, 'GSS checksum Deleg')
}

function tooLong(octets: number): CredentialError {
  return new CredentialError(
    'TICKET_NOT_FORWARDABLE',
    `the ticket to forward takes ${octets} octets, over ${MAX_DELEGATION_BYTES}`,
    {
      hint: 'The user is in too many groups for his ticket to be forwarded.',
    },
  )
}
