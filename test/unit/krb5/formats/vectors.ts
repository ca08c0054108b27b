/** Vectors: ours lie in the repository, those of other projects where SPNEGO_FOREIGN_VECTORS says. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { fromBase64 } from '../../../../src/bytes/base64.ts'
import { KerberosError } from '../../../../src/errors.ts'

export interface FileVector<Expected> {
  readonly id: string
  readonly target?: string
  readonly file_b64: string
  readonly expected: Expected
}

const { SPNEGO_FOREIGN_VECTORS: foreign } = process.env

export function ownVectors<T>(name: string): readonly FileVector<T>[] {
  return JSON.parse(readFileSync(new URL(`../../../vectors/${name}.json`, import.meta.url), 'utf8')).records
}

/** Undefined where they are absent. */
export function foreignFile<T>(name: string): T | undefined {
  const path = foreign === undefined ? '' : join(foreign, `${name}.json`)
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : undefined
}

export function foreignVectors<T>(name: string): readonly FileVector<T>[] {
  return foreignFile<{ records: readonly FileVector<T>[] }>(name)?.records ?? []
}

export function fileOf(vector: { readonly file_b64: string }): Uint8Array {
  return fromBase64(vector.file_b64)
}

/** The error that a call throws, which must be one of ours. */
export function refusal(call: () => unknown): KerberosError {
  try {
    call()
  } catch (error) {
    expect(error).toBeInstanceOf(KerberosError)
    return error as KerberosError
  }
  return expect.unreachable('nothing was thrown')
}

/** Whether it returns or throws one of ours; anything else passes through. */
export function survives(call: () => unknown): boolean {
  try {
    call()
    return true
  } catch (error) {
    if (error instanceof KerberosError) return false
    throw error
  }
}

/** A copy with one bit turned. */
export function flipped(bytes: Uint8Array, bit: number): Uint8Array {
  const copy = bytes.slice()
  copy[bit >> 3] = (copy[bit >> 3] as number) ^ (1 << (bit & 7))
  return copy
}
