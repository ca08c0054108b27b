/** MIT krb5, "krb5.conf", "Encryption types": names, aliases, families and lists of them. Numbers: IANA. */

/** What a list says. */
export interface EnctypeList {
  /** Each once, in order of preference. */
  readonly enctypes: readonly number[]
  /** Names that mean nothing to us. */
  readonly unknown: readonly string[]
}

/** What `DEFAULT` stands for: AES, as everywhere in this package. */
export const DEFAULT_ENCTYPES: readonly number[] = Object.freeze([18, 17, 20, 19])

const NAMES: ReadonlyMap<string, readonly number[]> = new Map<string, readonly number[]>([
  ['des3-cbc-sha1', [16]],
  ['des3-hmac-sha1', [16]],
  ['des3-cbc-sha1-kd', [16]],
  ['aes128-cts-hmac-sha1-96', [17]],
  ['aes128-cts', [17]],
  ['aes128-sha1', [17]],
  ['aes256-cts-hmac-sha1-96', [18]],
  ['aes256-cts', [18]],
  ['aes256-sha1', [18]],
  ['aes128-cts-hmac-sha256-128', [19]],
  ['aes128-sha2', [19]],
  ['aes256-cts-hmac-sha384-192', [20]],
  ['aes256-sha2', [20]],
  ['arcfour-hmac', [23]],
  ['rc4-hmac', [23]],
  ['arcfour-hmac-md5', [23]],
  ['arcfour-hmac-exp', [24]],
  ['rc4-hmac-exp', [24]],
  ['arcfour-hmac-md5-exp', [24]],
  ['camellia128-cts-cmac', [25]],
  ['camellia128-cts', [25]],
  ['camellia256-cts-cmac', [26]],
  ['camellia256-cts', [26]],
  // Families.
  ['des3', [16]],
  ['aes', [18, 17, 20, 19]],
  ['aes-sha1', [18, 17]],
  ['aes-sha2', [20, 19]],
  ['rc4', [23]],
  ['camellia', [26, 25]],
])

/** "Weak": only with `allow_weak_crypto`. */
const WEAK: ReadonlySet<number> = new Set([24])

/**
 * Reads a list: names, families and `DEFAULT` between blanks or commas, upper and lower case alike; `-name` takes away, `+name`
 * adds, as a bare name does.
 */
export function parseEnctypeList(
  text: string,
  { defaults = DEFAULT_ENCTYPES, allowWeak = false }: { defaults?: readonly number[]; allowWeak?: boolean } = {},
): EnctypeList {
  const enctypes = new Set<number>()
  const unknown: string[] = []
  for (const word of text.split(/[ \t\r\n,]+/)) {
    const name = word.replace(/^[+-]/, '').toLowerCase()
    const numbers = name === 'default' ? defaults : NAMES.get(name)
    if (numbers === undefined && name !== '') unknown.push(word)
    for (const number of numbers ?? []) {
      if (word.startsWith('-')) enctypes.delete(number)
      else if (allowWeak || !WEAK.has(number)) enctypes.add(number)
    }
  }
  return { enctypes: [...enctypes], unknown }
}
