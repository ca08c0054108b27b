import { concat, utf8 } from '../../bytes/bytes.ts'
import { hash } from '../../crypto/index.ts'
import { CredentialError, KerberosError } from '../../errors.ts'
import type { UserPassword } from '../../http/credentials.ts'
import { hostnameOf, type NegotiateRequest, type PasswordVerifier, type ProvenUser } from '../../http/index.ts'
import type { AcceptorRules } from '../../krb5/exchange/index.ts'
import type { Krb5Config } from '../../krb5/formats/index.ts'
import { isAnonymousName, Principal } from '../../krb5/messages/index.ts'
import { PasswordCheck, type PasswordQuestion } from '../../krb5/password-check.ts'
import { monotonic } from '../../system/index.ts'
import { systemWorld } from './world.ts'

/** Most passwords that are remembered; one more forgets the oldest. */
const MAX_REMEMBERED = 1000
const SALT_BYTES = 32

export interface PasswordSettings {
  /** The keys as they are now, of the name that the request is for. */
  readonly rulesFor: (request: NegotiateRequest) => AcceptorRules
  readonly timeoutMs: number
  readonly rememberMs: number
  readonly config?: Krb5Config | undefined
}

interface Question extends Omit<PasswordQuestion, 'password'> {
  /** What it is found by while it is under way, and as long as its answer is kept. */
  readonly key: string
}

interface Remembered {
  readonly proof: Promise<ProvenUser>
  endsAt: number
}

/** Asks the realm's KDC. The same question at the same time is asked once, and its answer kept where that is wanted. */
export class Passwords implements PasswordVerifier {
  readonly #settings: PasswordSettings
  readonly #world = systemWorld()
  readonly #salt = this.#world.source.random(SALT_BYTES)
  readonly #known = new Map<string, Remembered>()
  #check: PasswordCheck | undefined

  constructor(settings: PasswordSettings) {
    this.#settings = settings
  }

  async verify(credential: UserPassword, request: NegotiateRequest): Promise<ProvenUser> {
    const question = this.#questionOf(credential, request)
    if (question === undefined) throw wrong()
    const { key, ...asked } = question
    const proof = this.#knownBy(key)
    return proof ?? this.#remember(key, this.#ask({ ...asked, password: utf8(credential.password) }))
  }

  isKnown(credential: UserPassword, request: NegotiateRequest): boolean {
    const question = this.#questionOf(credential, request)
    return question !== undefined && this.#knownBy(question.key) !== undefined
  }

  nameOf(credential: UserPassword, request: NegotiateRequest): string | undefined {
    const name = this.#questionOf(credential, request)?.client.toString()
    return name && folded(name)
  }

  /** Undefined: nobody need be asked. */
  #questionOf({ user, password }: UserPassword, request: NegotiateRequest): Question | undefined {
    const rules = this.#settings.rulesFor(request)
    const client = clientOf(user, rules.keys.principals)
    if (client === undefined || password === '' || isAnonymousName(client)) return undefined // check: S101
    const service = serviceFor(request, rules)
    return { client, service, rules, key: this.#labelOf(`${service} ${client}`, password) }
  }

  #knownBy(key: string): Promise<ProvenUser> | undefined {
    const known = this.#known.get(key)
    return known !== undefined && known.endsAt > monotonic() ? known.proof : undefined
  }

  /** A hash with a secret of this process: memory shows no password, and nothing to try passwords on. */
  #labelOf(names: string, password: string): string {
    const text = utf8(`${names}\0${password}`)
    const salted = concat(this.#salt, text)
    const label = hash('sha256', salted)
    salted.fill(0)
    text.fill(0)
    return String.fromCharCode(...label)
  }

  async #remember(key: string, proof: Promise<ProvenUser>): Promise<ProvenUser> {
    const entry: Remembered = { proof, endsAt: Number.POSITIVE_INFINITY } // while it is under way
    this.#known.set(key, entry)
    const [oldest] = this.#known.keys()
    if (this.#known.size > MAX_REMEMBERED && oldest !== undefined) this.#known.delete(oldest)
    try {
      const proven = await proof
      const untilEnd = proven.expiresAt.getTime() - this.#world.source.now() / 1000
      entry.endsAt = monotonic() + Math.min(this.#settings.rememberMs, untilEnd)
      return proven
    } catch (error) {
      entry.endsAt = Number.NEGATIVE_INFINITY
      throw error
    } finally {
      if (entry.endsAt <= monotonic() && this.#known.get(key) === entry) this.#known.delete(key)
    }
  }

  async #ask(question: PasswordQuestion): Promise<ProvenUser> {
    const { clockSkew, enctypes } = question.rules
    const { config = await this.#world.loadConfig(), timeoutMs } = this.#settings
    this.#check ??= new PasswordCheck(this.#world, enctypes[0] as number)
    try {
      const call = {
        at: monotonic() + timeoutMs,
        signal: undefined,
        config,
        enctypes,
        loginEnctypes: enctypes,
        clockSkew,
      }
      const { client, endTime, login } = await this.#check.check(question, call)
      return { peer: client, expiresAt: new Date(endTime / 1000), login }
    } finally {
      question.password.fill(0)
    }
  }
}

/** The name that the request is for, when the keytab has it; a host's other names are as good. */
function serviceFor(request: NegotiateRequest, { keys }: AcceptorRules): Principal {
  const hostname = hostnameOf(request)
  const { principals } = keys
  const named = principals.find(({ components }) => components[1]?.toLowerCase() === hostname)
  return (named ?? principals[0]) as Principal
}

/** Of this server's own realms alone: else a stranger could choose the KDC that is asked. Users write realms as they like. */
function clientOf(user: string, services: readonly Principal[]): Principal | undefined {
  try {
    const { components, realm } = Principal.parse(user)
    const own = services.find((service) => realm === '' || service.realm.toLowerCase() === realm.toLowerCase()) // check: S94
    return own && new Principal(components, own.realm)
  } catch (error) {
    if (error instanceof KerberosError) return undefined
    throw error
  }
}

/**
 * One spelling for all that Active Directory takes for one account: it compares names without regard to case, marks, width and kana (MS-ADTS
 * §3.1.1.2.2.4.8). Two names with one spelling share a count of failures, and nothing else.
 */
function folded(name: string): string {
  const plain = name.normalize('NFKD').replace(/\p{M}/gu, '') // check: S87
  const hiragana = plain.replace(/[\u30a1-\u30f6]/g, (kana) => String.fromCharCode(kana.charCodeAt(0) - 0x60))
  return hiragana.toUpperCase().toLowerCase() // check: S87
}

function wrong(): CredentialError {
  return new CredentialError('PASSWORD_WRONG', 'the user name or the password is wrong')
}
