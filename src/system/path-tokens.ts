import type { PathTokens } from '../krb5/formats/index.ts'
import { defaultPlaces, userName } from './places.ts'

/** What `%{uid}` and its like stand for in krb5.conf (MIT krb5, "Parameter expansion"). */
const TOKENS: ReadonlyMap<string, () => string | undefined> = new Map([
  ['uid', userId],
  ['USERID', userId],
  ['euid', () => String(process.geteuid?.() ?? 0)],
  ['username', userName],
  ['TEMP', () => defaultPlaces().temporary],
  ['null', () => ''],
])

/** Each is looked up when it is asked for: a user's name costs a look into the user database. */
export const pathTokens: PathTokens = { get: (name) => TOKENS.get(name)?.() }

function userId(): string {
  return String(process.getuid?.() ?? 0)
}
