import { ERROR, KDC_OPTION, type KdcReqBody, TICKET_FLAG } from '../krb5/messages/index.ts'
import { Refusal } from './krb-error.ts'
import { CLOCK_SKEW, MAX_LIFETIME, MAX_RENEWABLE_LIFETIME, wholeSecond } from './tickets.ts'

/** Options of RFC 4120 §5.4.1 (the last: MS-SFU §2.2.3) that this realm knows only to refuse or to heed here. */
export const OPTION = {
  PROXY: 0x08000000,
  POSTDATED: 0x02000000,
  CNAME_IN_ADDL_TKT: 0x00020000,
  DISABLE_TRANSITED_CHECK: 0x00000020,
  ENC_TKT_IN_SKEY: 0x00000008,
} as const

/** Nothing but a ticket-granting ticket can be asked for these (RFC 4120 §3.1.3). */
const NOT_FOR_AS =
  KDC_OPTION.FORWARDED |
  OPTION.PROXY |
  KDC_OPTION.RENEW |
  KDC_OPTION.VALIDATE |
  OPTION.ENC_TKT_IN_SKEY |
  OPTION.CNAME_IN_ADDL_TKT

/** Postdated tickets, user-to-user and constrained delegation: none here, so no ticket waits for validation either. */
const NOT_FOR_TGS = KDC_OPTION.VALIDATE | OPTION.ENC_TKT_IN_SKEY | OPTION.CNAME_IN_ADDL_TKT

/** RFC 4120 §3.3.3: what each option of a TGS-REQ needs the presented ticket to be. */
const NEEDS: readonly (readonly [option: number, flag: number])[] = [
  [KDC_OPTION.FORWARDABLE, TICKET_FLAG.forwardable],
  [KDC_OPTION.FORWARDED, TICKET_FLAG.forwardable],
  [KDC_OPTION.PROXIABLE, TICKET_FLAG.proxiable],
  [OPTION.PROXY, TICKET_FLAG.proxiable],
  [KDC_OPTION.RENEWABLE, TICKET_FLAG.renewable],
  [KDC_OPTION.RENEW, TICKET_FLAG.renewable],
]

/** Options whose number is that of the flag they set (RFC 4120 §5.4.1). */
const SETS_ITSELF =
  KDC_OPTION.FORWARDABLE | KDC_OPTION.FORWARDED | KDC_OPTION.PROXIABLE | OPTION.PROXY | KDC_OPTION.RENEWABLE

/** Flags that a ticket has because the one it was got with has them (RFC 4120 §2.1, §2.6). */
const INHERITED = TICKET_FLAG['pre-authent'] | TICKET_FLAG['hw-authent'] | TICKET_FLAG.forwarded

/** The part of the presented ticket that a new one depends on. */
export interface Presented {
  readonly flags: number
  readonly authtime: number
  readonly starttime: number | undefined
  readonly endtime: number
  readonly renewTill: number | undefined
}

export interface Terms {
  readonly flags: number
  readonly authtime: number
  readonly starttime: number
  readonly endtime: number
  readonly renewTill: number | undefined
}

export function has(body: KdcReqBody, option: number): boolean {
  return (body.kdcOptions & option) !== 0
}

/** Flags and times of a ticket for a password (RFC 4120 §3.1.3). Options that are unknown are ignored (§2). */
export function initialTerms(body: KdcReqBody, now: number): Terms {
  if (has(body, NOT_FOR_AS)) throw new Refusal(ERROR.KDC_ERR_BADOPTION)
  refusePostdating(body, now)
  const starttime = wholeSecond(now)
  const ends = lifetime(body, starttime, { endtime: starttime + MAX_LIFETIME, renewTill: Number.POSITIVE_INFINITY })
  const flags = (body.kdcOptions & SETS_ITSELF) | TICKET_FLAG.initial | TICKET_FLAG['pre-authent']
  return { ...withRenewal(flags, ends), authtime: starttime, starttime }
}

/** Flags and times of a ticket for a ticket (RFC 4120 §3.3.3). */
export function derivedTerms(body: KdcReqBody, now: number, from: Presented): Terms {
  const unmet = NEEDS.some(([option, flag]) => has(body, option) && (from.flags & flag) === 0)
  if (unmet || has(body, NOT_FOR_TGS)) throw new Refusal(ERROR.KDC_ERR_BADOPTION)
  refusePostdating(body, now)
  const starttime = wholeSecond(now)
  if (has(body, KDC_OPTION.RENEW)) return renewedTerms(body, starttime, from)

  const canRenew = (from.flags & TICKET_FLAG.renewable) !== 0
  const limits = { endtime: from.endtime, renewTill: canRenew ? (from.renewTill ?? 0) : undefined }
  const ends = lifetime(body, starttime, limits)
  const checked = has(body, OPTION.DISABLE_TRANSITED_CHECK) ? 0 : TICKET_FLAG['transited-policy-checked']
  const flags = (body.kdcOptions & SETS_ITSELF) | (from.flags & INHERITED) | checked
  return { ...withRenewal(flags, ends), authtime: from.authtime, starttime }
}

/**
 * The same ticket once more, as long as it was, until its renewal ends (RFC 4120 §3.3.3). It is forwardable, proxiable and renewable only
 * when the request says so, at the KDCs of MIT, Heimdal and Samba too.
 */
function renewedTerms(body: KdcReqBody, starttime: number, from: Presented): Terms {
  const renewTill = from.renewTill ?? 0
  if (renewTill <= starttime) throw new Refusal(ERROR.KRB_AP_ERR_TKT_EXPIRED)
  const life = from.endtime - (from.starttime ?? from.authtime)
  const endtime = Math.min(starttime + life, renewTill)
  const flags = (body.kdcOptions & SETS_ITSELF) | (from.flags & (INHERITED | TICKET_FLAG.initial))
  const ends = { endtime, renewTill: has(body, KDC_OPTION.RENEWABLE) ? renewTill : undefined }
  return { ...withRenewal(flags, ends), authtime: from.authtime, starttime }
}

/** RFC 4120 §3.1.3: a start in the past is now; one in the future needs POSTDATED, which is not to be had here. */
function refusePostdating(body: KdcReqBody, now: number): void {
  const later = body.from !== undefined && body.from > now + CLOCK_SKEW
  if (later || has(body, OPTION.POSTDATED)) throw new Refusal(ERROR.KDC_ERR_CANNOT_POSTDATE)
}

/** `renewTill` of the limits is undefined where nothing renewable may come of it. */
interface Ends {
  readonly endtime: number
  readonly renewTill: number | undefined
}

function lifetime(body: KdcReqBody, starttime: number, limits: Ends): Ends {
  // RFC 4120 §3.1.3: 19700101000000Z asks for all that can be had.
  const till = body.till === 0 ? Number.POSITIVE_INFINITY : body.till
  const endtime = Math.min(till, limits.endtime, starttime + MAX_LIFETIME)
  if (endtime <= starttime) throw new Refusal(ERROR.KDC_ERR_NEVER_VALID)

  const most = limits.renewTill === undefined ? 0 : Math.min(limits.renewTill, starttime + MAX_RENEWABLE_LIFETIME)
  if (has(body, KDC_OPTION.RENEWABLE)) {
    const rtime = body.rtime === undefined || body.rtime === 0 ? Number.POSITIVE_INFINITY : body.rtime
    return { endtime, renewTill: Math.min(rtime, most) }
  }
  // RENEWABLE-OK: a renewable ticket in place of one that lasts as long as asked for (RFC 4120 §2.3).
  if (has(body, KDC_OPTION.RENEWABLE_OK) && endtime < till && most > endtime) {
    return { endtime, renewTill: Math.min(till, most) }
  }
  return { endtime, renewTill: undefined }
}

function withRenewal(flags: number, { endtime, renewTill }: Ends): Ends & { readonly flags: number } {
  const renewable = renewTill === undefined ? 0 : TICKET_FLAG.renewable
  return { flags: (flags & ~TICKET_FLAG.renewable) | renewable, endtime, renewTill }
}
