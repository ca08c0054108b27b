/** got with a login: agents, and hooks that ask got to try again when the server asks. Redirects stay got's own; each hop decides anew about its token. */
import { Readable } from 'node:stream'
import type {
  AfterResponseHook,
  BeforeErrorHook,
  BeforeRequestHook,
  ExtendOptions,
  Got,
  HandlerFunction,
  NormalizedOptions,
  OptionsInit,
  RequestError,
} from 'got'
import { KerberosError, UsageError } from '../../errors.ts'
import { isRequired } from '../../http/mutual.ts'
import { type Agents, agentOf } from './agent.ts'
import { Journey, type NodeParts } from './journey.ts'
import { setCause } from './negotiated.ts'
import { nodeBody } from './node-body.ts'
import { notReplayable } from './resend.ts'

/** What got is to be extended with. */
export function gotOptions(parts: NodeParts, agents: Agents): ExtendOptions {
  const journeys = new WeakMap<object, Journey>()
  const journeyOf = ({ agent }: Pick<NormalizedOptions, 'agent'>): Journey | undefined =>
    typeof agent.http === 'object' ? journeys.get(agent.http) : undefined

  const start: HandlerFunction = (options, next) => {
    if (options.http2) throw unsupported('over HTTP/2')
    if (isRequired(parts.settings) && options.request) throw unsupported('by a function of its own') // check: C71
    const journey = new Journey(parts, !options.isStream) // got gives no hook to answer a challenge in a stream
    const { http, https } = options.agent
    if (parts.proxies !== undefined && (http || https))
      throw unsupported('through agents of its own, beside the option proxy,')
    const own = { http: agentOf(http || agents.http, journey), https: agentOf(https || agents.https, journey) }
    journeys.set(own.http, journey)
    options.agent = own as typeof options.agent
    const begun = next(options)
    if (options.isStream && isRequired(parts.settings)) refuseOtherAgents(begun as Stream, journey)
    return begun
  }

  const keepBody: BeforeRequestHook = async (options) => {
    const journey = journeyOf(options)
    const { body } = options
    if (journey !== undefined && options.cache) throw cacheAbove() // check: C89
    if (journey === undefined || !isOneShot(body)) return
    const kept = nodeBody(body)
    await kept.prepare?.(parts.settings.maxReplayBodyBytes, options.signal)
    const whole = kept.replayable
    journey.unasked ||= !whole
    journey.isReplayable = whole
    options.body = whole ? (kept.take() as Buffer) : Readable.from(kept.take() as AsyncIterable<unknown>)
  }

  const answer: AfterResponseHook = async (response, retry) => {
    const { options } = response.request
    const journey = journeyOf(options)
    if (journey === undefined && isRequired(parts.settings)) throw unsupported('through agents set by a hook') // check: C71
    const at = journey?.goesOn
    if (journey === undefined || at === undefined) return response
    if (isOneShot(options.body)) throw notReplayable(at)
    await journey.drained
    // got counts redirects anew after each retry, and takes this one for one of the caller's.
    const maxRedirects = Math.max(options.maxRedirects - response.redirectUrls.length, 0)
    const limit = (options.retry.limit ?? 0) + 1
    return retry({ preserveHooks: true, maxRedirects, retry: { limit } } as OptionsInit)
  }

  return {
    handlers: [start],
    hooks: { beforeRequest: [keepBody], afterResponse: [answer], beforeError: [plainError(journeyOf)] },
  }
}

/** Our own errors as they are, for whoever asks `instanceof`; those of a status with ours as their cause. */
function plainError(journeyOf: (options: NormalizedOptions) => Journey | undefined): BeforeErrorHook {
  return (error) => {
    journeyOf(error.options as NormalizedOptions)?.dispose()
    if (error.cause instanceof KerberosError) return error.cause as unknown as RequestError
    setCause(error)
    return error
  }
}

type Stream = ReturnType<Got['stream']>

/** A stream has no hook that sees its answers. */
function refuseOtherAgents(stream: Stream, journey: Journey): void {
  stream.on('request', (request: unknown) => {
    if (!journey.hasCarried(request)) stream.destroy(unsupported('through agents set by a hook')) // check: C71
  })
}

function isOneShot(body: unknown): body is NodeJS.ReadableStream | AsyncIterable<unknown> {
  return typeof body === 'object' && body !== null && ('pipe' in body || Symbol.asyncIterator in body)
}

function unsupported(how: string): UsageError {
  return new UsageError('OPTION_UNSUPPORTED', `negotiateGot: a request ${how} carries no login`, {
    hint: 'Leave http2 out, since several legs need HTTP/1.1 (RFC 4559 §6); with a proxy leave agents out, and where mutual authentication is required, request and agents set by hooks.',
  })
}

/** It would see requests without Authorization, and serve one user's page to another (RFC 9111 §3.5). */
function cacheAbove(): UsageError {
  return new UsageError('OPTION_UNSUPPORTED', 'negotiateGot: a cache does not see whose answers it keeps', {
    hint: 'Leave cache out; requests that need no login can have it, with another instance of got.',
  })
}
