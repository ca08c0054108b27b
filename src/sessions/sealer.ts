import { parse, serialize } from 'cookie'
import { base64url, CompactEncrypt, calculateJwkThumbprint, compactDecrypt, decodeProtectedHeader } from 'jose'
import { utf8 } from '../bytes/bytes.ts'
import { readUtf8 } from '../bytes/text.ts'
import type { CookieAttributes, OpenSession, Session, SessionSealer } from '../http/sessions.ts'

/** RFC 7518 §4.5, §5.3: the key itself, with a nonce of 96 random bits for each cookie. */
const ALGORITHM = 'dir'
const ENCRYPTION = 'A256GCM'
const TYPE = 'spnego-session'
/** Characters of a thumbprint: enough to tell sixteen keys apart, and it stands in every cookie. */
const KEY_ID_CHARACTERS = 11
const ID_BYTES = 16

/** What is sealed. Names are short because browsers send them with each request; `sub`, `aud` and `jti` are those of RFC 7519 §4.1. */
interface Claims {
  readonly aud: string
  readonly sub: string
  readonly jti: string
  readonly name: string
  readonly realm: string
  /** How the login was proven, and by which service, if known. */
  readonly by: string
  readonly for?: string | undefined
  readonly direct: boolean
  readonly checked: boolean
  readonly bound: boolean
  /** Milliseconds, which `iat` and `exp` have not. */
  readonly from: number
  readonly until: number
}

/**
 * @param keys 32 octets each; the first one seals, each of them opens
 * @param random octets
 */
export async function sessionSealer(
  keys: readonly [Uint8Array, ...Uint8Array[]],
  random: (length: number) => Uint8Array,
): Promise<SessionSealer> {
  const ids = await Promise.all(keys.map(keyId))
  const [newest] = keys
  const [newestId] = ids
  const header = { alg: ALGORITHM, enc: ENCRYPTION, typ: TYPE, kid: newestId as string }

  return {
    async seal(session, audience) {
      const claims = utf8(JSON.stringify(claimsOf(session, audience)))
      return new CompactEncrypt(claims).setProtectedHeader(header).encrypt(newest)
    },
    async open(text, audience) {
      const at = ids.indexOf(keyIdOf(text) ?? '')
      const key = keys[at]
      if (key === undefined) return undefined
      const claims = await decrypted(text, key)
      return claims === undefined ? undefined : opened(claims, audience, at > 0)
    },
    readCookie: (fields, name) => parse(fields.join('; '), { decode: (value) => value })[name],
    writeCookie,
    newId: () => base64url.encode(random(ID_BYTES)),
  }
}

/** RFC 7638: of a random key it tells nothing. */
async function keyId(key: Uint8Array): Promise<string> {
  const thumbprint = await calculateJwkThumbprint({ kty: 'oct', k: base64url.encode(key) })
  return thumbprint.slice(0, KEY_ID_CHARACTERS)
}

/** Read before anything is opened, so that what strangers make up costs no decryption. */
function keyIdOf(text: string): string | undefined {
  try {
    return decodeProtectedHeader(text).kid
  } catch {
    return undefined
  }
}

/** Undefined for what was altered, made by another, or made otherwise. */
async function decrypted(text: string, key: Uint8Array): Promise<Claims | undefined> {
  try {
    const { plaintext, protectedHeader } = await compactDecrypt(text, key, {
      keyManagementAlgorithms: [ALGORITHM],
      contentEncryptionAlgorithms: [ENCRYPTION],
    })
    return protectedHeader.typ === TYPE
      ? ((JSON.parse(readUtf8(plaintext, 'session')) ?? undefined) as Claims | undefined)
      : undefined
  } catch {
    return undefined
  }
}

function claimsOf(session: Session, audience: string): Claims {
  const { id, principal, name, realm, channelBound, startedAt, expiresAt, proof } = session
  return {
    aud: audience,
    sub: principal,
    jti: id,
    name,
    realm,
    by: proof.mechanism,
    for: proof.service,
    direct: proof.isDirect,
    checked: proof.isPathChecked,
    bound: channelBound,
    from: startedAt,
    until: expiresAt,
  }
}

/** Only who has a key can have sealed it; but it may be for another cookie, or by another version of this package. */
function opened(claims: Claims, audience: string, isOld: boolean): OpenSession | undefined {
  const { aud, sub, jti, name, realm, by, for: service, direct, checked, bound, from, until } = claims
  const isWhole =
    [sub, jti, name, realm].every((text) => typeof text === 'string') &&
    (by === 'negotiate' || by === 'basic') &&
    (service === undefined || typeof service === 'string') &&
    [bound, direct, checked].every((flag) => typeof flag === 'boolean') &&
    Number.isFinite(from) &&
    Number.isFinite(until)
  if (aud !== audience || !isWhole) return undefined
  const session: Session = {
    id: jti,
    principal: sub,
    name,
    realm,
    channelBound: bound,
    proof: { mechanism: by, service, isDirect: direct, isPathChecked: checked },
    startedAt: from,
    expiresAt: until,
  }
  return { session: Object.freeze(session), isOld }
}

/** RFC 6265 §4.1.2: no script reads it, the whole host gets it; without Max-Age it ends with the browser. */
function writeCookie(name: string, value: string, { secure, sameSite, remove }: CookieAttributes): string {
  return serialize(name, value, {
    httpOnly: true,
    path: '/',
    sameSite,
    secure: secure || sameSite === 'none', // RFC 6265bis §5.6: browsers refuse the one without the other
    ...(remove === true ? { maxAge: 0 } : {}),
  })
}
