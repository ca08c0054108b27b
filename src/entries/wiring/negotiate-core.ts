import { nodeEffects } from '../../adapters/server/node.ts'
import { calledNow } from '../../http/callbacks.ts'
import {
  type AcceptorContexts,
  NegotiateCore,
  type NegotiateRequest,
  type NegotiateServerOptions,
  serverSettings,
} from '../../http/index.ts'
import { Keytab } from '../../krb5/formats/index.ts'
import { invalid, optional } from '../../options.ts'
import { acceptedName, openAcceptor } from './acceptor.ts'
import { configOf } from './credentials.ts'
import { Passwords } from './passwords.ts'
import { processDefaults } from './process-defaults.ts'
import { serverBindings } from './server-bindings.ts'
import { sealerLoader } from './session-sealer.ts'

/**
 * The server of every adapter: options resolved and the keytab read, once and at once, so that a wrong one fails at the start.
 *
 * @throws {UsageError} `OPTION_UNKNOWN`, `OPTION_INVALID`
 * @throws {ConfigError} `KEYTAB_NOT_FOUND`, `KEYTAB_UNREADABLE`, `KEYTAB_EMPTY`, `KEYTAB_NO_ENTRY`
 */
export function openServer(options?: NegotiateServerOptions): NegotiateCore {
  const settings = serverSettings(options)
  const {
    keytab,
    principal,
    maxTokenBytes: _checkedByTheCore,
    channelBindings,
    certificate,
    ...policy
  } = settings.acceptor
  const bindings = serverBindings({ channelBindings, certificate })
  // Whose tickets count is then said for each request; at the start anything may.
  const named = typeof principal === 'function' ? principal : undefined
  const names = typeof principal === 'function' ? 'any' : principal
  const acceptor = openAcceptor({ ...policy, keytab: keytabOf(keytab), principal: names })
  const nameOf = (request: NegotiateRequest) => named && acceptedName(calledNow('principal', () => named(request)))
  const bindingsRequired = channelBindings === 'required'
  const contexts: AcceptorContexts = {
    createContext: ({ request }) =>
      acceptor.contextFor({
        channelBindings: bindings(request),
        bindingsRequired,
        name: named && (() => nameOf(request)),
      }),
    recheck: (login, request) => acceptor.recheck(login, nameOf(request)),
    close: () => acceptor.close(),
  }
  const { basic, sessions } = settings
  const { attempts, endedSessions } = processDefaults()
  const proofs = {
    contexts,
    passwords:
      basic &&
      new Passwords({
        ...basic,
        config: optional(basic.config, configOf),
        rulesFor: (request) => acceptor.rulesFor(nameOf(request)),
      }),
    loadSealer: sessions && sealerLoader(sessions),
    attempts,
    endedSessions,
  }
  return new NegotiateCore(proofs, settings, nodeEffects())
}

function keytabOf(value: string | object | undefined): string | Keytab | undefined {
  if (typeof value === 'object' && !(value instanceof Keytab)) throw invalid('keytab', 'a path or a Keytab', value)
  return value
}
