// A proxy on this machine that logs in for programs that cannot: the user's ticket, for the servers that were named.
//
//   node examples/login-proxy/login-proxy.mjs --allow http://service.corp --allow https://reports.corp
//   curl -x http://localhost:3128 http://service.corp/
//   curl -x http://localhost:3128 http://reports.corp/      (goes on over https: the proxy must read what it logs in for)
import { createServer, request as httpRequest, STATUS_CODES } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { parseArgs } from 'node:util'
import { NegotiateAgent, NegotiateHttpsAgent, negotiated } from 'spnego/agent'

const USAGE = 'usage: login-proxy --allow ORIGIN [--allow ORIGIN …] [--port 3128] [--proxy URL]'

/** Fields that are for one connection, not for the server (RFC 9110 §7.6.1). */
const HOP_BY_HOP = [
  ...['connection', 'keep-alive', 'proxy-authenticate', 'proxy-authorization', 'proxy-connection', 'te', 'trailer'],
  ...['transfer-encoding', 'upgrade'],
]

const { allow, port, proxy } = optionsOf(process.argv.slice(2))
const options = { origins: allow, insecureOrigins: allow.filter((origin) => origin.startsWith('http:')), proxy }
const agents = { 'http:': new NegotiateAgent(options), 'https:': new NegotiateHttpsAgent(options) }

const server = createServer((incoming, answer) => {
  const target = targetOf(incoming)
  if ('refusal' in target) return refuse(answer, target.status, target.refusal)
  const { url } = target
  const send = url.protocol === 'https:' ? httpsRequest : httpRequest
  const headers = [...endToEnd(incoming, ['host', 'content-length']), ...framingOf(incoming), 'Host', url.host]
  const outgoing = send(url, { agent: agents[url.protocol], method: incoming.method, headers })
  outgoing.on('response', (response) => {
    const { error } = negotiated(response) ?? {}
    if (error !== undefined) console.error(`${url.origin}: ${error.code}: ${error.message}. ${error.hint ?? ''}`)
    answer.writeHead(response.statusCode, response.statusMessage, endToEnd(response))
    response.pipe(answer)
    response.on('error', () => answer.destroy())
  })
  outgoing.on('error', (error) => {
    console.error(`${url.origin}: ${error.message}. ${error.hint ?? ''}`)
    if (answer.headersSent) answer.destroy()
    else refuse(answer, 502, `${error.message}. ${error.hint ?? ''}`)
  })
  outgoing.on('close', () => {
    if (!answer.headersSent) refuse(answer, 502, `${url.origin} gave no answer that can be handed on.`) // it changed the protocol
  })
  answer.on('close', () => outgoing.destroy())
  incoming.pipe(outgoing)
})

server.on('connect', (_incoming, socket) => {
  const text = 'This proxy logs in for you, so it must read the request: ask for http:// in place of https://.\n'
  socket.on('error', () => {}) // whoever asked may be gone
  socket.end(
    `HTTP/1.1 405 Method Not Allowed\r\nContent-Type: text/plain\r\nContent-Length: ${text.length}\r\n\r\n${text}`,
  )
})

// Whoever reaches it is the user: loopback alone.
server.listen(port, '127.0.0.1', () => {
  console.log(`listening on http://localhost:${server.address().port} for ${allow.join(', ')}`)
})

/** Where a request goes, if it may. */
function targetOf({ url: text = '', headers }) {
  if (!/^chunked$/i.test(headers['transfer-encoding'] ?? 'chunked')) {
    return { status: 501, refusal: 'The body has a coding that is not known here.' } // RFC 9112 §6.1
  }
  // A page in a browser can send a request to this port, but never one in absolute form.
  if (!/^http:\/\//i.test(text) || !URL.canParse(text)) {
    return { status: 400, refusal: 'This is a proxy: it wants a whole URL, as curl -x sends it.' }
  }
  // A browser that was told to use it: its user did not mean what a page of another site sends.
  const site = headers['sec-fetch-site'] ?? 'none'
  if (site !== 'none' && site !== 'same-origin')
    return { status: 403, refusal: 'Refused: sent by a page of another site.' }
  const url = new URL(text)
  const secure = new URL(text)
  secure.protocol = 'https:'
  const found = [url, secure].find(({ origin }) => allow.includes(origin))
  if (found !== undefined) return { url: found }
  return { status: 403, refusal: `${url.origin} is not allowed here. If it may see your login: --allow ${url.origin}` }
}

/** How long a request's body is (RFC 9112 §6), whatever Connection says: else the server takes it for the next request, which may be for another host. */
function framingOf({ headers }) {
  if (headers['transfer-encoding'] !== undefined) return ['Transfer-Encoding', headers['transfer-encoding']]
  return headers['content-length'] === undefined ? [] : ['Content-Length', headers['content-length']]
}

/** The fields of a message without those of its connection, and some others, as they came. */
function endToEnd({ rawHeaders, headers }, others = []) {
  const own = `${headers.connection ?? ''}`.toLowerCase().split(/\s*,\s*/)
  const dropped = new Set([...HOP_BY_HOP, ...own, ...others])
  return rawHeaders.flatMap((name, i) =>
    i % 2 === 0 && !dropped.has(name.toLowerCase()) ? [name, rawHeaders[i + 1]] : [],
  )
}

function refuse(answer, status, text) {
  // Its own reason: that of a server which could not be handed on would stay.
  answer
    .writeHead(status, STATUS_CODES[status], { 'content-type': 'text/plain; charset=utf-8' })
    .end(`${text.trim()}\n`)
}

function optionsOf(args) {
  try {
    const { values } = parseArgs({
      args,
      options: {
        allow: { type: 'string', multiple: true },
        port: { type: 'string', default: '3128' },
        proxy: { type: 'string' },
      },
    })
    if (values.allow === undefined) throw new Error('name the servers that may see your login')
    const origins = values.allow.map((text) => new URL(text).origin)
    return { allow: origins, port: Number(values.port), proxy: values.proxy }
  } catch (error) {
    console.error(`login-proxy: ${error.message}\n${USAGE}`)
    process.exit(2)
  }
}
