import { describe, expect, test } from 'vitest'
import {
  CLIENT_ENTRIES,
  type ClientEntry,
  clientOf,
  type NegotiateClientOptions,
} from '../../../src/entries/wiring/client.ts'

function codeOf(entry: ClientEntry, options: NegotiateClientOptions): string | undefined {
  try {
    clientOf(entry, 'test', options)
    return undefined
  } catch (error) {
    return (error as { code?: string }).code
  }
}

describe('an option that an entry cannot honour is refused at once', () => {
  const rows: readonly [NegotiateClientOptions, readonly ClientEntry[]][] = [
    [{ preemptive: false }, ['agent']],
    [{ preemptive: true }, []],
    [{ maxReplayBodyBytes: 10 }, ['agent']],
    [{ channelBindings: 'required' }, ['undici']],
    [{ channelBindings: Uint8Array.of(1) }, []],
    [{ channelBindings: 'auto' }, []],
  ]
  for (const [options, refused] of rows) {
    test.each(CLIENT_ENTRIES)(`${JSON.stringify(options)} by %s`, (entry) => {
      expect(codeOf(entry, options)).toBe(refused.includes(entry) ? 'OPTION_UNSUPPORTED' : undefined)
    })
  }
})

describe('C03: a name or a login that is meant for somebody', () => {
  const perHop: readonly ClientEntry[] = ['undici', 'agent']
  for (const options of [
    { targetName: 'web1.corp' },
    { delegate: 'policy' },
    { delegate: true, delegateTo: ['https://web1.corp'] },
  ] as const) {
    test.each(CLIENT_ENTRIES)(
      `needs origins where a redirect cannot be told: ${JSON.stringify(options)} by %s`,
      (entry) => {
        expect(codeOf(entry, options)).toBe(perHop.includes(entry) ? 'ORIGINS_MISSING' : undefined)
        expect(codeOf(entry, { ...options, origins: ['https://web1.corp'] })).toBeUndefined()
      },
    )
  }
})
