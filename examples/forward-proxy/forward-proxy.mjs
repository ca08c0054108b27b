// A proxy that lets only users out who have proven who they are: http in absolute form, and CONNECT.
//
//   node examples/forward-proxy/forward-proxy.mjs --keytab /etc/http.keytab --port 3128
//   curl -x http://proxy.corp:3128 --proxy-negotiate --proxy-user : https://www.example.com/
import { lookup } from 'node:dns/promises'
import { createServer, request as httpRequest, STATUS_CODES } from 'node:http'
import { BlockList, connect } from 'node:net'
import { networkInterfaces } from 'node:os'
import { parseArgs } from 'node:util'
import { createNegotiateServer, recommendedMaxHeaderSize } from 'spnego/server'

const USAGE = 'usage: forward-proxy --keytab FILE [--port 3128] [--host 127.0.0.1] [--tunnel PORT …] [--loopback]'

/** Fields that are for one connection, not for the server (RFC 9110 §7.6.1). */
const HOP_BY_HOP = [
  ...['connection', 'keep-alive', 'proxy-authenticate', 'proxy-authorization', 'proxy-connection', 'te', 'trailer'],
  ...['transfer-encoding', 'upgrade'],
]
/** What no user may reach through the proxy: the proxy's own machine, and what a cloud tells its machines. */
const OWN = new BlockList()
for (const [net, bits] of [
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['0.0.0.0', 8],
])
  OWN.addSubnet(net, bits)
for (const [net, bits] of [
  ['::1', 128],
  ['fe80::', 10],
  ['::', 128],
  ['::ffff:0:0', 96],
  ['fd00:ec2::', 32],
])
  OWN.addSubnet(net, bits, 'ipv6')
for (const { address, family } of Object.values(networkInterfaces()).flat())
  OWN.addAddress(address, family.toLowerCase())

const { keytab, port, host, tunnels, loopback } = optionsOf(process.argv.slice(2))
const guard = createNegotiateServer({
  keytab,
  proxy: true,
  onFailure: ({ reason, message, method, path }) => console.error(`${method} ${path}: ${reason}: ${message}`),
})

const server = createServer({ maxHeaderSize: recommendedMaxHeaderSize }, async (incoming, answer) => {
  try {
    const identity = await guard.handle(incoming, answer)
    if (identity === undefined) return // refused, and answered
    await forward(incoming, answer, identity)
  } catch (error) {
    failed(answer, error)
  }
})

// Node gives a tunnel's request as it is, and its socket: nothing is answered unless it is here.
server.on('connect', async (incoming, socket, head) => {
  socket.on('error', () => socket.destroy())
  try {
    const { method, url, headersDistinct: headers } = incoming
    const decision = await guard.authenticate({ method, url, headers, address: socket.remoteAddress, secure: false })
    if (decision.kind !== 'accepted') return answerOn(socket, decision.status, decision.headers, decision.body)
    await tunnel(url, socket, head, decision)
  } catch (error) {
    answerOn(socket, error.status ?? 502, [], `${error.message}\n`)
  }
})

server.listen(port, host, () => {
  console.log(`listening on http://${host}:${server.address().port}, tunnels to ${tunnels.join(', ')}`)
})

/** A request in absolute form (RFC 9112 §3.2.2). */
async function forward(incoming, answer, { principal }) {
  const { url: text = '', method } = incoming
  if (!/^http:\/\//i.test(text) || !URL.canParse(text)) throw refusal(400, 'This is a proxy: it wants a whole URL.')
  const coding = incoming.headers['transfer-encoding'] ?? 'chunked'
  if (!/^chunked$/i.test(coding)) throw refusal(501, 'The body has a coding that is not known here.') // RFC 9112 §6.1
  const url = new URL(text)
  const address = await addressOf(url.hostname.replace(/^\[|\]$/g, ''))
  console.log(`${principal} ${method} ${url.origin}`)
  if (answer.destroyed) return // the client has left
  const headers = [...endToEnd(incoming, ['host', 'content-length']), ...framingOf(incoming), 'Host', url.host]
  const path = `${url.pathname}${url.search}`
  const outgoing = httpRequest({ host: address, port: url.port || 80, path, method, headers })
  outgoing.on('response', (response) => {
    response.on('error', () => answer.destroy())
    try {
      answer.writeHead(response.statusCode, response.statusMessage, endToEnd(response))
      response.pipe(answer)
    } catch (error) {
      failed(answer, error) // what a server says is not always HTTP
    }
  })
  outgoing.on('error', (error) => failed(answer, error))
  outgoing.on('upgrade', (_response, socket) => {
    socket.destroy()
    failed(answer, new Error('The server changed the protocol unasked.'))
  })
  answer.on('close', () => outgoing.destroy())
  incoming.pipe(outgoing)
}

/** RFC 9110 §9.3.6: from here on the bytes are nobody's business; the proxy's own proof goes with the 200. */
async function tunnel(target, socket, head, { headers, identity }) {
  const [, name = '', digits] =
    /^(?:\[([^\]]+)\]|([^:]+)):(\d+)$/.exec(target)?.filter((one) => one !== undefined) ?? []
  if (!tunnels.includes(Number(digits))) throw refusal(403, `No tunnels to port ${digits}.`)
  const address = await addressOf(name)
  if (socket.destroyed) return // the client has left
  console.log(`${identity.principal} CONNECT ${target}`)
  let isOpen = false
  const far = connect({ host: address, port: Number(digits) }, () => {
    isOpen = true
    const fields = headers.map(([field, value]) => `${field}: ${value}\r\n`).join('')
    socket.write(`HTTP/1.1 200 Connection established\r\n${fields}\r\n`)
    far.write(head)
    far.pipe(socket).pipe(far)
  })
  far.on('error', (error) => (!isOpen ? answerOn(socket, 502, [], `${error.message}\n`) : socket.destroy()))
  far.on('close', () => endAll(socket))
  socket.on('close', () => far.destroy())
}

/** Resolved once, so that what is checked is what is connected to. */
async function addressOf(name) {
  const { address, family } = await lookup(name).catch(() => {
    throw refusal(502, `${name} is not known.`)
  })
  if (!loopback && OWN.check(address, family === 6 ? 'ipv6' : 'ipv4')) throw refusal(403, `${name} is not outside.`)
  return address
}

function refusal(status, message) {
  return Object.assign(new Error(message), { status })
}

function answerOn(socket, status, headers, body) {
  const fields = headers.map(([field, value]) => `${field}: ${value}\r\n`).join('')
  const length = headers.length === 0 ? `Content-Length: ${Buffer.byteLength(body)}\r\n` : ''
  socket.write(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${fields}${length}Connection: close\r\n\r\n`)
  endAll(socket, body)
}

/** A tunnel's socket stays half open otherwise, for as long as its client likes. */
function endAll(socket, text = '') {
  socket.end(text, () => socket.destroy())
}

function failed(answer, { status = 502, message }) {
  if (answer.headersSent) return answer.destroy()
  for (const name of answer.getHeaderNames()) answer.removeHeader(name)
  answer.writeHead(status, STATUS_CODES[status], { 'content-type': 'text/plain' }).end(`${message}\n`)
}

/** How long a request's body is (RFC 9112 §6), whatever Connection says: else the server takes it for the next request, which may be another user's. */
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

function optionsOf(args) {
  try {
    const { values } = parseArgs({
      args,
      options: {
        keytab: { type: 'string' },
        port: { type: 'string', default: '3128' },
        host: { type: 'string', default: '127.0.0.1' },
        tunnel: { type: 'string', multiple: true, default: ['443'] },
        loopback: { type: 'boolean', default: false },
      },
    })
    return { ...values, port: Number(values.port), tunnels: values.tunnel.map(Number) }
  } catch (error) {
    console.error(`forward-proxy: ${error.message}\n${USAGE}`)
    process.exit(2)
  }
}
