import {
  element,
  encodeDer,
  enumerated,
  field,
  octets,
  oid,
  optionalField,
  readElement,
  readEnumerated,
  readField,
  readKerberosFlags,
  readOctets,
  readOptionalField,
  readRaw,
  readSequence,
  readSequenceOf,
  sequence,
  sequenceOf,
  TAG,
} from '../../asn1/index.ts'
import { ByteReader } from '../../bytes/reader.ts'
import { malformed } from '../../errors.ts'
import { decodeFrame, encodeFrame, MECHANISM, mechanismOid, readMechanism } from '../context.ts'

/** Most mechanisms that an initiator may offer. */
export const MAX_MECHANISMS = 16

/** RFC 4178 §4.2.2 */
export const NEG_STATE = { ACCEPT_COMPLETED: 0, ACCEPT_INCOMPLETE: 1, REJECT: 2, REQUEST_MIC: 3 } as const
export type NegState = (typeof NEG_STATE)[keyof typeof NEG_STATE]

/**
 * RFC 4178 §4.2.1
 *
 *     NegTokenInit ::= SEQUENCE {
 *       mechTypes   [0] MechTypeList,
 *       reqFlags    [1] ContextFlags OPTIONAL -- to be ignored,
 *       mechToken   [2] OCTET STRING OPTIONAL,
 *       mechListMIC [3] OCTET STRING OPTIONAL, ... }
 */
export interface NegTokenInit {
  readonly mechTypes: readonly string[]
  /** The DER of the MechTypeList as it came: the MIC covers these very octets (RFC 4178 §5). */
  readonly rawMechTypes: Uint8Array
  readonly mechToken: Uint8Array | undefined
  readonly mechListMic: Uint8Array | undefined
}

/** Framed (RFC 4178 §4.2) or, as some send it, bare. */
export function decodeNegTokenInit(token: Uint8Array): NegTokenInit {
  const what = 'NegTokenInit'
  const from = new ByteReader(token[0] === TAG.CONTEXT ? token : unframe(token))
  const outer = readElement(from, TAG.CONTEXT | 0, what)
  const body = readSequence(outer, what)
  const rawMechTypes = readField(body, 0, readRaw, 'NegTokenInit.mechTypes')
  readOptionalField(body, 1, readKerberosFlags, 'NegTokenInit.reqFlags')
  const mechToken = readOptionalField(body, 2, readOctets, 'NegTokenInit.mechToken')
  const mechListMic = readOptionalField(body, 3, readOctets, 'NegTokenInit.mechListMIC')
  body.end(what)
  outer.end(what)
  from.end(what)
  const list = new ByteReader(rawMechTypes)
  const mechTypes = readSequenceOf(list, readMechanism, 'NegTokenInit.mechTypes', MAX_MECHANISMS)
  list.end('NegTokenInit.mechTypes')
  if (mechTypes.length === 0) throw malformed('NegTokenInit: no mechanism is offered') // check: S09
  return { mechTypes, rawMechTypes, mechToken, mechListMic }
}

function unframe(token: Uint8Array): Uint8Array {
  const { mechanism, inner } = decodeFrame(token)
  if (mechanism !== MECHANISM.SPNEGO) throw malformed(`mechanism ${mechanism} instead of SPNEGO`)
  return inner
}

export function encodeMechTypes(mechTypes: readonly string[]): Uint8Array {
  return encodeDer(sequenceOf(mechTypes, oid))
}

export function encodeNegTokenInit(rawMechTypes: Uint8Array, mechToken: Uint8Array | undefined): Uint8Array {
  const body = sequence(field(0, rawMechTypes), optionalField(2, mechToken, octets))
  return encodeFrame(MECHANISM.SPNEGO, element(TAG.CONTEXT | 0, body))
}

/**
 * RFC 4178 §4.2.2
 *
 *     NegTokenResp ::= SEQUENCE {
 *       negState      [0] ENUMERATED OPTIONAL,
 *       supportedMech [1] MechType OPTIONAL,
 *       responseToken [2] OCTET STRING OPTIONAL,
 *       mechListMIC   [3] OCTET STRING OPTIONAL, ... }
 */
export interface NegTokenResp {
  readonly negState: NegState | undefined
  readonly supportedMech: string | undefined
  readonly responseToken: Uint8Array | undefined
  readonly mechListMic: Uint8Array | undefined
}

export function decodeNegTokenResp(token: Uint8Array): NegTokenResp {
  const what = 'NegTokenResp'
  const from = new ByteReader(token)
  const outer = readElement(from, TAG.CONTEXT | 1, what) // check: C29
  const body = readSequence(outer, what)
  const negState = readOptionalField(body, 0, readNegState, 'NegTokenResp.negState')
  const supportedMech = readOptionalField(body, 1, readMechanism, 'NegTokenResp.supportedMech')
  const responseToken = readOptionalField(body, 2, readOctets, 'NegTokenResp.responseToken')
  const mechListMic = readOptionalField(body, 3, readOctets, 'NegTokenResp.mechListMIC')
  body.end(what)
  outer.end(what)
  from.end(what)
  return { negState, supportedMech, responseToken, mechListMic }
}

function readNegState(from: ByteReader, what: string): NegState {
  const state = readEnumerated(from, what)
  const known = Object.values(NEG_STATE).find((one) => one === state)
  if (known === undefined) throw malformed(`${what}: ${state}`) // RFC 4178 §4.2.2 check: P20
  return known
}

export function encodeNegTokenResp(value: Partial<NegTokenResp>): Uint8Array {
  return encodeDer(
    element(
      TAG.CONTEXT | 1,
      sequence(
        optionalField(0, value.negState, enumerated),
        optionalField(1, value.supportedMech, mechanismOid),
        optionalField(2, value.responseToken, octets),
        optionalField(3, value.mechListMic, octets),
      ),
    ),
  )
}
