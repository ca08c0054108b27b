import { malformed } from '../errors.ts'

/**
 * A cursor over bytes: every read names what it reads and moves on, or throws `MALFORMED` and the value is lost. Several readers may
 * share one buffer; what is taken is a view of it.
 */
export class ByteReader {
  readonly bytes: Uint8Array
  position: number
  #limit: number
  #depth: number

  constructor(bytes: Uint8Array, start = 0, limit: number = bytes.length, depth = 0) {
    this.bytes = bytes
    this.position = start
    this.#limit = limit
    this.#depth = depth
  }

  get remaining(): number {
    return this.#limit - this.position
  }

  /** How many others what is read lies within. */
  get depth(): number {
    return this.#depth
  }

  /** One octet, 0 to 255. */
  byte(what: string): number {
    if (this.position >= this.#limit) throw malformed(`${what}: truncated`)
    return this.bytes[this.position++] as number
  }

  /** The next octet without moving; `undefined` at the end. */
  peek(): number | undefined {
    return this.position < this.#limit ? this.bytes[this.position] : undefined
  }

  /** Moves past these octets, if they come next. */
  skip(octets: Uint8Array): boolean {
    if (octets.length > this.remaining) return false
    for (let i = 0; i < octets.length; i++) if (this.bytes[this.position + i] !== octets[i]) return false
    this.position += octets.length
    return true
  }

  /** A view of the next `length` octets. */
  take(length: number, what: string): Uint8Array {
    this.#need(length, what)
    const start = this.position
    this.position += length
    return this.bytes.subarray(start, this.position)
  }

  /** A reader over the next `length` octets, which this one skips. */
  within(length: number, what: string): ByteReader {
    this.#need(length, what)
    const start = this.position
    this.position += length
    return new ByteReader(this.bytes, start, this.position, this.#depth + 1)
  }

  /**
   * Confines this reader itself to the next `length` octets, as a reader `within` would be, until `leave`: for what is read at once. A reader
   * that has thrown in between is of no use any more.
   *
   * @returns what `leave` needs
   */
  enter(length: number, what: string): number {
    this.#need(length, what)
    const outside = this.#limit
    this.#limit = this.position + length
    this.#depth++
    return outside
  }

  /** Back out, when everything within was read. */
  leave(outside: number, what: string): void {
    this.end(what)
    this.#limit = outside
    this.#depth--
  }

  /** All that is left. */
  rest(): Uint8Array {
    return this.take(this.remaining, 'rest')
  }

  uint16(what: string): number {
    return this.byte(what) * 0x100 + this.byte(what)
  }

  uint32(what: string): number {
    return this.uint16(what) * 0x10000 + this.uint16(what)
  }

  int32(what: string): number {
    return this.uint32(what) | 0
  }

  uint16le(what: string): number {
    return this.byte(what) + this.byte(what) * 0x100
  }

  uint32le(what: string): number {
    return this.uint16le(what) + this.uint16le(what) * 0x10000
  }

  /** Nothing may be left over. */
  end(what: string): void {
    if (this.position !== this.#limit) throw malformed(`${what}: ${this.remaining} octets left over`)
  }

  #need(length: number, what: string): void {
    if (length < 0 || length > this.remaining)
      throw malformed(`${what}: ${length} octets announced, ${this.remaining} there`)
  }
}
