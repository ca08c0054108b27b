/** The same suite, the same verdicts, when each ticket is known from before. */
import './all-known.ts'

await import('./server.test.ts')
