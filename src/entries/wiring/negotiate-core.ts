import { nodeEffects } from '../../adapters/server/node.ts'
import { UsageError } from '../../errors.ts'
import {
  type AcceptedNames,
  type AcceptorContexts,
  NegotiateCore,
  type NegotiateServerOptions,
  serverSettings,
} from '../../http/index.ts'
import { Keytab } from '../../krb5/formats/index.ts'
import { invalid } from '../../options.ts'
import { type AcceptedPrincipal, openAcceptor } from './acceptor.ts'
import { serverBindings } from './server-bindings.ts'

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
  const acceptor = openAcceptor({ ...policy, keytab: keytabOf(keytab), principal: namesOf(principal) })
  const contexts: AcceptorContexts = {
    createContext: ({ request }) => acceptor.contextFor(bindings(request), channelBindings === 'required'),
    close: () => acceptor.close(),
  }
  return new NegotiateCore(contexts, settings, nodeEffects())
}

function keytabOf(value: string | object | undefined): string | Keytab | undefined {
  if (typeof value === 'object' && !(value instanceof Keytab)) throw invalid('keytab', 'a path or a Keytab', value)
  return value
}

function namesOf(names: AcceptedNames | undefined): AcceptedPrincipal | undefined {
  if (typeof names !== 'function') return names
  throw new UsageError('OPTION_UNSUPPORTED', 'principal: this version takes no function of the request', {
    hint: 'Give a list of names: all of them are accepted.',
  })
}
