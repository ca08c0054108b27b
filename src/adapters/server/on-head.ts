import type { OutgoingHttpHeader, ServerResponse } from 'node:http'
import { type Decision, type HeaderList, isCacheField, withField } from '../../http/index.ts'
import { endSession, endWith, headersAfter } from './admitted.ts'

type Accepted = Extract<Decision, { kind: 'accepted' }>

/** Lets a request through: its response proves the server, and ends what was forwarded for it. */
export function admit(raw: object, res: ServerResponse, { headers, identity }: Accepted): void {
  onHead(res, headers, () => headersAfter(raw, headers))
  endWith(res, identity)
}

/** Ends the session that a request came with or began: its response makes the browser forget the cookie. */
export async function endSessionOn(raw: object, res: ServerResponse): Promise<void> {
  onHead(res, await endSession(raw))
}

/**
 * Adds fields to a response whatever becomes of it: beside those that the handler sets, and again when its head is written, in case the
 * handler, or an error handler, replaced or removed them.
 *
 * @param whenWritten those that are added then: what has ended meanwhile must not stand behind its end
 */
export function onHead(res: ServerResponse, headers: HeaderList, whenWritten: () => HeaderList = () => headers): void {
  if (headers.length === 0 || res.headersSent) return
  // A middleware looks at what was set before it sets its own, and at Cache-Control it would find ours.
  addAll(
    res,
    headers.filter(([name]) => !isCacheField(name)),
  )
  const { writeHead, end } = res
  // HTTP/2's `end()` without a body writes its head by itself.
  res.end = function (this: ServerResponse, ...rest: unknown[]): ServerResponse {
    if (!res.headersSent) addAll(res, whenWritten())
    return Reflect.apply(end, this, rest) as ServerResponse
  } as typeof res.end
  res.writeHead = function (this: ServerResponse, status: number, ...rest: unknown[]): ServerResponse {
    if (res.headersSent) return Reflect.apply(writeHead, this, [status, ...rest]) as ServerResponse
    // Fields given to `writeHead` would replace ours: all are set one by one instead, as Node does when some were set before.
    setGiven(res, rest.find(isFields))
    addAll(res, whenWritten())
    return Reflect.apply(writeHead, this, [status, ...rest.filter(isReason)]) as ServerResponse
  } as typeof res.writeHead
}

function addAll(res: ServerResponse, headers: HeaderList): void {
  for (const [name, value] of headers) addField(res, name, value)
}

/** Adds ours to what the field says already. */
export function addField(res: ServerResponse, name: string, value: string): void {
  const found = res.getHeader(name)
  const lines = Array.isArray(found) ? found : found === undefined ? [] : [String(found)]
  const all = withField(name, lines, value)
  if (all !== undefined) res.setHeader(name, all)
}

/** As `writeHead` takes them: an object, a flat list of names and values, or (from HTTP/2) a list of pairs. */
function setGiven(res: ServerResponse, fields: object | undefined): void {
  if (fields === undefined) return
  if (!Array.isArray(fields)) {
    for (const [name, value] of Object.entries(fields)) res.setHeader(name, value as OutgoingHttpHeader)
    return
  }
  const flat: unknown[] = fields.every(Array.isArray) ? fields.flat() : fields
  for (let i = 0; i < flat.length; i += 2) res.removeHeader(String(flat[i]))
  for (let i = 0; i < flat.length; i += 2) res.appendHeader(String(flat[i]), flat[i + 1] as string | readonly string[])
}

function isFields(argument: unknown): argument is object {
  return typeof argument === 'object' && argument !== null
}

function isReason(argument: unknown): argument is string {
  return typeof argument === 'string'
}
