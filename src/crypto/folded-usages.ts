import { uint32be } from '../bytes/bytes.ts'
import { fromHex } from '../bytes/hex.ts'
import { BLOCK_BYTES } from './kept-cbc.ts'
import { nFold } from './n-fold.ts'
import { PURPOSE } from './profile.ts'

/**
 * The 128-bit n-folds (RFC 3961 §5.1) of usage and purpose, for the usages that each login has: ticket 2, authenticator 11, its answer 12 (RFC 4120
 * §7.5.1). They never change; a test folds them again.
 */
const FOLDED: ReadonlyMap<number, ReadonlyMap<number, Uint8Array>> = new Map([
  [2, ofUsage('b5b0582c14b6500aad56ab55aa80556a', '62dc6e371a63a80958ac562b15404ac5')],
  [11, ofUsage('fe54aa55a502522fbf5fafd7ea8175fa', 'ab80c060aaafaa2e6ab55aad55416b55')],
  [12, ofUsage('05d7ec76b50b5333c160b0582a81960b', 'b3040281bab8ab326cb65b2d95418b65')],
])

function ofUsage(encryption: string, integrity: string): ReadonlyMap<number, Uint8Array> {
  return new Map([
    [PURPOSE.ENCRYPTION, fromHex(encryption)],
    [PURPOSE.INTEGRITY, fromHex(integrity)],
  ])
}

/** The constant that a key of this usage and purpose is derived from, folded to a block (RFC 3961 §5.3, §5.1). */
export function foldedUsage(usage: number, purpose: number): Uint8Array {
  return FOLDED.get(usage)?.get(purpose) ?? nFold(Uint8Array.of(...uint32be(usage), purpose), BLOCK_BYTES)
}
