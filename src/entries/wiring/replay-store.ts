import { MemoryReplayStore as Table } from '../../krb5/exchange/index.ts'
import { integerIn, ownOptions, rejectUnknown } from '../../options.ts'
import { monotonic } from '../../system/index.ts'

export interface MemoryReplayStoreOptions {
  /** Most live entries, 1 to 50 000 000, at up to 64 octets each. Default 1 000 000. When full, logins are refused until entries expire. */
  readonly maxEntries?: number | undefined
  /** Milliseconds since 1970; must be the acceptor's clock. Default `Date.now`. */
  readonly now?: (() => number) | undefined
}

/** Remembers authenticators in this process (RFC 4120 §3.2.3). What every acceptor has when it is given no other. */
export class MemoryReplayStore extends Table {
  constructor(options: MemoryReplayStoreOptions = {}) {
    const { maxEntries = 1_000_000, now = Date.now, ...unknown } = ownOptions('MemoryReplayStore', options)
    rejectUnknown('MemoryReplayStore', unknown)
    super({ maxEntries: integerIn('maxEntries', maxEntries, 1, 50_000_000), now, monotonic })
  }
}
