import { channel } from 'node:diagnostics_channel'
import { NetworkError } from '../../errors.ts'
import type { Transport, World } from '../../krb5/client.ts'
import type { Source } from '../../krb5/exchange/index.ts'
import { Krb5Config as BaseConfig } from '../../krb5/formats/index.ts'
import { after, monotonic, systemFiles, systemLocator, systemSource, systemTransport } from '../../system/index.ts'
import { loadProfileWithWarnings } from './loaded-config.ts'

/** This machine, as the rooms below see it. A new one for each client: nothing is shared between two of them. */
export function systemWorld(now?: () => number): World {
  let config: BaseConfig | undefined
  return {
    source: sourceWithClock(now),
    monotonic,
    after,
    transport: observed(systemTransport),
    locator: systemLocator,
    files: systemFiles(),
    // Read at the first use and kept, as a Kerberos context of MIT's library does; a file that cannot be read is tried again.
    loadConfig: async () => {
      config ??= new BaseConfig(loadProfileWithWarnings())
      return config
    },
  }
}

/** The machine's clock and randomness, or a clock in milliseconds that a test or an option gives. */
export function sourceWithClock(now: (() => number) | undefined): Source {
  const source = systemSource()
  if (now === undefined) return source
  let last = 0
  return {
    now() {
      const microseconds = Math.round(now() * 1000)
      // Two authenticators of one moment must differ; a clock that is set back is obeyed.
      last = microseconds > last || last - microseconds > 1e6 ? microseconds : last + 1
      return last
    },
    random: (length) => source.random(length),
  }
}

/**
 * Tells the channel `spnego:kdc` of each message to a KDC: where to, how long, how much; never what. A server
 * that is silent is told when the next one is asked, and once more only when its answer comes after all.
 */
function observed(transport: Transport): Transport {
  const events = channel('spnego:kdc')
  return {
    async exchange(to, protocol, message, options) {
      if (!events.hasSubscribers) return transport.exchange(to, protocol, message, options)
      const started = monotonic()
      let sentBytes = 0
      const counted = (sender: Uint8Array) => {
        const octets = typeof message === 'function' ? message(sender) : message
        sentBytes = octets.length
        return octets
      }
      const facts = () => ({ host: to.host, port: to.port, protocol, sentBytes, ms: monotonic() - started })
      let isTold = false
      const onSilent = () => {
        isTold = true
        events.publish({ ...facts(), error: noAnswerYet() })
        options.onSilent?.()
      }
      try {
        const reply = await transport.exchange(to, protocol, counted, { ...options, onSilent })
        events.publish({ ...facts(), receivedBytes: reply.length })
        return reply
      } catch (error) {
        if (!isTold) events.publish({ ...facts(), error })
        throw error
      }
    },
  }
}

function noAnswerYet(): NetworkError {
  return new NetworkError('KDC_TIMEOUT', 'no answer yet')
}
