import { invalid } from '../options.ts'

/** As pino has it: an object of facts, then a message. */
export interface Logger {
  debug(facts: object, message: string): void
  info(facts: object, message: string): void
  warn(facts: object, message: string): void
  error(facts: object, message: string): void
}

export function loggerOf(value: unknown): Logger {
  const isLogger =
    typeof value === 'object' &&
    value !== null &&
    ['debug', 'info', 'warn', 'error'].every((level) => typeof (value as Record<string, unknown>)[level] === 'function')
  if (!isLogger) throw invalid('logger', '{ debug, info, warn, error }', value)
  return value as Logger
}
