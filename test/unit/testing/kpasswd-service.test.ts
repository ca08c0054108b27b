import { describe, expect, test } from 'vitest'
import { utf8 } from '../../../src/bytes/bytes.ts'
import { stringToKey } from '../../../src/crypto/index.ts'
import { MalformedError } from '../../../src/errors.ts'
import { drive } from '../../../src/krb5/client.ts'
import {
  asExchange,
  type Credential,
  makeApReq,
  newSubkey,
  tgsExchange,
  verifyApRep,
} from '../../../src/krb5/exchange/index.ts'
import {
  changePasswordService,
  decodeChangePasswdData,
  decodeKpasswdMessage,
  decodeKpasswdResult,
  encodeChangePasswdData,
  encodeKpasswdMessage,
  KPASSWD_RESULT,
  KPASSWD_VERSION,
  type KpasswdResult,
} from '../../../src/krb5/extensions/index.ts'
import {
  decodeEncKrbPrivPart,
  decodeKrbError,
  decodeKrbPriv,
  ERROR,
  encodeEncKrbPrivPart,
  encodeKrbPriv,
  KEY_USAGE,
  NAME_TYPE,
  Principal,
} from '../../../src/krb5/messages/index.ts'
import { systemSource } from '../../../src/system/index.ts'
import { Database, EmbeddedKdc } from '../../../src/testing/index.ts'

/** RFC 3244 §2 at the embedded realm, message by message. */

const REALM = 'EXAMPLE.TEST'
const ALICE = new Principal(['alice'], REALM)
const source = systemSource()

interface Lab {
  readonly kdc: EmbeddedKdc
  readonly database: Database
  login(server?: Principal): Promise<Credential>
}

function lab(): Lab {
  const database = new Database([18, 17, 20, 19], source.random)
  database.addUser(ALICE, 'secret')
  database.addService(new Principal(['HTTP', 'localhost'], REALM))
  const kdc = new EmbeddedKdc({ realm: REALM, database, now: source.now, random: source.random })
  const answers = {
    send: async (_realm: string, message: Uint8Array) => (await kdc.handle(message)) as Uint8Array,
    derive: ({ enctype, salt, iterations }: { enctype: number; salt: string; iterations: number }) =>
      stringToKey(enctype, 'secret', utf8(salt), iterations),
  }
  return {
    kdc,
    database,
    login: (server) => drive(asExchange({ client: ALICE, server, enctypes: [18], lifetime: 300e6, source }), answers),
  }
}

interface Change {
  readonly version?: number
  readonly userData: Uint8Array
  readonly sealWith?: number
}

async function change(
  { kdc }: Lab,
  credential: Credential,
  { version = KPASSWD_VERSION.SET, userData, sealWith }: Change,
): Promise<{ reply: Uint8Array; result(): KpasswdResult }> {
  const subkey = newSubkey(18, source)
  const apReq = makeApReq({ credential, mutual: true, checksum: undefined, subkey, seqNumber: 7, source })
  const plain = encodeEncKrbPrivPart({
    userData,
    timestamp: undefined,
    seqNumber: 7,
    senderAddress: { addressType: 2, address: Uint8Array.of(127, 0, 0, 1) },
    recipientAddress: undefined,
  })
  const cipher = subkey.encrypt(sealWith ?? KEY_USAGE.KRB_PRIV, plain, source.random(16))
  const rest = encodeKrbPriv({ encPart: { etype: 18, kvno: undefined, cipher } })
  const reply = (await kdc.passwords.handle(encodeKpasswdMessage({ version, ap: apReq.message, rest }))) as Uint8Array
  return {
    reply,
    result() {
      const answer = decodeKpasswdMessage(reply)
      const { seqNumber } = verifyApRep(answer.ap, apReq.sent, credential.sessionKey, [18])
      const part = decodeEncKrbPrivPart(subkey.decrypt(KEY_USAGE.KRB_PRIV, decodeKrbPriv(answer.rest).encPart.cipher))
      expect(part.seqNumber).toBe(seqNumber)
      return decodeKpasswdResult(part.userData)
    },
  }
}

const data = (password: string, target?: Principal): Uint8Array =>
  encodeChangePasswdData({
    newPassword: utf8(password),
    targetName: target && { nameType: NAME_TYPE.NT_PRINCIPAL, components: target.components },
    targetRealm: target?.realm,
  })

describe('the password service', () => {
  const service = changePasswordService(REALM)

  test('takes both versions: the bare password, and ChangePasswdData with and without oneself as target', async () => {
    const made = lab()
    const credential = await made.login(service)
    for (const [version, userData] of [
      [KPASSWD_VERSION.CHANGE, utf8('first one')],
      [KPASSWD_VERSION.SET, data('second one')],
      [KPASSWD_VERSION.SET, data('third one', ALICE)],
    ] as const) {
      const { result } = await change(made, credential, { version, userData })
      expect(result().code).toBe(KPASSWD_RESULT.SUCCESS)
    }
    expect(made.database.passwordOf(ALICE)).toBe('third one')
  })

  test('changes nobody else’s, takes no other version and no login that came from a ticket', async () => {
    const made = lab()
    const credential = await made.login(service)
    const bob = new Principal(['bob'], REALM)
    made.database.addUser(bob, 'his secret')
    const other = await change(made, credential, { userData: data('new password', bob) })
    expect(other.result().code).toBe(KPASSWD_RESULT.ACCESSDENIED)
    const old = await change(made, credential, { version: 5, userData: data('new password') })
    expect(old.result().code).toBe(KPASSWD_RESULT.BAD_VERSION)

    const tgt = await made.login()
    const byTicket = await drive(tgsExchange({ tgt, server: service, enctypes: [18], source }), {
      send: async (_realm, message) => (await made.kdc.handle(message)) as Uint8Array,
      derive: () => Promise.reject(new Error('no password')),
    })
    const stolen = await change(made, byTicket, { userData: data('new password') })
    expect(stolen.result().code).toBe(KPASSWD_RESULT.INITIAL_FLAG_NEEDED)
    expect([made.database.passwordOf(ALICE), made.database.passwordOf(bob)]).toEqual(['secret', 'his secret'])
  })

  test('K43 a ticket for another service, and a message sealed otherwise, are refused with a KRB-ERROR', async () => {
    const made = lab()
    const other = await change(made, await made.login(), { userData: data('new password') })
    const errorOf = (reply: Uint8Array) => decodeKrbError(decodeKpasswdMessage(reply).rest).errorCode
    expect(decodeKpasswdMessage(other.reply).ap).toHaveLength(0)
    expect(errorOf(other.reply)).toBe(ERROR.KRB_AP_ERR_NOT_US)
    const bent = await change(made, await made.login(service), { userData: data('new password'), sealWith: 14 })
    expect(errorOf(bent.reply)).toBe(ERROR.KRB_AP_ERR_BAD_INTEGRITY)
    expect(made.database.passwordOf(ALICE)).toBe('secret')
  })

  test('K50 junk has no answer, or a KRB-ERROR; never a crash', async () => {
    const { kdc } = lab()
    for (const junk of [new Uint8Array(0), new Uint8Array(3), Uint8Array.of(0, 5, 0, 1, 0), utf8('GET / HTTP/1.1')]) {
      expect(await kdc.passwords.handle(junk)).toBeUndefined()
    }
    const empty = encodeKpasswdMessage({ version: 1, ap: new Uint8Array(0), rest: new Uint8Array(0) })
    const reply = (await kdc.passwords.handle(empty)) as Uint8Array
    expect(decodeKrbError(decodeKpasswdMessage(reply).rest).errorCode).toBe(ERROR.KRB_ERR_GENERIC)
  })
})

test('ChangePasswdData: decodes to what was encoded, truncated nowhere', () => {
  const whole = data('päß', ALICE)
  expect(encodeChangePasswdData(decodeChangePasswdData(whole))).toEqual(whole)
  for (let n = 0; n < whole.length; n++)
    expect(() => decodeChangePasswdData(whole.subarray(0, n))).toThrow(MalformedError)
})
