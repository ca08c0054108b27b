import { utf8 } from '../bytes/bytes.ts'
import { CONFOUNDER_BYTES, type Key } from '../crypto/index.ts'
import { KerberosError } from '../errors.ts'
import {
  changePasswordService,
  decodeChangePasswdData,
  decodeKpasswdMessage,
  encodeKpasswdMessage,
  encodeKpasswdResult,
  KPASSWD_RESULT,
  KPASSWD_VERSION,
  type KpasswdMessage,
} from '../krb5/extensions/kpasswd-messages.ts'
import {
  ADDRESS_TYPE,
  decodeApReq,
  decodeEncKrbPrivPart,
  decodeKrbPriv,
  ERROR,
  encodeApRep,
  encodeEncApRepPart,
  encodeEncKrbPrivPart,
  encodeKrbPriv,
  KEY_USAGE,
  type Principal,
  principalOf,
  TICKET_FLAG,
} from '../krb5/messages/index.ts'
import { opened, type VerifiedApReq, verifyApReq } from './ap-request.ts'
import { krbError, Refusal } from './krb-error.ts'
import { Replays } from './replays.ts'
import type { Kdc } from './tickets.ts'

/** Least characters of a password: enough to show a user what a refusal looks like. */
export const MIN_PASSWORD_CHARACTERS = 4

/** A "no" that is told under the key of the exchange. */
class NotChanged extends Error {
  readonly code: number

  constructor(code: number, text: string) {
    super(text)
    this.code = code
  }
}

/** The password service of a realm (RFC 3244), octets in, octets out. */
export class PasswordService {
  readonly #kdc: Kdc
  readonly #replays = new Replays()

  constructor(kdc: Kdc) {
    this.#kdc = kdc
  }

  /** Whatever the octets are, it never rejects. Undefined where they are no message of this protocol. */
  async handle(request: Uint8Array): Promise<Uint8Array | undefined> {
    let message: KpasswdMessage
    try {
      message = decodeKpasswdMessage(request)
    } catch (error) {
      if (error instanceof KerberosError) return undefined
      throw error
    }
    try {
      return await this.#answer(message)
    } catch (error) {
      return this.#refuse(error instanceof Refusal ? error : new Refusal(ERROR.KRB_ERR_GENERIC, textOf(error)))
    }
  }

  async #answer(message: KpasswdMessage): Promise<Uint8Array> {
    const service = this.#kdc.database.find(changePasswordService(this.#kdc.realm))
    if (service === undefined) throw new Refusal(ERROR.KDC_ERR_SVC_UNAVAILABLE)
    const now = this.#kdc.now()
    const apReq = decodeApReq(message.ap)
    const sender = await verifyApReq(apReq, service, KEY_USAGE.AP_REQ_AUTHENTICATOR, now, this.#replays)
    const { subkey, sessionKey } = sender
    let result = { code: KPASSWD_RESULT.SUCCESS as number, text: '' }
    try {
      this.#change(sender, message, subkey ?? sessionKey)
    } catch (error) {
      if (!(error instanceof NotChanged)) throw error
      result = { code: error.code, text: error.message }
    }
    return this.#reply(sender, encodeKpasswdResult({ code: result.code, text: utf8(result.text) }))
  }

  #change({ ticket }: VerifiedApReq, { version, rest }: KpasswdMessage, key: Key): void {
    const { database, faults } = this.#kdc
    const known = version === KPASSWD_VERSION.SET || version === KPASSWD_VERSION.CHANGE
    if (!known) throw new NotChanged(KPASSWD_RESULT.BAD_VERSION, `protocol version ${version}`)
    // RFC 3244 §2: else a stolen ticket-granting ticket would be enough.
    const isInitial = (ticket.flags & TICKET_FLAG.initial) !== 0
    if (!isInitial) throw new NotChanged(KPASSWD_RESULT.INITIAL_FLAG_NEEDED, 'the ticket is not from a login')
    const { encPart } = decodeKrbPriv(rest)
    const { userData } = opened(() => decodeEncKrbPrivPart(key.decrypt(KEY_USAGE.KRB_PRIV, encPart.cipher)))
    const client = principalOf(ticket.cname, ticket.crealm)
    const password = new TextDecoder().decode(
      version === KPASSWD_VERSION.SET ? passwordFor(client, userData) : userData,
    )
    if (faults.has('password-refused')) throw new NotChanged(KPASSWD_RESULT.SOFTERROR, 'no password is good enough')
    if ([...password].length < MIN_PASSWORD_CHARACTERS) {
      throw new NotChanged(
        KPASSWD_RESULT.SOFTERROR,
        `the password has fewer than ${MIN_PASSWORD_CHARACTERS} characters`,
      )
    }
    if (database.passwordOf(client) === password) {
      throw new NotChanged(KPASSWD_RESULT.SOFTERROR, 'the password was used before')
    }
    database.setPassword(client, password)
  }

  #reply({ authenticator, sessionKey, subkey }: VerifiedApReq, userData: Uint8Array): Uint8Array {
    const { random } = this.#kdc
    const key = subkey ?? sessionKey // RFC 3244 §2: that of the AP-REQ; the AP-REP asserts none
    const seqNumber = 1
    const proof = encodeEncApRepPart({
      ctime: authenticator.ctime,
      subkey: undefined,
      seqNumber,
    })
    const sealed = sessionKey.encrypt(KEY_USAGE.AP_REP, proof, random(CONFOUNDER_BYTES))
    const ap = encodeApRep({ encPart: { etype: sessionKey.enctype, kvno: undefined, cipher: sealed } })
    const part = encodeEncKrbPrivPart({
      userData,
      timestamp: undefined,
      seqNumber,
      senderAddress: { addressType: ADDRESS_TYPE.IPV4, address: Uint8Array.of(127, 0, 0, 1) },
      recipientAddress: undefined,
    })
    const cipher = key.encrypt(KEY_USAGE.KRB_PRIV, part, random(CONFOUNDER_BYTES))
    const rest = encodeKrbPriv({ encPart: { etype: key.enctype, kvno: undefined, cipher } })
    return encodeKpasswdMessage({ version: KPASSWD_VERSION.CHANGE, ap, rest })
  }

  /** RFC 3244 §2: without an AP-REP a KRB-ERROR, whose data has a result too. */
  #refuse({ errorCode, message }: Refusal): Uint8Array {
    const eData = encodeKpasswdResult({ code: KPASSWD_RESULT.AUTHERROR, text: utf8(message) })
    const rest = krbError(this.#kdc, new Refusal(errorCode, message, eData))
    return encodeKpasswdMessage({ version: KPASSWD_VERSION.CHANGE, ap: new Uint8Array(0), rest })
  }
}

/** RFC 3244 §2: whose password it is may be said; this service lets everybody change his own. */
function passwordFor(client: Principal, userData: Uint8Array): Uint8Array {
  const { newPassword, targetName, targetRealm } = opened(() => decodeChangePasswdData(userData))
  const isOwn = targetName === undefined || principalOf(targetName, targetRealm ?? client.realm).equals(client)
  if (!isOwn) throw new NotChanged(KPASSWD_RESULT.ACCESSDENIED, 'everybody may change his own password only')
  return newPassword
}

function textOf(error: unknown): string {
  return error instanceof KerberosError ? error.message : 'internal error'
}
