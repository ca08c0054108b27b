/** Octets up to which V8 keeps an array in its own heap, where it costs next to nothing. */
const MAX_HEAP_BYTES = 64

/**
 * Memory for what is written whole at once: while it is less than half of Node's pool, a part of that, which costs a twentieth of a `new Uint8Array`, since V8 keeps every array of
 * more than 64 octets outside of its heap.
 *
 * It holds whatever was there before: write every octet. The pool is everybody's: overwrite what is secret when it was used, and copy what is kept or
 * given to strangers, who may do with `buffer` what they like.
 */
export function allocate(length: number): Uint8Array {
  if (length <= MAX_HEAP_BYTES) return new Uint8Array(length)
  const { buffer, byteOffset } = Buffer.allocUnsafe(length)
  return new Uint8Array(buffer, byteOffset, length) // a Buffer’s `slice` would be a view
}
