import { KerberosError, UsageError } from '../errors.ts'

/**
 * Makes an action of a command that is loaded when it runs: starting is most of what a command costs. An error of ours is shown as its message, code
 * and hint, and the exit status is 1; any other is a bug and keeps its stack.
 */
export function lazily<A extends readonly unknown[]>(
  load: () => Promise<(...args: A) => Promise<void>>,
): (...args: A) => Promise<void> {
  return async (...args) => {
    const command = await load()
    try {
      await command(...args)
    } catch (error) {
      if (!(error instanceof KerberosError)) throw error
      showError(error)
      process.exitCode = 1
    }
  }
}

export function showError(error: KerberosError): void {
  const code = error.message.includes(error.code) ? '' : ` [${error.code}]`
  console.error(`spnego: ${error.message}${code}`)
  if (error.hint !== undefined) console.error(`  hint: ${error.hint}`)
}

/** A number from the command line. */
export function portOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const port = Number(text)
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new UsageError('OPTION_INVALID', `--port: expected a number from 0 to 65535, found "${text}"`)
  }
  return port
}

/** `23 Nov 05:46`, in local time; with the year when it is not this one. */
export function shortTime(date: Date): string {
  const day = date.toLocaleDateString('en-GB', { day: '2-digit', month: 'short' })
  const time = date.toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit' })
  return date.getFullYear() === new Date().getFullYear() ? `${day} ${time}` : `${day} ${date.getFullYear()}`
}

/** The lines that make another program join a realm. */
export function exportLines(environment: object): string {
  return Object.entries(environment)
    .map(([name, value]) => `  export ${name}=${value}`)
    .join('\n')
}

/** Resolves when the user ends the program. Call it before telling him how: he may be quick. */
export function untilInterrupted(): Promise<void> {
  return new Promise((resolve) => {
    process.once('SIGINT', () => resolve())
    process.once('SIGTERM', () => resolve())
    process.once('SIGHUP', () => resolve()) // the terminal was closed
  })
}
