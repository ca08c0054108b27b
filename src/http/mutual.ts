import { UsageError } from '../errors.ts'
import type { MutualAuthentication } from './client-options.ts'

/** What becomes of a response. */
export type Verdict = 'deliver' | 'error' | 'sanitize'

/** What the server gave for a proof. */
export type Proof = 'verified' | 'failed' | 'none' | 'never-challenged'

/** `auto` with a certificate that was verified is a row of its own: then somebody has vouched for the server already. */
export type MutualRow = MutualAuthentication | 'auto-certified'

/** A row: the verdict by proof; without one a status of 400 or more may differ from the rest. */
interface Row {
  readonly verified: Verdict
  readonly failed: Verdict
  readonly none: Verdict
  readonly noneOnError: Verdict
  readonly neverChallenged: Verdict
  readonly neverChallengedOnError: Verdict
}

/** Somebody must vouch for the server: the certificate or the AP-REP (RFC 4559 §5: a 200 with a token proves it; one without does not). */
const TABLE: Readonly<Record<MutualRow, Row>> = {
  required: {
    verified: 'deliver',
    failed: 'error',
    none: 'error',
    noneOnError: 'sanitize',
    neverChallenged: 'error',
    neverChallengedOnError: 'sanitize',
  },
  'auto-certified': {
    verified: 'deliver',
    failed: 'error',
    none: 'deliver',
    noneOnError: 'deliver',
    neverChallenged: 'deliver',
    neverChallengedOnError: 'deliver',
  },
  auto: {
    verified: 'deliver',
    failed: 'error',
    none: 'error',
    noneOnError: 'sanitize',
    neverChallenged: 'deliver',
    neverChallengedOnError: 'deliver',
  },
  optional: {
    verified: 'deliver',
    failed: 'error',
    none: 'deliver',
    noneOnError: 'deliver',
    neverChallenged: 'deliver',
    neverChallengedOnError: 'deliver',
  },
  disabled: {
    verified: 'deliver',
    failed: 'deliver',
    none: 'deliver',
    noneOnError: 'deliver',
    neverChallenged: 'deliver',
    neverChallengedOnError: 'deliver',
  },
}

/** Whether only an exchange that was verified may answer: then what cannot carry one is refused. */
export function isRequired({ mutualAuthentication }: { readonly mutualAuthentication: MutualAuthentication }): boolean {
  return mutualAuthentication === 'required'
}

export function mutualVerdict(mode: MutualAuthentication, certified: boolean, proof: Proof, status: number): Verdict {
  const row = TABLE[mode === 'auto' && certified ? 'auto-certified' : mode]
  switch (proof) {
    case 'verified':
      return row.verified
    case 'failed':
      return row.failed
    case 'none':
      return status >= 400 ? row.noneOnError : row.none
    case 'never-challenged':
      return status >= 400 ? row.neverChallengedOnError : row.neverChallenged
  }
}

/**
 * For a request with credentials of the caller's own, which carries no login.
 *
 * @throws {UsageError} `OPTION_UNSUPPORTED` where mutual authentication is required: nothing would prove who answers
 */
export function refuseOwnCredentials(settings: Parameters<typeof isRequired>[0]): void {
  if (!isRequired(settings)) return
  const message = 'a request with an Authorization of its own carries no login, which is required'
  throw new UsageError('OPTION_UNSUPPORTED', message, {
    hint: 'Leave Authorization (auth, a password in the URL) out, or send it by a client with another mutualAuthentication.',
  })
}
