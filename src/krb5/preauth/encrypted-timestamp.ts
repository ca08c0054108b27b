import { listOf, shorten } from '../../bytes/text.ts'
import { CONFOUNDER_BYTES, enctypeName, isSupportedEnctype, type Key, parseIterations } from '../../crypto/index.ts'
import { MalformedError, VerificationError } from '../../errors.ts'
import {
  decodeEtypeInfo2,
  type EtypeInfo2Entry,
  encodeEncryptedData,
  encodePaEncTsEnc,
  KEY_USAGE,
  PA,
  type PaData,
  type Principal,
} from '../messages/index.ts'

/** Longest salt that is used, in characters. */
const MAX_SALT_CHARACTERS = 1024

/** How to make the client's key: the KDC's word, checked against what was asked for. */
export interface KeyHints {
  readonly enctype: number
  readonly salt: string
  readonly iterations: number
}

/**
 * The first entry of the KDC's ETYPE-INFO2 whose enctype was asked for (RFC 4120 §5.2.7.5), or undefined when it sent none. ETYPE-INFO (the
 * first) and PW-SALT are ignored: the same section forbids them in an answer to a request that lists AES.
 */
export function keyHints(padata: readonly PaData[], asked: readonly number[], client: Principal): KeyHints | undefined {
  const info = padata.find((one) => one.type === PA.ETYPE_INFO2)
  if (info === undefined) return undefined
  const entries = decodeEtypeInfo2(info.value)
  const entry = entries.find(({ etype }) => asked.includes(etype) && isSupportedEnctype(etype))
  if (entry === undefined) throw noneOffered(entries, client) // check: K12
  const salt = entry.salt ?? defaultSalt(client)
  if (salt.length > MAX_SALT_CHARACTERS) throw new MalformedError('MALFORMED', `salt of ${salt.length} characters`)
  return { enctype: entry.etype, salt, iterations: parseIterations(entry.s2kparams, entry.etype) }
}

function noneOffered(entries: readonly EtypeInfo2Entry[], client: Principal): VerificationError {
  const offered = listOf(entries.map(({ etype }) => enctypeName(etype)))
  return new VerificationError('ENCTYPE_REFUSED', `the KDC offers only ${offered} for ${shorten(client.toString())}`, {
    hint: 'Give the account AES keys: change its password once at a current KDC.',
  })
}

/** Realm and components, unseparated (RFC 4120 §4). */
export function defaultSalt(client: Principal): string {
  return client.realm + client.components.join('')
}

/** PA-ENC-TIMESTAMP (RFC 4120 §5.2.7.2): the present time under the client's key proves that it is known. */
export function encryptedTimestamp(key: Key, now: number, random: (length: number) => Uint8Array): PaData {
  const cipher = key.encrypt(KEY_USAGE.PA_ENC_TIMESTAMP, encodePaEncTsEnc(now), random(CONFOUNDER_BYTES))
  return { type: PA.ENC_TIMESTAMP, value: encodeEncryptedData({ etype: key.enctype, kvno: undefined, cipher }) }
}
