/** Numbers of RFC 4120 and its companions, in the registries' spelling. Numbers on the wire stay open: these are the known ones. */

/** RFC 4120 §7.5.7. The number is message type and application tag at once. */
export const MESSAGE = {
  TICKET: 1,
  AUTHENTICATOR: 2,
  ENC_TICKET_PART: 3,
  AS_REQ: 10,
  AS_REP: 11,
  TGS_REQ: 12,
  TGS_REP: 13,
  AP_REQ: 14,
  AP_REP: 15,
  KRB_PRIV: 21,
  KRB_CRED: 22,
  ENC_AS_REP_PART: 25,
  ENC_TGS_REP_PART: 26,
  ENC_AP_REP_PART: 27,
  ENC_KRB_PRIV_PART: 28,
  ENC_KRB_CRED_PART: 29,
  KRB_ERROR: 30,
} as const

/** The protocol version of every message (RFC 4120 §5). */
export const PVNO = 5

/** RFC 4120 §7.5.1. */
export const KEY_USAGE = {
  PA_ENC_TIMESTAMP: 1,
  TICKET: 2,
  AS_REP: 3,
  TGS_REQ_AUTHENTICATOR_CHECKSUM: 6,
  TGS_REQ_AUTHENTICATOR: 7,
  TGS_REP_SESSION_KEY: 8,
  TGS_REP_SUBKEY: 9,
  AP_REQ_AUTHENTICATOR_CHECKSUM: 10,
  AP_REQ_AUTHENTICATOR: 11,
  AP_REP: 12,
  KRB_PRIV: 13,
  KRB_CRED: 14,
} as const

/** RFC 4120 §7.5.2, RFC 6806 §11. */
export const PA = {
  TGS_REQ: 1,
  ENC_TIMESTAMP: 2,
  PW_SALT: 3,
  ETYPE_INFO: 11,
  ETYPE_INFO2: 19,
  FX_COOKIE: 133,
  REQ_ENC_PA_REP: 149,
} as const

/** RFC 4120 §5.3 and §5.4.1: bit 0 is the highest. Shared by tickets and KDC options where the names agree. */
export const TICKET_FLAG = {
  forwardable: 0x40000000,
  forwarded: 0x20000000,
  proxiable: 0x10000000,
  proxy: 0x08000000,
  'may-postdate': 0x04000000,
  postdated: 0x02000000,
  invalid: 0x01000000,
  renewable: 0x00800000,
  initial: 0x00400000,
  'pre-authent': 0x00200000,
  'hw-authent': 0x00100000,
  'transited-policy-checked': 0x00080000,
  'ok-as-delegate': 0x00040000,
  /** RFC 6806 §11. */
  'enc-pa-rep': 0x00010000,
  /** RFC 8062 §3. */
  anonymous: 0x00008000,
} as const

/** Realm of a client whose realm is hidden too (RFC 8062 §3). */
export const ANONYMOUS_REALM = 'WELLKNOWN:ANONYMOUS'

/** WELLKNOWN/ANONYMOUS: the name of a client that the KDC does not know (RFC 8062 §3). */
export function isAnonymousName({ components }: { readonly components: readonly string[] }): boolean {
  return components.length === 2 && components[0] === 'WELLKNOWN' && components[1] === 'ANONYMOUS'
}

/** RFC 4120 §5.4.1. */
export const KDC_OPTION = {
  FORWARDABLE: 0x40000000,
  FORWARDED: 0x20000000,
  PROXIABLE: 0x10000000,
  ALLOW_POSTDATE: 0x04000000,
  RENEWABLE: 0x00800000,
  /** RFC 6806 §5. */
  CANONICALIZE: 0x00010000,
  RENEWABLE_OK: 0x00000010,
  RENEW: 0x00000002,
  VALIDATE: 0x00000001,
} as const

/** RFC 4120 §5.5.1. */
export const AP_OPTION = {
  USE_SESSION_KEY: 0x40000000,
  MUTUAL_REQUIRED: 0x20000000,
} as const

/** RFC 4120 §7.5.3, those that are met. */
export const ADDRESS_TYPE = { IPV4: 2, IPV6: 24 } as const

/** RFC 4120 §7.5.4 and the assignments that tickets of Windows, MIT and Heimdal carry. */
export const AUTHORIZATION_DATA = {
  IF_RELEVANT: 1,
  KDC_ISSUED: 4,
  AND_OR: 5,
  MANDATORY_FOR_KDC: 8,
  /** RFC 7751 §3. */
  CAMMAC: 96,
  /** RFC 8129 §3. */
  AUTHENTICATION_INDICATOR: 97,
  /** MS-KILE §2.2.11 and §3.2.5.8. */
  WIN2K_PAC: 128,
  /** RFC 4537 §3. */
  ETYPE_NEGOTIATION: 129,
  /** MS-KILE §2.2.6. */
  TOKEN_RESTRICTIONS: 141,
  LOCAL: 142,
  AP_OPTIONS: 143,
  TARGET_PRINCIPAL: 144,
} as const

/** The names of the flags that are set, in the RFC's spelling. */
export function ticketFlagNames(flags: number): ReadonlySet<string> {
  return new Set(Object.entries(TICKET_FLAG).flatMap(([name, bit]) => ((flags & bit) !== 0 ? [name] : [])))
}
