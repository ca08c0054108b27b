import { KerberosError, VerificationError } from '../../errors.ts'
import type { VerifiedApReq } from '../../krb5/exchange/index.ts'
import { mustBeNow } from '../../options.ts'
import type { ReplayStore } from '../context.ts'

/** Authenticators older than the acceptor's memory by more than this (microseconds) are refused: whether they were used is not known. */
const START_TOLERANCE = 1e6
/** Entries are kept for so long (milliseconds) after the last moment at which the authenticator would be accepted. */
const EXPIRY_MARGIN_MS = 1000

export interface ReplayRules {
  readonly replayStore: ReplayStore
  /** When the acceptor came to be, microseconds since 1970, for stores that do not say since when they remember. */
  readonly startedAt: number
}

/**
 * Refuses an authenticator that was used before (RFC 4120 §3.2.3). Only a client with a valid ticket comes this far, so strangers cannot fill the store.
 *
 * @param now microseconds since 1970
 * @param clockSkew microseconds
 */
export async function checkReplay(
  request: VerifiedApReq,
  now: number,
  clockSkew: number,
  rules: ReplayRules,
): Promise<void> {
  const { ctime } = request.authenticator
  const expiresAt = Math.max(ctime, now) / 1000 + retentionMs(clockSkew)
  const verdict = await askStore(request, expiresAt, rules.replayStore)
  if (verdict !== 'fresh') throw replayed() // check: S40
  const age = rememberedSince(rules) - ctime
  if (!(age <= START_TOLERANCE)) throw beforeStart(age) // check: S43
}

/** For how many milliseconds an acceptor needs an entry after the authenticator's time. @param clockSkew microseconds */
export function retentionMs(clockSkew: number): number {
  return clockSkew / 1000 + EXPIRY_MARGIN_MS
}

/** Asked after the store's answer: only then it may have noticed that it has forgotten. */
function rememberedSince({ replayStore, startedAt }: ReplayRules): number {
  let since: number | undefined
  try {
    since = mustBeNow('rememberedSince', replayStore.rememberedSince?.())
  } catch (error) {
    throw storeUnavailable(error) // check: S47
  }
  return since === undefined ? startedAt : since * 1000
}

/** A store that cannot answer is no reason to accept; its own error says why (RFC 4120 §3.2.3). */
async function askStore(
  { replayKey, authenticator, client }: VerifiedApReq,
  expiresAt: number,
  store: ReplayStore,
): Promise<'fresh' | 'replay'> {
  try {
    const details = { time: authenticator.ctime / 1000, client: client.toString() }
    const answer = store.checkAndStore(replayKey, expiresAt, details)
    return typeof answer === 'string' ? answer : await answer
  } catch (error) {
    throw error instanceof KerberosError ? error : storeUnavailable(error) // check: S47
  }
}

function beforeStart(age: number): VerificationError {
  const seconds = Math.ceil(age / 1e6)
  const message = `the token was made ${seconds} s before this server, or what remembers tokens for it, started`
  return new VerificationError('BEFORE_START', message, {
    hint: `Send a new one; if the client’s clock is slow, its tokens are accepted in ${seconds} s.`,
  })
}

function storeUnavailable(cause: unknown): VerificationError {
  return new VerificationError('REPLAY_STORE_UNAVAILABLE', 'the replay store does not answer', {
    cause,
    hint: 'Nothing is accepted until it does: check the store that the replayStore option names.',
  })
}

function replayed(): VerificationError {
  return new VerificationError('REPLAY', 'the token has been used before', {
    hint: 'Make a new token for each request; if no client did this, somebody copied one.',
  })
}
