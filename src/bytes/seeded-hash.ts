/**
 * Two hashes of a text, for tables in which strangers choose the texts: FNV-1a over UTF-16 units, from two starting values. Which texts collide is not
 * known to who does not know the seed; no protection where that matters more than a counter.
 *
 * @param seed a random integer of 32 bits
 */
export function seededHashes(text: string, seed: number): readonly [number, number] {
  let a = seed ^ 0x811c9dc5
  let b = Math.imul(seed, 0x9e3779b1) ^ 0x85ebca6b
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    a = Math.imul(a ^ unit, 0x01000193)
    b = Math.imul(b ^ unit, 0x5bd1e995)
  }
  return [a ^ (a >>> 15), b ^ (b >>> 13)]
}
