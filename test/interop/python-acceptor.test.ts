import { Agent, request } from 'node:http'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Credentials, createInitiator, KerberosClient, type SecurityContext } from '../../src/entries/index.ts'
import { labFolder, Peer, removeFolder, withEnvironment } from './lab.ts'

/** python3-gssapi's acceptor: gss_unwrap and gss_wrap on the context of a connection. */

let base: string
let kdc: Peer
let server: Peer
let restore: () => void

beforeAll(() => {
  base = labFolder()
  kdc = Peer.start('mit-kdc', base)
  const keytab = join(kdc.get('MIT_KEYTABS'), 'http.keytab')
  server = Peer.start('py-server', base, '--keytab', keytab, '--krb5-conf', kdc.get('KRB5_CONFIG'))
  restore = withEnvironment({ KRB5_CONFIG: kdc.get('KRB5_CONFIG') })
})

afterAll(() => {
  restore?.()
  server?.stop()
  kdc?.stop()
  removeFolder(base)
})

interface Answer {
  readonly status: number | undefined
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: Buffer
}

/** Requests on one connection. */
class Connection {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 })

  send(
    method: string,
    path: string,
    headers: Record<string, string>,
    body: Uint8Array = new Uint8Array(0),
  ): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const all = { ...headers, 'content-length': String(body.length) }
      const url = new URL(path, server.get('PY_URL'))
      const sent = request(url, { method, agent: this.#agent, headers: all }, (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => void chunks.push(chunk))
        response.on('end', () => {
          resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks) })
        })
      })
      sent.once('error', reject)
      sent.end(body)
    })
  }

  close(): void {
    this.#agent.destroy()
  }
}

async function login(
  host: string,
  mechanism: 'krb5' | 'spnego',
): Promise<{
  readonly connection: Connection
  readonly context: SecurityContext
  readonly credentials: Credentials
  readonly info: { user: string; flags: number }
}> {
  const credentials = Credentials.fromPassword('alice@MIT.TEST', 'alice-pw')
  const context = await createInitiator({ target: `HTTP/${host}.mit.test`, credentials, mechanism })
  const connection = new Connection()
  const token = Buffer.from((await context.step()).token ?? []).toString('base64')
  const answer = await connection.send('GET', '/', { authorization: `Negotiate ${token}` })
  const [, proof = ''] = String(answer.headers['www-authenticate']).split(' ')
  await context.step(Buffer.from(proof, 'base64'))
  const info = JSON.parse(answer.body.toString()) as { user: string; flags: number }
  return { connection, context, credentials, info }
}

describe('[Python acceptor] /wrap (RFC 4121 §4.2)', () => {
  for (const [host, enctype] of [
    ['aes128', 17],
    ['aes256', 18],
    ['aes128sha2', 19],
    ['aes256sha2', 20],
  ] as const) {
    for (const mechanism of ['krb5', 'spnego'] as const) {
      test(`${host}, ${mechanism}: sealed and unsealed, there and back`, async () => {
        const { connection, context, info, credentials } = await login(host, mechanism)
        const ticket = await new KerberosClient({ credentials }).getTicket(`HTTP/${host}.mit.test`)
        expect([ticket.ticketEnctype, ticket.enctype]).toEqual([enctype, enctype])
        expect(info.user).toBe('alice@MIT.TEST')
        for (const confidential of [true, false]) {
          for (const text of ['', 'x', 'Straße', 'y'.repeat(100_000)]) {
            const data = Buffer.from(text)
            const answer = await connection.send('POST', '/wrap', {}, context.wrap(data, { confidential }))
            expect([answer.status, answer.headers['x-conf']]).toEqual([200, confidential ? '1' : '0'])
            const back = context.unwrap(answer.body)
            expect(Buffer.from(back.data).equals(Buffer.from(data).reverse())).toBe(true)
            expect(back.confidential).toBe(confidential)
          }
        }
        connection.close()
      })
    }
  }

  test('P62 P64 a flipped bit, a repetition and another context’s token are refused there; its own repeated here', async () => {
    const { connection, context } = await login('aes256sha2', 'spnego')
    const token = context.wrap(Buffer.from('hello'))
    const bent = token.slice()
    bent[40] = (bent[40] as number) ^ 1
    expect((await connection.send('POST', '/wrap', {}, bent)).status).toBe(400)
    const other = await login('aes256sha2', 'spnego')
    expect((await other.connection.send('POST', '/wrap', {}, token)).status).toBe(400)
    const answer = await connection.send('POST', '/wrap', {}, token)
    expect(answer.status).toBe(200)
    expect(Buffer.from(context.unwrap(answer.body).data).toString()).toBe('olleh')
    expect(() => context.unwrap(answer.body)).toThrow(expect.objectContaining({ code: 'SEQUENCE_ERROR' }))
    expect(() => other.context.unwrap(answer.body)).toThrow(expect.objectContaining({ code: 'INTEGRITY_FAILED' }))
    connection.close()
    other.connection.close()
  })
})
