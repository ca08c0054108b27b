import { malformed } from '../errors.ts'
import type { FieldValues } from '../http/client.ts'

/** Longest head of an answer that is read: room for the largest token, and some. */
export const MAX_HEAD_BYTES = 98_304

/** Status line and fields of a response (RFC 9112 §4, §5). */
export interface ResponseHead {
  readonly status: number
  /** Of HTTP/1.0: then the connection ends with the answer, unless it says otherwise. */
  readonly isOld: boolean
  readonly fields: FieldValues
}

/** RFC 9112 §4: the reason may be empty; nothing is made of it. */
const STATUS_LINE = /^HTTP\/1\.([01]) ([1-5]\d\d)(?: [\t\x20-\x7e\x80-\xff]*)?$/
/** RFC 9112 §5 and RFC 9110 §5.5: no white space before the colon, no folding, no control characters. */
const FIELD_LINE = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[\t ]*([\t\x20-\x7e\x80-\xff]*)$/

/** Collects the head of a response, in time linear in its length, however small the pieces are. */
export class ResponseHeadReader {
  #bytes = new Uint8Array(4096)
  #length = 0
  #scanned = 0

  /**
   * @returns the head once it is whole, and what came behind it
   * @throws {MalformedError} `MALFORMED` for what the grammar does not allow, or more than `MAX_HEAD_BYTES`
   */
  add(chunk: Uint8Array): { readonly head: ResponseHead; readonly rest: Uint8Array } | undefined {
    this.#append(chunk)
    const end = this.#end()
    if ((end ?? this.#length) > MAX_HEAD_BYTES)
      throw malformed(`answer of a proxy: a head over ${MAX_HEAD_BYTES} octets`)
    if (end === undefined) return undefined
    return { head: headOf(this.#bytes.subarray(0, end - 4)), rest: this.#bytes.slice(end, this.#length) }
  }

  #append(chunk: Uint8Array): void {
    const length = this.#length + chunk.length
    if (length > this.#bytes.length) {
      const longer = new Uint8Array(2 * length)
      longer.set(this.#bytes.subarray(0, this.#length))
      this.#bytes = longer
    }
    this.#bytes.set(chunk, this.#length)
    this.#length = length
  }

  /** Behind the first empty line. */
  #end(): number | undefined {
    for (; this.#scanned < this.#length; this.#scanned++) {
      const at = this.#scanned
      const [a, b, c, d] = this.#bytes.subarray(Math.max(at - 3, 0), at + 1)
      if (a === 13 && b === 10 && c === 13 && d === 10) return at + 1
    }
    return undefined
  }
}

function headOf(bytes: Uint8Array): ResponseHead {
  const [first = '', ...rest] = Buffer.from(bytes).toString('latin1').split('\r\n')
  const [, minor, status] = STATUS_LINE.exec(first) ?? []
  if (status === undefined) throw malformed('answer of a proxy: no status line of HTTP/1')
  const lines = rest.map(fieldOf)
  return {
    status: Number(status),
    isOld: minor === '0',
    fields: (name) => lines.filter((line) => line.name === name).map((line) => line.value),
  }
}

function fieldOf(line: string): { readonly name: string; readonly value: string } {
  const [, name, value] = FIELD_LINE.exec(line) ?? []
  if (name === undefined || value === undefined) throw malformed('answer of a proxy: a line that is no field')
  return { name: name.toLowerCase(), value: value.trimEnd() }
}
