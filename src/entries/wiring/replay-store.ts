import { MemoryReplayStore as Table } from '../../krb5/exchange/index.ts'
import { ownOptions, rejectUnknown } from '../../options.ts'
import { monotonic } from '../../system/index.ts'

export interface MemoryReplayStoreOptions {
  /** Most live entries, 1 to 50 000 000, 32 octets each. Default 1 000 000. When full, logins are refused until entries expire. */
  readonly maxEntries?: number | undefined
  /** Milliseconds since 1970; must be the acceptor's clock. Default `Date.now`. */
  readonly now?: (() => number) | undefined
}

/** Remembers authenticators in this process (RFC 4120 §3.2.3). What every acceptor has when it is given no other. */
export class MemoryReplayStore extends Table {
  /** @throws {UsageError} `OPTION_UNKNOWN`, `OPTION_INVALID` */
  constructor(options: MemoryReplayStoreOptions = {}) {
    const { maxEntries, now = Date.now, ...unknown } = ownOptions('MemoryReplayStore', options)
    rejectUnknown('MemoryReplayStore', unknown)
    super({ maxEntries, now, monotonic })
  }
}
