import { uint32be } from '../bytes/bytes.ts'
import { quote } from '../bytes/text.ts'
import { UsageError } from '../errors.ts'
import {
  type EncKdcRepPart,
  type EncryptedData,
  type EtypeInfo2Entry,
  type KdcRep,
  type KdcReqBody,
  MESSAGE,
  type PrincipalName,
} from '../krb5/messages/index.ts'

/** What a realm can be made to do wrong, by name. A client under test must notice. */
export const FAULTS = {
  'wrong-nonce': 'The encrypted part of every reply carries another nonce than the request.',
  'wrong-server': 'Every ticket is for HTTP/wrong.test, whatever was asked for.',
  'wrong-client': 'The clear part of every reply names the client mallory.',
  'weak-iterations': 'ETYPE-INFO2 asks for 1 iteration of the password hash.',
  'huge-iterations': 'ETYPE-INFO2 asks for 4 294 967 295 iterations of the password hash.',
  'preauth-forever': 'The AS answers KDC_ERR_PREAUTH_REQUIRED to every request, pre-authenticated or not.',
  skew: 'The clock of the KDC is 10 minutes ahead, and krb5.conf forbids to follow it (kdc_timesync = 0).',
  silent: 'The listener takes every request and never answers.',
  'too-big': 'Every answer over UDP is KRB_ERR_RESPONSE_TOO_BIG.',
  trickle: 'Every answer over TCP comes one byte at a time.',
  'rc4-only': 'ETYPE-INFO2 offers enctype 23 (rc4-hmac) and nothing else.',
  'wrong-enctype': 'The encrypted part of every reply is labelled with an enctype that was not asked for.',
  'late-end': 'The encrypted part of every reply ends the ticket a day later than asked for.',
  'kvno-mismatch': 'Every ticket for a service is under a newer key than the keytab has.',
  'account-locked': 'Every login is refused: KDC_ERR_CLIENT_REVOKED.',
  'password-refused': 'The password service takes no new password.',
  garbage: 'Every answer is random octets.',
  'hang-up': 'Every connection over TCP is closed in place of an answer.',
  referral: 'The TGS answers with a ticket for krbtgt/OTHER.TEST, whatever was asked for.',
} as const

export type FaultName = keyof typeof FAULTS

const RC4_HMAC = 23
const TEN_MINUTES = 600e6
const ONE_DAY = 86_400e6

/** One fault: the places where it reaches into the KDC. */
interface Distortion {
  readonly clockOffset?: number
  readonly hints?: (entries: readonly EtypeInfo2Entry[]) => readonly EtypeInfo2Entry[]
  readonly client?: (name: PrincipalName) => PrincipalName
  readonly server?: (name: PrincipalName, type: KdcRep['type']) => PrincipalName
  readonly part?: (part: EncKdcRepPart, request: KdcReqBody) => EncKdcRepPart
  readonly sealed?: (sealed: EncryptedData, request: KdcReqBody) => EncryptedData
}

const DISTORTIONS: Readonly<Record<FaultName, Distortion>> = {
  'wrong-nonce': { part: (part) => ({ ...part, nonce: (part.nonce ^ 1) >>> 0 }) },
  'wrong-server': { server: ({ nameType }) => ({ nameType, components: ['HTTP', 'wrong.test'] }) },
  'wrong-client': { client: ({ nameType }) => ({ nameType, components: ['mallory'] }) },
  'weak-iterations': { hints: (entries) => entries.map((entry) => ({ ...entry, s2kparams: uint32be(1) })) },
  'huge-iterations': { hints: (entries) => entries.map((entry) => ({ ...entry, s2kparams: uint32be(0xffffffff) })) },
  'preauth-forever': {}, // asked for by name in as-service.ts
  skew: { clockOffset: TEN_MINUTES },
  'kvno-mismatch': {}, // in tickets.ts
  'account-locked': {}, // in as-service.ts
  'password-refused': {}, // in kpasswd-service.ts
  silent: {}, // these five in listener.ts
  garbage: {},
  'hang-up': {},
  'too-big': {},
  trickle: {},
  'rc4-only': {
    hints: ([first]) => [{ etype: RC4_HMAC, salt: first?.salt, s2kparams: undefined }],
  },
  'wrong-enctype': {
    sealed: (sealed, { etype }) => ({
      ...sealed,
      etype: [17, 18, 19, 20].find((id) => !etype.includes(id)) ?? RC4_HMAC,
    }),
  },
  'late-end': { part: (part, { till }) => ({ ...part, endtime: Math.max(part.endtime, till) + ONE_DAY }) },
  referral: {
    server: (name, type) =>
      type === MESSAGE.TGS_REP ? { nameType: name.nameType, components: ['krbtgt', 'OTHER.TEST'] } : name,
  },
}

/** All chosen faults as one, each applied to what the one before it made. */
export interface Faults extends Required<Distortion> {
  has(name: FaultName): boolean
}

/** @throws {UsageError} `OPTION_INVALID` for a name that is not in `FAULTS` */
export function resolveFaults(names: readonly string[]): Faults {
  const chosen = names.map((name) => {
    if (isFaultName(name)) return DISTORTIONS[name]
    throw new UsageError('OPTION_INVALID', `faults: there is no ${quote(name)}`, {
      hint: `The faults are ${Object.keys(FAULTS).join(', ')}.`,
    })
  })
  return {
    has: (name) => names.includes(name),
    clockOffset: chosen.reduce((sum, { clockOffset = 0 }) => sum + clockOffset, 0),
    hints: (entries) => chosen.reduce((value, fault) => fault.hints?.(value) ?? value, entries),
    client: (name) => chosen.reduce((value, fault) => fault.client?.(value) ?? value, name),
    server: (name, type) => chosen.reduce((value, fault) => fault.server?.(value, type) ?? value, name),
    part: (part, request) => chosen.reduce((value, fault) => fault.part?.(value, request) ?? value, part),
    sealed: (sealed, request) => chosen.reduce((value, fault) => fault.sealed?.(value, request) ?? value, sealed),
  }
}

function isFaultName(name: string): name is FaultName {
  return Object.hasOwn(FAULTS, name)
}
