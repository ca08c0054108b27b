import { readUint32 } from '../../bytes/bytes.ts'
import type { Key } from '../../crypto/index.ts'

/** What an exchange asks of the world. It is answered by the driver (`krb5/client.ts`) or by a test. */
export type Effect =
  /** Bytes for a KDC of the realm; the answer is its reply. */
  | { readonly kind: 'send'; readonly realm: string; readonly message: Uint8Array }
  /** The client's long-term key; a keytab answers at once, a password on the thread pool. */
  | { readonly kind: 'derive'; readonly request: KeyRequest }

export interface KeyRequest {
  readonly enctype: number
  /** From the KDC's ETYPE-INFO2, else the default of RFC 4120 §4: realm and components, unseparated. */
  readonly salt: string
  readonly iterations: number
  /** The version that the KDC names, when it does. */
  readonly kvno: number | undefined
}

/** A protocol exchange without I/O. */
export type Exchange<T> = Generator<Effect, T, Uint8Array | Key>

export function* send(realm: string, message: Uint8Array): Exchange<Uint8Array> {
  return (yield { kind: 'send', realm, message }) as Uint8Array
}

export function* derive(request: KeyRequest): Exchange<Key> {
  return (yield { kind: 'derive', request }) as Key
}

/** Time and randomness, handed in so that an exchange can be replayed. */
export interface Source {
  /** Microseconds since 1970, never the same twice. */
  now(): number
  random(length: number): Uint8Array
}

/** A number for `nonce` and `seq-number`: 31 bits, because some peers read 32 as signed (RFC 4120 §5.4.1, §5.5.1). */
export function random31(source: Source): number {
  return readUint32(source.random(4), 0) & 0x7fffffff
}
