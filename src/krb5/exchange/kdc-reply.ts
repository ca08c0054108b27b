import { quote } from '../../bytes/text.ts'
import { enctypeName } from '../../crypto/index.ts'
import { VerificationError } from '../../errors.ts'
import {
  type EncKdcRepPart,
  type KdcRep,
  type KdcReqBody,
  MESSAGE,
  type Principal,
  principalOf,
} from '../messages/index.ts'
import { clockOffset } from './clock-offset.ts'
import type { Credential } from './credential.ts'
import { keyFromWire } from './key-from-wire.ts'

/** Largest difference between the KDC's clock and ours (RFC 4120 §8.2). Microseconds. */
const DEFAULT_SKEW = 300e6

export interface Asked {
  readonly body: KdcReqBody
  readonly client: Principal
  readonly server: Principal
  readonly now: number
  /** Microseconds; RFC 4120 §8.2 recommends 5 minutes. */
  readonly clockSkew?: number | undefined
  /** The KDC's clock minus ours as far as it is known; 'learn' takes it from the reply, whose nonce says that it was made just now. */
  readonly clockOffset?: number | 'learn' | undefined
}

/** The clear part: who it is for, and under which enctype (RFC 4120 §3.1.5, §3.3.4). */
export function checkReplyHead(reply: KdcRep, { body, client }: Asked): void {
  const found = principalOf(reply.cname, reply.crealm)
  if (!client.equals(found)) throw mismatch(`it is for ${quote(found.toString())}, not for ${quote(client.toString())}`) // check: K02
  if (!body.etype.includes(reply.encPart.etype)) throw notAsked('the reply', reply.encPart.etype) // check: K10
}

/**
 * The decrypted part against the request (RFC 4120 §3.1.5): only now is the reply known to come from the KDC, and only what lies inside is
 * believed. The clear-text names of the ticket must agree with it.
 */
export function checkReplyPart(reply: KdcRep, part: EncKdcRepPart, asked: Asked): Credential {
  const { body, client, server, clockSkew = DEFAULT_SKEW } = asked
  if (part.nonce !== body.nonce) throw mismatch('its nonce is of another request') // check: K04 K05

  const named = principalOf(part.sname, part.srealm)
  if (!server.equals(named)) throw mismatch(`it is a ticket for ${quote(named.toString())}`) // check: K03 C63
  const shown = principalOf(reply.ticket.sname, reply.ticket.realm)
  if (!named.equals(shown)) throw mismatch(`the ticket is labelled ${quote(shown.toString())}`) // check: K01
  if (!body.etype.includes(part.key.keytype)) throw notAsked('the session key', part.key.keytype) // check: K11

  const offset = offsetOf(part, asked)
  const now = asked.now + offset
  const startTime = part.starttime ?? part.authtime
  if (part.endtime > body.till) throw mismatch('it ends later than asked for') // check: K09
  // Without rtime nothing was asked for: MIT's TGS then gives what the ticket-granting ticket has.
  const mostRenewable = body.rtime === undefined ? Number.POSITIVE_INFINITY : Math.max(body.rtime, body.till)
  if ((part.renewTill ?? 0) > mostRenewable) throw mismatch('it is renewable for longer than asked for') // check: K09
  if (Math.abs(startTimeDifference(startTime, part, reply, now)) > clockSkew) throw mismatch('it does not start now') // check: K09
  if (part.endtime <= startTime) throw mismatch('it ends before it starts') // check: K09
  return {
    client,
    server,
    ticket: reply.ticket,
    sessionKey: keyFromWire(part.key, 'EncKDCRepPart.key'),
    flags: part.flags,
    authTime: part.authtime,
    startTime,
    endTime: part.endtime,
    renewTill: part.renewTill,
    addresses: part.caddr,
    clockOffset: offset,
  }
}

function offsetOf({ authtime }: EncKdcRepPart, asked: Asked): number {
  if (asked.clockOffset !== 'learn') return asked.clockOffset ?? 0
  const offset = clockOffset(authtime, asked.now)
  if (offset === undefined) throw mismatch('it was made on another day') // check: K28
  return offset
}

/** A TGS reply without `starttime` starts at `authtime`, which may be hours ago (RFC 4120 §5.3); a login happens now. */
function startTimeDifference(startTime: number, part: EncKdcRepPart, { type }: KdcRep, now: number): number {
  const longAgo = type === MESSAGE.TGS_REP && part.starttime === undefined && startTime < now
  return longAgo ? 0 : startTime - now
}

export function mismatch(why: string): VerificationError {
  return new VerificationError('REPLY_MISMATCH', `the KDC’s reply does not answer the request: ${why}`, {
    hint: 'Somebody between this machine and the KDC may be forging replies; check the kdc addresses in krb5.conf.',
  })
}

function notAsked(what: string, etype: number): VerificationError {
  return new VerificationError('ENCTYPE_REFUSED', `${what} uses ${enctypeName(etype)}, which was not asked for`, {
    hint: 'Give the account AES keys: change its password once at a current KDC.',
  })
}
