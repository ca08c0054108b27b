import { readFileSync } from 'node:fs'

/** The records of one file of `test/vectors/`: captures made for this project and values printed in RFCs. */
export function vectors<T>(family: string): readonly T[] {
  const text = readFileSync(new URL(`vectors/${family}.json`, import.meta.url), 'utf8')
  return (JSON.parse(text) as { readonly records: readonly T[] }).records
}

export function base64(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'base64'))
}
