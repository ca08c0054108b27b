import type { ClientRequest, IncomingMessage } from 'node:http'
import { connectionLost } from './node-internals.ts'

/** What tells of an answer: the last two for a connection that now speaks another protocol. */
const ANSWERS: readonly unknown[] = ['response', 'upgrade', 'connect']
/** What may follow at once, and must not be heard first. */
const FOLLOWING: readonly unknown[] = ['close', 'error']

type Emit = (event: string | symbol, ...values: unknown[]) => boolean

/**
 * Keeps an answer from everybody until it has been looked at: then the one that `look` gives is told, or its error. Node hands out what comes
 * next only when somebody reads, so nothing is lost meanwhile.
 *
 * @param tellsInterim whether fields of interim responses (RFC 9110 §15.2, RFC 8297) are told: they come before anything can prove who sends them
 */
export function holdResponse(
  request: ClientRequest,
  tellsInterim: boolean,
  look: (answer: IncomingMessage) => Promise<IncomingMessage>,
): void {
  const emit: Emit = request.emit.bind(request)
  let held: [string | symbol, unknown[]][] | undefined
  let failed = false
  const follow = () => {
    const rest = held ?? []
    held = undefined
    for (const [event, values] of rest) tell(event, ...values)
  }
  const tell: Emit = (event, ...values) => {
    if (held !== undefined && FOLLOWING.includes(event)) return held.push([event, values]) > 0
    if (failed && event === 'error') return true // the first one has been told
    if (event === 'information' && !tellsInterim) return true // check: C72
    if (held !== undefined || failed || !ANSWERS.includes(event)) return emit(event, ...values)
    held = []
    const [answer, ...others] = values as [IncomingMessage, ...unknown[]]
    void look(answer)
      .then((told) => {
        // A response that was cut off meanwhile emits no further event: the client would wait for its end for ever.
        if (told.destroyed && !told.complete) throw connectionLost() // check: C74
        if (!emit(event, told, ...others)) told.resume()
      })
      // Also of who listens: a promise of ours has no other way to tell. Where nobody does it ends the process, as it does without us.
      .catch((error: unknown) => {
        failed = true
        answer.destroy()
        emit('error', error) // check: C85
      })
      .finally(follow)
    return true
  }
  request.emit = tell as typeof request.emit
}
