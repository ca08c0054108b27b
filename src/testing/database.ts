import { utf8 } from '../bytes/bytes.ts'
import { quote } from '../bytes/text.ts'
import { enctype, Key, stringToKey } from '../crypto/index.ts'
import { UsageError } from '../errors.ts'
import type { Principal } from '../krb5/messages/index.ts'

export type Random = (length: number) => Uint8Array

/** A user, a service or the ticket-granting service: a name and one key of each enctype of the realm. */
export interface Account {
  readonly principal: Principal
  /** Version of the keys, counted from 1. */
  readonly kvno: number
  /** Best liked first: a ticket for the account is encrypted under the first. */
  readonly enctypes: readonly number[]
  /** Realm and components, unseparated (RFC 4120 §4). */
  readonly salt: string
  /** Its keys come from it; undefined for random ones. */
  readonly password: string | undefined
  /** RFC 4120 §2.8: the KDC's word that the service may be trusted with a forwarded login. */
  readonly okAsDelegate: boolean
  /** Whether nothing but a new password can be asked for. */
  readonly passwordExpired: boolean
  /** Undefined for an enctype that the account has no key of. */
  key(enctypeId: number): Promise<Key> | undefined
}

/** The accounts of one realm. */
export class Database {
  readonly #accounts = new Map<string, Account>()
  readonly #enctypes: readonly number[]
  readonly #random: Random

  /** @param enctypes of every account's keys, best liked first */
  constructor(enctypes: readonly number[], random: Random) {
    this.#enctypes = enctypes
    this.#random = random
  }

  /** Whole name and realm, nothing folded, nothing cut. */
  find(principal: Principal): Account | undefined {
    return this.#accounts.get(principal.toString())
  }

  /**
   * An account whose keys come from a password; each is derived when first used.
   *
   * @throws {UsageError} `OPTION_INVALID` when the name is taken
   */
  addUser(
    principal: Principal,
    password: string,
    { passwordExpired = false }: { readonly passwordExpired?: boolean } = {},
  ): void {
    this.#mustBeFree(principal)
    const account = passwordAccount(principal, this.#enctypes, password, 1)
    this.#accounts.set(principal.toString(), { ...account, passwordExpired })
  }

  /** Undefined for an unknown name, and for an account of random keys. */
  passwordOf(principal: Principal): string | undefined {
    return this.find(principal)?.password
  }

  /** The names of all users. */
  get users(): readonly Principal[] {
    return [...this.#accounts.values()]
      .filter(({ password }) => password !== undefined)
      .map(({ principal }) => principal)
  }

  /** The next key version, from another password. @throws {UsageError} `OPTION_INVALID` for an unknown name */
  setPassword(principal: Principal, password: string): void {
    const old = this.find(principal)
    if (old === undefined) throw invalid(`there is no account ${quote(principal.toString())}`)
    this.#accounts.set(principal.toString(), passwordAccount(principal, this.#enctypes, password, old.kvno + 1))
  }

  /** An account of random keys. @throws {UsageError} `OPTION_INVALID` when the name is taken */
  addService(principal: Principal, { okAsDelegate = false }: { readonly okAsDelegate?: boolean } = {}): Account {
    this.#mustBeFree(principal)
    const account = { ...randomAccount(principal, this.#enctypes, this.#random), okAsDelegate }
    this.#accounts.set(principal.toString(), account)
    return account
  }

  #mustBeFree(principal: Principal): void {
    if (this.find(principal) !== undefined) throw invalid(`${quote(principal.toString())} exists already`)
  }
}

function passwordAccount(principal: Principal, enctypes: readonly number[], password: string, kvno: number): Account {
  const salt = defaultSalt(principal)
  const made = new Map<number, Promise<Key>>()
  return {
    principal,
    kvno,
    enctypes,
    salt,
    password,
    okAsDelegate: false,
    passwordExpired: false,
    key(id) {
      if (!enctypes.includes(id)) return undefined
      const key = made.get(id) ?? stringToKey(id, password, utf8(salt))
      made.set(id, key)
      return key
    },
  }
}

function randomAccount(principal: Principal, enctypes: readonly number[], random: Random): Account {
  const keys = new Map(enctypes.map((id) => [id, Promise.resolve(randomKey(id, random))]))
  return {
    principal,
    kvno: 1,
    enctypes,
    salt: defaultSalt(principal),
    password: undefined,
    okAsDelegate: false,
    passwordExpired: false,
    key: (id) => keys.get(id),
  }
}

/** For AES any octets are a key (RFC 3962 §6 random-to-key, RFC 8009 §3). */
export function randomKey(id: number, random: Random): Key {
  return new Key(id, random(enctype(id).keyBytes))
}

function defaultSalt({ realm, components }: Principal): string {
  return realm + components.join('')
}

function invalid(message: string): UsageError {
  return new UsageError('OPTION_INVALID', message)
}
