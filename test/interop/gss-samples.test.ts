import { mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  type AcceptorContext,
  Credentials,
  createAcceptor,
  createInitiator,
  type Flag,
  KerberosClient,
  type SecurityContext,
} from '../../src/entries/index.ts'
import {
  connectTo,
  establish,
  FLAG,
  gssClient,
  gssServer,
  type Meddler,
  type SampleConnection,
  serveOnce,
} from './gss-samples.ts'
import { type Environment, kinit, labFolder, Peer, removeFolder, withEnvironment } from './lab.ts'

/** RFC 2743 and RFC 4121 with MIT's gss-client and gss-server (krb5-gss-samples): contexts, wrapped messages and MICs, both directions. */

let base: string
let kdc: Peer
let restore: () => void
let environment: Environment

beforeAll(() => {
  base = labFolder()
  kdc = Peer.start('mit-kdc', base)
  environment = {
    KRB5_CONFIG: kdc.get('KRB5_CONFIG'),
    KRB5_KTNAME: join(kdc.get('MIT_KEYTABS'), 'http.keytab'),
    KRB5RCACHENAME: 'none:',
    KRB5CCNAME: `FILE:${join(mkdtempSync(join(base, 'cc-')), 'cache')}`,
  }
  restore = withEnvironment(environment)
  expect(kinit(environment, 'alice', 'alice-pw', '-f').status).toBe(0)
})

afterAll(() => {
  restore?.()
  kdc?.stop()
  removeFolder(base)
})

/** A service each, with the enctype of its ticket and session key and the octets of that enctype's checksum (RFC 3962 §6, RFC 8009 §5). */
const SERVICES = [
  ['aes128', 17, 12],
  ['aes256', 18, 12],
  ['aes128sha2', 19, 16],
  ['aes256sha2', 20, 24],
] as const
const MECHANISMS = ['krb5', 'spnego'] as const
const MESSAGE = 'Die Katze tritt die Treppe krumm: é'
const bytes = new TextEncoder().encode(MESSAGE)
const ALL_FLAGS: readonly Flag[] = ['mutual', 'integrity', 'confidential', 'sequence', 'replay']

const initiator = (host: string, mechanism: 'krb5' | 'spnego' = 'spnego', flags = ALL_FLAGS) =>
  createInitiator({ target: `HTTP@${host}.mit.test`, credentials: Credentials.fromCache(), mechanism, flags })

/** Enctypes of the ticket for a service in the cache that both sides of the test share, and of its session key. */
async function enctypesOf(host: string): Promise<readonly number[]> {
  const client = new KerberosClient({ credentials: Credentials.fromCache() })
  const { ticketEnctype, enctype } = await client.getTicket(`HTTP/${host}.mit.test`)
  return [ticketEnctype, enctype]
}

async function acceptorContext(): Promise<AcceptorContext> {
  const keytab = environment['KRB5_KTNAME'] ?? ''
  return (await createAcceptor({ keytab, delegation: true })).createContext()
}

/** Sends a message; the MIC that comes back must be over the message itself. */
async function say(
  connection: SampleConnection,
  context: SecurityContext,
  flags: number,
  token: Uint8Array,
): Promise<boolean> {
  connection.send(FLAG.DATA | FLAG.SEND_MIC | flags, token)
  const answer = await connection.receive()
  if (answer === undefined || (answer.flags & FLAG.MIC) === 0) return false
  context.verifyMic(bytes, answer.data)
  return true
}

/** A conversation with a `gss-server`; what it logged. */
async function atServer(
  host: string,
  context: SecurityContext,
  talk: (connection: SampleConnection) => Promise<void>,
): Promise<string> {
  const { port, said } = await gssServer(`HTTP@${host}.mit.test`, base, environment)
  const connection = await connectTo(port)
  await establish(connection, context)
  await talk(connection)
  connection.send(FLAG.NOOP)
  connection.end()
  return said
}

describe('[gss-server] takes our contexts and messages', () => {
  for (const [host, enctype, macBytes] of SERVICES) {
    for (const mechanism of MECHANISMS) {
      test(`${host}, ${mechanism}: sealed, unsealed and plain, each answered with a MIC that we verify`, async () => {
        const context = await initiator(host, mechanism)
        const said = await atServer(host, context, async (connection) => {
          expect(`${context.peer}`).toBe(`HTTP/${host}.mit.test@MIT.TEST`)
          for (let i = 0; i < 3; i++) {
            const [sealed, unsealed] = [context.wrap(bytes), context.wrap(bytes, { confidential: false })]
            expect(sealed.length - bytes.length).toBe(16 + 16 + 16 + macBytes) // RFC 4121 §4.2.4: header, confounder, header
            expect(unsealed.length - bytes.length).toBe(16 + macBytes)
            expect(await say(connection, context, FLAG.WRAPPED | FLAG.ENCRYPTED, sealed)).toBe(true)
            expect(await say(connection, context, FLAG.WRAPPED, unsealed)).toBe(true)
            expect(await say(connection, context, 0, bytes)).toBe(true)
          }
        })
        expect(await enctypesOf(host)).toEqual([enctype, enctype])
        for (const flag of ['MUTUAL', 'REPLAY', 'SEQUENCE', 'CONF', 'INTEG'])
          expect(said).toContain(`GSS_C_${flag}_FLAG`)
        expect(said).not.toMatch(/error|GSS_C_DELEG_FLAG/)
        expect(said.match(/Received message/g)).toHaveLength(9)
      })
    }
  }

  test('without mutual authentication too', async () => {
    const context = await initiator('aes256', 'krb5', ['integrity', 'confidential'])
    const said = await atServer('aes256', context, async (connection) => {
      expect(await say(connection, context, FLAG.WRAPPED | FLAG.ENCRYPTED, context.wrap(bytes))).toBe(true)
    })
    expect(said).toContain('GSS_C_CONF_FLAG')
    expect(said).not.toMatch(/GSS_C_(MUTUAL|REPLAY|SEQUENCE)_FLAG/)
  })

  const sealed = (context: SecurityContext) => context.wrap(bytes)
  const unsealed = (context: SecurityContext) => context.wrap(bytes, { confidential: false })
  const negatives: readonly [string, (context: SecurityContext) => Uint8Array, RegExp][] = [
    [
      'P60 a sealed token whose number is another',
      (context) => flip(sealed(context), 15),
      /Invalid token was supplied/,
    ],
    ['P62 a flipped bit in a sealed token', (context) => flip(sealed(context), 30), /invalid Message Integrity/],
    ['P62 a flipped bit in an unsealed token', (context) => flip(unsealed(context), 18), /invalid Message Integrity/],
    ['P66 a truncated token', (context) => sealed(context).subarray(0, -1), /invalid Message Integrity/],
    ['P65 a MIC in place of a message', (context) => context.getMic(bytes), /Invalid token was supplied/],
    [
      'RFC 2743 §1.2.3 a token after a gap',
      (context) => sealed(context) && sealed(context),
      /expected per-message token was not/,
    ],
  ]
  for (const mechanism of MECHANISMS) {
    for (const [what, make, reason] of negatives) {
      test(`${mechanism}: it refuses ${what}, after one that it took`, async () => {
        const context = await initiator('aes256sha2', mechanism)
        const said = await atServer('aes256sha2', context, async (connection) => {
          expect(await say(connection, context, FLAG.WRAPPED | FLAG.ENCRYPTED, sealed(context))).toBe(true)
          expect(await say(connection, context, FLAG.WRAPPED | FLAG.ENCRYPTED, make(context))).toBe(false)
        })
        expect(said).toMatch(new RegExp(`GSS-API error unsealing message: .*${reason.source}`))
      })
    }

    test(`${mechanism}: P64 it refuses a token that it has seen`, async () => {
      const context = await initiator('aes128sha2', mechanism)
      const said = await atServer('aes128sha2', context, async (connection) => {
        const token = sealed(context)
        expect(await say(connection, context, FLAG.WRAPPED | FLAG.ENCRYPTED, token)).toBe(true)
        expect(await say(connection, context, FLAG.WRAPPED | FLAG.ENCRYPTED, token)).toBe(false)
      })
      expect(said).toContain('error unsealing message: The token was a duplicate of an earlier token')
    })

    test(`${mechanism}: P63 it refuses a token of an acceptor, made with the context’s own keys`, async () => {
      for (const make of [sealed, unsealed]) {
        // Without mutual authentication there is no acceptor's subkey: a second acceptor of the same token has the same keys.
        const context = await initiator('aes256', mechanism, ['integrity', 'confidential', 'replay'])
        const twin = await acceptorContext()
        const step = context.step.bind(context)
        context.step = async (token) => {
          const made = await step(token)
          if (token === undefined) await twin.step(made.token)
          return made
        }
        const said = await atServer('aes256', context, async (connection) => {
          expect(Buffer.from(twin.unwrap(make(context)).data).equals(bytes)).toBe(true)
          expect(await say(connection, context, FLAG.WRAPPED, make(twin))).toBe(false)
        })
        expect(said).toContain('error unsealing message: Packet was replayed in wrong direction')
      }
    })
  }

  test('P62 P63 P64 and we refuse its MIC altered, reflected, repeated or over something else', async () => {
    const context = await initiator('aes128sha2')
    await atServer('aes128sha2', context, async (connection) => {
      connection.send(FLAG.DATA | FLAG.SEND_MIC | FLAG.WRAPPED | FLAG.ENCRYPTED, context.wrap(bytes))
      const mic = (await connection.receive())?.data ?? new Uint8Array(0)
      const code = (value: string) => expect.objectContaining({ code: value })
      expect(() => context.verifyMic(bytes.subarray(1), mic)).toThrow(code('INTEGRITY_FAILED'))
      expect(() => context.verifyMic(bytes, flip(mic, mic.length - 1))).toThrow(code('INTEGRITY_FAILED'))
      expect(() => context.verifyMic(bytes, context.getMic(bytes))).toThrow(code('SEQUENCE_ERROR'))
      context.verifyMic(bytes, mic)
      expect(() => context.verifyMic(bytes, mic)).toThrow(code('SEQUENCE_ERROR'))
    })
  })
})

function flip(token: Uint8Array, at: number): Uint8Array {
  const bent = token.slice()
  bent[at] = (bent[at] as number) ^ 1
  return bent
}

describe('[gss-client] is served by us', () => {
  const protections: readonly [string, readonly string[], boolean | undefined][] = [
    ['sealed', [], true],
    ['unsealed (-nx)', ['-nx'], false],
    ['plain (-nw)', ['-nw', '-nx'], undefined],
  ]
  for (const [host, enctype] of SERVICES) {
    for (const mechanism of MECHANISMS) {
      test(`${host}, ${mechanism}: ${protections.map(([name]) => name).join(', ')}; it verifies our MIC`, async () => {
        for (const [, more, confidential] of protections) {
          const { port, served } = await serveOnce(await acceptorContext())
          const options = [...(mechanism === 'spnego' ? ['-spnego'] : []), '-mcount', '2', ...more]
          const outcome = await gssClient(options, port, `HTTP@${host}.mit.test`, MESSAGE, environment)
          expect(outcome.stdout.match(/Signature verified\./g)).toHaveLength(2)
          const message = { text: MESSAGE, confidential }
          expect(await served).toEqual({
            peer: 'alice@MIT.TEST',
            flags: ['confidential', 'integrity', 'mutual', 'replay'],
            messages: [message, message],
            error: undefined,
          })
        }
        expect(await enctypesOf(host)).toEqual([enctype, enctype])
      })
    }
  }

  for (const [option, flags] of [
    ['-nomutual', ['confidential', 'integrity', 'replay']],
    ['-d', ['confidential', 'delegate', 'integrity', 'mutual', 'replay']],
    ['-seq', ['confidential', 'integrity', 'mutual', 'replay', 'sequence']],
    ['-noreplay', ['confidential', 'integrity', 'mutual']],
  ] as const) {
    test(`${option}: we see its flags (RFC 2743 §1.2)`, async () => {
      const context = await acceptorContext()
      const { port, served } = await serveOnce(context)
      const { stdout } = await gssClient([option], port, 'HTTP@aes256.mit.test', MESSAGE, environment)
      expect(stdout).toContain('Signature verified.')
      expect(await served).toMatchObject({ flags, messages: [{ text: MESSAGE, confidential: true }], error: undefined })
      expect(context.delegated !== undefined).toBe(option === '-d')
    })
  }

  const meddlers: readonly [string, readonly string[], NonNullable<Meddler['toServer']>, string][] = [
    ['P60 a sealed token whose number is another', [], (token) => [flip(token, 15)], 'INTEGRITY_FAILED'],
    ['P62 a flipped bit in a sealed token', [], (token) => [flip(token, 40)], 'INTEGRITY_FAILED'],
    ['P62 a flipped bit in an unsealed token', ['-nx'], (token) => [flip(token, 18)], 'INTEGRITY_FAILED'],
    ['P66 a truncated token', [], (token) => [token.subarray(0, -1)], 'INTEGRITY_FAILED'],
    ['P65 a MIC in place of a message', [], (_, context) => [context.getMic(bytes)], 'MALFORMED'],
    ['P63 a token of our own', [], (_, context) => [context.wrap(bytes)], 'SEQUENCE_ERROR'],
    ['P63 a token of its own, said to be ours', [], (token) => [flip(token, 2)], 'SEQUENCE_ERROR'],
    ['P64 its token once more', [], (token) => [token, token], 'SEQUENCE_ERROR'],
  ]
  for (const mechanism of MECHANISMS) {
    for (const [what, more, toServer, code] of meddlers) {
      test(`${mechanism}: we refuse ${what}: ${code}`, async () => {
        const { port, served } = await serveOnce(await acceptorContext(), { toServer })
        const options = [...(mechanism === 'spnego' ? ['-spnego'] : []), ...more]
        await gssClient(options, port, 'HTTP@aes256sha2.mit.test', MESSAGE, environment)
        const { peer, messages, error } = await served
        expect(peer).toBe('alice@MIT.TEST')
        expect(messages).toHaveLength(what.startsWith('P64') ? 1 : 0)
        expect(error).toMatchObject({ code })
      })
    }

    test(`${mechanism}: P62 it refuses our MIC when a bit of it is flipped`, async () => {
      const meddler: Meddler = { toClient: (mic) => flip(mic, mic.length - 1) }
      const { port } = await serveOnce(await acceptorContext(), meddler)
      const options = mechanism === 'spnego' ? ['-spnego'] : []
      const { status, stdout, stderr } = await gssClient(options, port, 'HTTP@aes256.mit.test', MESSAGE, environment)
      expect(status).not.toBe(0)
      expect(stdout).not.toContain('Signature verified.')
      expect(`${stdout}${stderr}`).toMatch(/GSS-API error verifying signature/)
    })
  }

  test('S22 with a ticket for another service it is not', async () => {
    const { port, served } = await serveOnce(await acceptorContext())
    expect((await gssClient([], port, 'host@localhost', MESSAGE, environment)).status).not.toBe(0)
    expect(await served).toMatchObject({ peer: '', messages: [], error: { code: 'KEY_NOT_FOUND' } })
  })
})
