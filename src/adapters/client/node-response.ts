/** Responses of node:http that are told in place of others: with their status, and without their page. */
import { type ClientRequest, IncomingMessage } from 'node:http'
import { Socket } from 'node:net'

type Fields = Readonly<Record<string, string | readonly string[] | undefined>>

/** What tells of a page (RFC 9110 §8, RFC 9112 §6): the one that is left out. */
const ABOUT_PAGE: readonly string[] = ['content-encoding', 'content-length', 'trailer', 'transfer-encoding']

/** Same status; of the headers only date and server; no body: the page proved nothing about its sender. */
export function sanitized(response: IncomingMessage): IncomingMessage {
  const { date, server } = response.headers
  const bare = emptied(response, { date, server: server as string | undefined })
  response.destroy()
  return bare
}

/** Same status and headers; the page is whoever's that has the original. */
export function withoutPage(response: IncomingMessage): IncomingMessage {
  const kept = Object.entries(response.headers).filter(([name]) => !ABOUT_PAGE.includes(name))
  return emptied(response, Object.fromEntries(kept))
}

function emptied(response: IncomingMessage, others: Fields): IncomingMessage {
  const { statusCode, statusMessage, httpVersion, httpVersionMajor, httpVersionMinor, url } = response
  // The connection stays the original's: a client that destroys this one must not end it.
  const bare = new IncomingMessage(new Socket())
  Object.assign(bare, { statusCode, statusMessage, httpVersion, httpVersionMajor, httpVersionMinor, url })
  Object.assign(bare, { req: (response as { req?: ClientRequest }).req, complete: true })
  const fields = Object.entries({ 'content-length': '0', ...others }).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, value] as const],
  )
  const lines = fields.flatMap(([name, value]) => [value].flat().map((one) => [name, one] as [string, string]))
  bare.rawHeaders.push(...lines.flat())
  bare.headers = Object.fromEntries(fields) as IncomingMessage['headers']
  bare.headersDistinct = Object.fromEntries(fields.map(([name, value]) => [name, [value].flat() as string[]]))
  bare.push(null)
  return bare
}
