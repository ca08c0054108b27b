import type { Writable } from 'node:stream'
import { quote } from '../../bytes/text.ts'
import { UsageError } from '../../errors.ts'
import { openOutputFile, reasonOf, UnsafePathError } from '../../system/index.ts'

/**
 * A file that the user of a command names for its output.
 *
 * @throws {UsageError} `OPTION_INVALID`
 */
export async function outputFile(path: string): Promise<Writable> {
  try {
    return await openOutputFile(path)
  } catch (cause) {
    const hint = cause instanceof UnsafePathError ? cause.hint : undefined
    throw new UsageError('OPTION_INVALID', `${quote(path)} cannot be written to: ${reasonOf(cause)}`, { cause, hint })
  }
}
