import { mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Credentials, createAcceptor, createInitiator, type SecurityContext } from '../../src/entries/index.ts'
import { connectTo, establish, FLAG, gssClient, gssServer, type SampleConnection, serveOnce } from './gss-samples.ts'
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

const HOSTS = ['aes128', 'aes256', 'aes128sha2', 'aes256sha2'] as const
const MECHANISMS = ['krb5', 'spnego'] as const
const MESSAGE = 'Die Katze tritt die Treppe krumm: é'
const bytes = new TextEncoder().encode(MESSAGE)

const initiator = (
  host: string,
  mechanism: 'krb5' | 'spnego' = 'spnego',
  flags?: readonly ('mutual' | 'integrity' | 'confidential' | 'sequence' | 'replay')[],
) => createInitiator({ target: `HTTP@${host}.mit.test`, credentials: Credentials.fromCache(), mechanism, flags })

async function acceptorContext(): Promise<SecurityContext> {
  return (await createAcceptor({ keytab: environment['KRB5_KTNAME'] ?? '' })).createContext()
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

describe('[gss-server] takes our contexts and messages', () => {
  for (const host of HOSTS) {
    for (const mechanism of MECHANISMS) {
      test(`${host}, ${mechanism}: sealed, unsealed and plain, each answered with a MIC that we verify`, async () => {
        const { port, stop } = await gssServer(`HTTP@${host}.mit.test`, environment)
        const connection = await connectTo(port)
        const context = await initiator(host, mechanism)
        await establish(connection, context)
        expect(`${context.peer}`).toBe(`HTTP/${host}.mit.test@MIT.TEST`)
        for (let i = 0; i < 3; i++) {
          expect(await say(connection, context, FLAG.WRAPPED | FLAG.ENCRYPTED, context.wrap(bytes))).toBe(true)
          expect(await say(connection, context, FLAG.WRAPPED, context.wrap(bytes, { confidential: false }))).toBe(true)
          expect(await say(connection, context, 0, bytes)).toBe(true)
        }
        connection.send(FLAG.NOOP)
        connection.end()
        stop()
      })
    }
  }

  test('without mutual authentication too', async () => {
    const { port, stop } = await gssServer('HTTP@aes256.mit.test', environment)
    const connection = await connectTo(port)
    const context = await initiator('aes256', 'krb5', ['integrity', 'confidential'])
    await establish(connection, context)
    expect(await say(connection, context, FLAG.WRAPPED | FLAG.ENCRYPTED, context.wrap(bytes))).toBe(true)
    connection.end()
    stop()
  })

  const negatives: readonly [string, (context: SecurityContext) => Uint8Array][] = [
    ['a flipped bit in a sealed token', (context) => flip(context.wrap(bytes), 30)],
    ['a flipped bit in an unsealed token', (context) => flip(context.wrap(bytes, { confidential: false }), 18)],
    ['a truncated token', (context) => context.wrap(bytes).subarray(0, -1)],
    ['a MIC in place of a message', (context) => context.getMic(bytes)],
  ]
  for (const [what, make] of negatives) {
    test(`P62 it refuses ${what}`, async () => {
      const { port, stop } = await gssServer('HTTP@aes256sha2.mit.test', environment)
      const connection = await connectTo(port)
      const context = await initiator('aes256sha2')
      await establish(connection, context)
      expect(await say(connection, context, FLAG.WRAPPED | FLAG.ENCRYPTED, make(context))).toBe(false)
      connection.end()
      stop()
    })
  }

  test('P62 P63 P64 and we refuse its MIC altered, reflected, repeated or over something else', async () => {
    const { port, stop } = await gssServer('HTTP@aes128sha2.mit.test', environment)
    const connection = await connectTo(port)
    const context = await initiator('aes128sha2')
    await establish(connection, context)
    connection.send(FLAG.DATA | FLAG.SEND_MIC | FLAG.WRAPPED | FLAG.ENCRYPTED, context.wrap(bytes))
    const mic = (await connection.receive())?.data ?? new Uint8Array(0)
    const code = (value: string) => expect.objectContaining({ code: value })
    expect(() => context.verifyMic(bytes.subarray(1), mic)).toThrow(code('INTEGRITY_FAILED'))
    expect(() => context.verifyMic(bytes, flip(mic, mic.length - 1))).toThrow(code('INTEGRITY_FAILED'))
    expect(() => context.verifyMic(bytes, context.getMic(bytes))).toThrow(code('SEQUENCE_ERROR'))
    context.verifyMic(bytes, mic)
    expect(() => context.verifyMic(bytes, mic)).toThrow(code('SEQUENCE_ERROR'))
    connection.end()
    stop()
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
  for (const host of HOSTS) {
    for (const mechanism of MECHANISMS) {
      test(`${host}, ${mechanism}: ${protections.map(([name]) => name).join(', ')}; it verifies our MIC`, async () => {
        for (const [, more, confidential] of protections) {
          const { port, served } = await serveOnce(await acceptorContext())
          const options = [...(mechanism === 'spnego' ? ['-spnego'] : []), '-mcount', '2', ...more]
          const outcome = await gssClient(options, port, `HTTP@${host}.mit.test`, MESSAGE, environment)
          expect(outcome.stdout).toContain('Signature verified.')
          const message = { text: MESSAGE, confidential }
          expect(await served).toEqual({ peer: 'alice@MIT.TEST', messages: [message, message], error: undefined })
        }
      })
    }
  }

  test('without mutual authentication, and with its login forwarded', async () => {
    for (const options of [['-nomutual'], ['-d'], ['-seq'], ['-noreplay']]) {
      const { port, served } = await serveOnce(await acceptorContext())
      const { stdout } = await gssClient(options, port, 'HTTP@aes256.mit.test', MESSAGE, environment)
      expect(stdout).toContain('Signature verified.')
      expect((await served).messages).toHaveLength(1)
    }
  })

  test('P62 it refuses our MIC when a bit of it is flipped', async () => {
    const { port } = await serveOnce(await acceptorContext(), (mic) => flip(mic, mic.length - 1))
    const { status, stdout, stderr } = await gssClient([], port, 'HTTP@aes256.mit.test', MESSAGE, environment)
    expect(status).not.toBe(0)
    expect(stdout).not.toContain('Signature verified.')
    expect(`${stdout}${stderr}`).toMatch(/GSS-API error verifying signature/)
  })

  test('S22 with a ticket for another service it is not', async () => {
    const { port, served } = await serveOnce(await acceptorContext())
    expect((await gssClient([], port, 'host@localhost', MESSAGE, environment)).status).not.toBe(0)
    expect(await served).toMatchObject({ peer: '', messages: [], error: { code: 'KEY_NOT_FOUND' } })
  })
})
