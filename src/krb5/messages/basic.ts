import {
  type Der,
  encodeDer,
  field,
  int32,
  kerberosString,
  octets,
  optionalField,
  readField,
  readInt32,
  readKerberosString,
  readOctets,
  readOptionalField,
  readSequence,
  readSequenceOf,
  readUInt32,
  sequence,
  sequenceOf,
  uint32,
} from '../../asn1/index.ts'
import type { ByteReader } from '../../bytes/reader.ts'
import { malformed } from '../../errors.ts'
import { Principal } from './principal.ts'

/** Most components of a name. The longest in use, a Windows SPN, has three. */
export const MAX_COMPONENTS = 16
/** Longest component of a name, and longest realm, in characters of their text. A DNS name has 253 at the most. */
export const MAX_COMPONENT_LENGTH = 1024
/** Longest name: strangers' names are looked up and shown before anything proves them. */
export const MAX_NAME_LENGTH = 4096

/**
 * RFC 4120 §5.2.2
 *
 *     PrincipalName ::= SEQUENCE {
 *       name-type   [0] Int32,
 *       name-string [1] SEQUENCE OF KerberosString }
 */
export interface PrincipalName {
  readonly nameType: number
  readonly components: readonly string[]
}

export function readPrincipalName(from: ByteReader, what: string): PrincipalName {
  const body = readSequence(from, what)
  const nameType = readField(body, 0, readInt32, `${what}.name-type`)
  const components = readField(body, 1, readNameString, `${what}.name-string`)
  body.end(what)
  return { nameType, components }
}

function readNameString(from: ByteReader, what: string): string[] {
  const components = readSequenceOf(from, readNamePart, what, MAX_COMPONENTS)
  const length = components.reduce((sum, component) => sum + component.length, 0)
  if (length > MAX_NAME_LENGTH) throw malformed(`${what}: ${length} characters, over ${MAX_NAME_LENGTH}`) // check: S103
  return components
}

/** A component or a realm (RFC 4120 §5.2.1, §5.2.2). */
function readNamePart(from: ByteReader, what: string): string {
  const part = readKerberosString(from, what)
  if (part.length > MAX_COMPONENT_LENGTH)
    throw malformed(`${what}: ${part.length} characters, over ${MAX_COMPONENT_LENGTH}`) // check: S103
  return part
}

/** RFC 4120 §5.2.2: Realm ::= KerberosString */
export const readRealm: (from: ByteReader, what: string) => string = readNamePart

export function writePrincipalName(value: PrincipalName): Der {
  return sequence(field(0, int32(value.nameType)), field(1, sequenceOf(value.components, kerberosString)))
}

export function principalOf(name: PrincipalName, realm: string): Principal {
  return new Principal(name.components, realm, name.nameType)
}

/** RFC 4120 §5.2.4: 0 to 999 999. */
export function readMicroseconds(from: ByteReader, what: string): number {
  const value = readInt32(from, what)
  if (value < 0 || value > 999_999) throw malformed(`${what}: ${value} microseconds`)
  return value
}

/**
 * RFC 4120 §5.2.5
 *
 *     HostAddress ::= SEQUENCE {
 *       addr-type [0] Int32,
 *       address   [1] OCTET STRING }
 */
export interface HostAddress {
  readonly addressType: number
  readonly address: Uint8Array
}

export function readHostAddress(from: ByteReader, what: string): HostAddress {
  const body = readSequence(from, what)
  const addressType = readField(body, 0, readInt32, `${what}.addr-type`)
  const address = readField(body, 1, readOctets, `${what}.address`)
  body.end(what)
  return { addressType, address }
}

export function readHostAddresses(from: ByteReader, what: string): HostAddress[] {
  return readSequenceOf(from, readHostAddress, what)
}

export function writeHostAddress(value: HostAddress): Der {
  return sequence(field(0, int32(value.addressType)), field(1, octets(value.address)))
}

export function writeHostAddresses(value: readonly HostAddress[]): Der {
  return sequenceOf(value, writeHostAddress)
}

/**
 * RFC 4120 §5.2.6
 *
 *     AuthorizationData ::= SEQUENCE OF SEQUENCE {
 *       ad-type [0] Int32,
 *       ad-data [1] OCTET STRING }
 */
export interface AuthorizationElement {
  readonly adType: number
  readonly adData: Uint8Array
}
export type AuthorizationData = readonly AuthorizationElement[]

function readAuthorizationElement(from: ByteReader, what: string): AuthorizationElement {
  const body = readSequence(from, what)
  const adType = readField(body, 0, readInt32, `${what}.ad-type`)
  const adData = readField(body, 1, readOctets, `${what}.ad-data`)
  body.end(what)
  return { adType, adData }
}

export function readAuthorizationData(from: ByteReader, what: string): AuthorizationElement[] {
  return readSequenceOf(from, readAuthorizationElement, what)
}

export function writeAuthorizationData(value: AuthorizationData): Der {
  return sequenceOf(value, ({ adType, adData }) => sequence(field(0, int32(adType)), field(1, octets(adData))))
}

export function encodeAuthorizationData(value: AuthorizationData): Uint8Array {
  return encodeDer(writeAuthorizationData(value))
}

/**
 * RFC 4120 §5.2.7
 *
 *     PA-DATA ::= SEQUENCE {
 *       -- NOTE: first tag is [1], not [0]
 *       padata-type  [1] Int32,
 *       padata-value [2] OCTET STRING }
 */
export interface PaData {
  readonly type: number
  readonly value: Uint8Array
}

function readPaData(from: ByteReader, what: string): PaData {
  const body = readSequence(from, what)
  const type = readField(body, 1, readInt32, `${what}.padata-type`)
  const value = readField(body, 2, readOctets, `${what}.padata-value`)
  body.end(what)
  return { type, value }
}

/** `METHOD-DATA ::= SEQUENCE OF PA-DATA` (RFC 4120 §5.9.1), and the padata of requests and replies. */
export function readMethodData(from: ByteReader, what: string): PaData[] {
  return readSequenceOf(from, readPaData, what)
}

export function writeMethodData(value: readonly PaData[]): Der {
  return sequenceOf(value, (one) => sequence(field(1, int32(one.type)), field(2, octets(one.value))))
}

export function encodeMethodData(value: readonly PaData[]): Uint8Array {
  return encodeDer(writeMethodData(value))
}

/**
 * RFC 4120 §5.2.9
 *
 *     EncryptedData ::= SEQUENCE {
 *       etype   [0] Int32,
 *       kvno    [1] UInt32 OPTIONAL,
 *       cipher  [2] OCTET STRING }
 */
export interface EncryptedData {
  readonly etype: number
  readonly kvno: number | undefined
  readonly cipher: Uint8Array
}

export function readEncryptedData(from: ByteReader, what: string): EncryptedData {
  const body = readSequence(from, what)
  const etype = readField(body, 0, readInt32, `${what}.etype`)
  const kvno = readOptionalField(body, 1, readUInt32, `${what}.kvno`)
  const cipher = readField(body, 2, readOctets, `${what}.cipher`)
  body.end(what)
  return { etype, kvno, cipher }
}

export function writeEncryptedData(value: EncryptedData): Der {
  return sequence(field(0, int32(value.etype)), optionalField(1, value.kvno, uint32), field(2, octets(value.cipher)))
}

export function encodeEncryptedData(value: EncryptedData): Uint8Array {
  return encodeDer(writeEncryptedData(value))
}

/**
 * RFC 4120 §5.2.9
 *
 *     EncryptionKey ::= SEQUENCE {
 *       keytype  [0] Int32,
 *       keyvalue [1] OCTET STRING }
 */
export interface EncryptionKey {
  readonly keytype: number
  readonly keyvalue: Uint8Array
}

export function readEncryptionKey(from: ByteReader, what: string): EncryptionKey {
  const body = readSequence(from, what)
  const keytype = readField(body, 0, readInt32, `${what}.keytype`)
  const keyvalue = readField(body, 1, readOctets, `${what}.keyvalue`)
  body.end(what)
  return { keytype, keyvalue }
}

export function writeEncryptionKey(value: EncryptionKey): Der {
  return sequence(field(0, int32(value.keytype)), field(1, octets(value.keyvalue)))
}

/**
 * RFC 4120 §5.2.9
 *
 *     Checksum ::= SEQUENCE {
 *       cksumtype [0] Int32,
 *       checksum  [1] OCTET STRING }
 */
export interface Checksum {
  readonly type: number
  readonly checksum: Uint8Array
}

export function readChecksum(from: ByteReader, what: string): Checksum {
  const body = readSequence(from, what)
  const type = readField(body, 0, readInt32, `${what}.cksumtype`)
  const checksum = readField(body, 1, readOctets, `${what}.checksum`)
  body.end(what)
  return { type, checksum }
}

export function writeChecksum(value: Checksum): Der {
  return sequence(field(0, int32(value.type)), field(1, octets(value.checksum)))
}

export function encodeChecksum(value: Checksum): Uint8Array {
  return encodeDer(writeChecksum(value))
}

/** The fields `pvno` and `msg-type` that open every message: both are fixed. */
export function readMessageHead(body: ByteReader, first: number, pvno: number, type: number, what: string): void {
  const version = readField(body, first, readInt32, `${what}.pvno`)
  if (version !== pvno) throw malformed(`${what}: protocol version ${version}`)
  const found = readField(body, first + 1, readInt32, `${what}.msg-type`)
  if (found !== type) throw malformed(`${what}: message type ${found}, expected ${type}`) // RFC 4120 §5.4.1 check: K06
}
