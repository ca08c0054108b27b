/** A network that an address belongs to, and how many times the attempts of one user it may make. */
export interface Network {
  readonly name: string
  readonly factor: number
}

/** An address may stand for many users: of a company, or of a proxy. */
export const ADDRESS_FACTOR = 10

/**
 * Prefixes of IPv6 that one subscriber may have: each /64 is one network (RFC 4291 §2.5.4), and sites are given a /56 or a /48 of them (RFC 6177 §2).
 * What a longer prefix may do, times the factor.
 */
const PREFIXES = [
  { bits: 64, factor: ADDRESS_FACTOR },
  { bits: 56, factor: 4 * ADDRESS_FACTOR },
  { bits: 48, factor: 16 * ADDRESS_FACTOR },
] as const

/** The networks of an address as text, with or without port and zone. What is no address is a network of its own. */
export function networksOf(address: string): readonly Network[] {
  const alone = address.replace(/^\[(.*)\](:\d+)?$/, '$1').replace(/^([\d.]+):\d+$/, '$1') // check: S87
  const plain = alone.replace(/%.*$/, '').toLowerCase()
  const groups = groupsOf(plain)
  if (groups === undefined) return [{ name: plain, factor: ADDRESS_FACTOR }]
  if (isMapped(groups)) return [{ name: dotted(groups), factor: ADDRESS_FACTOR }] // check: S87
  const high = BigInt(
    `0x${groups
      .slice(0, 4)
      .map((group) => group.toString(16).padStart(4, '0'))
      .join('')}`,
  )
  return PREFIXES.map(({ bits, factor }) => ({ name: `${(high >> BigInt(64 - bits)).toString(16)}/${bits}`, factor })) // check: S87
}

/** The eight groups of an IPv6 address (RFC 4291 §2.2). Undefined: it is none. */
function groupsOf(text: string): readonly number[] | undefined {
  if (!text.includes(':')) return undefined
  const [head = '', tail, ...others] = text.split('::')
  if (others.length > 0) return undefined
  const [first, last] = [listOf(head), listOf(tail ?? '')]
  const missing = 8 - first.length - last.length
  if (tail === undefined ? missing !== 0 : missing < 1) return undefined
  const groups = [...first, ...Array<number>(tail === undefined ? 0 : missing).fill(0), ...last]
  return groups.every((group) => group >= 0 && group <= 0xffff) ? groups : undefined
}

/** Groups between colons; the last one may be an IPv4 address, which is two. NaN where one is neither. */
function listOf(text: string): readonly number[] {
  if (text === '') return []
  return text.split(':').flatMap((group) => {
    const octets = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(group)?.slice(1).map(Number)
    if (octets === undefined) return /^[0-9a-f]{1,4}$/.test(group) ? Number.parseInt(group, 16) : Number.NaN
    const [a = 0, b = 0, c = 0, d = 0] = octets
    return [a * 256 + b, c * 256 + d]
  })
}

/** IPv4 on a socket of both families (RFC 4291 §2.5.5.2). */
function isMapped(groups: readonly number[]): boolean {
  return groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff
}

function dotted(groups: readonly number[]): string {
  return groups
    .slice(6)
    .flatMap((group) => [group >> 8, group & 255])
    .join('.')
}
