import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { quote } from '../bytes/text.ts'
import { type MutualAuthentication, type Negotiated, negotiated, negotiateFetch } from '../entries/fetch.ts'
import { Credentials, UsageError } from '../entries/index.ts'
import { outputFile } from '../entries/wiring/output-file.ts'
import { showError } from './output.ts'

export interface FetchFlags {
  readonly request?: string
  readonly header: readonly string[]
  readonly data?: string
  readonly output?: string
  readonly cache?: string
  readonly target?: string
  readonly mutual?: string
  readonly insecureOrigin: readonly string[]
  readonly proxy?: string
  readonly verbose?: boolean
}

export async function fetchUrl(url: string, flags: FetchFlags): Promise<void> {
  const fetch = negotiateFetch({
    credentials: flags.cache === undefined ? undefined : Credentials.fromCache(flags.cache),
    targetName: flags.target,
    mutualAuthentication: flags.mutual as MutualAuthentication | undefined,
    proxy: flags.proxy,
    insecureOrigins: flags.insecureOrigin.length === 0 ? undefined : flags.insecureOrigin,
  })
  // The command tells the reason itself.
  process.removeAllListeners('warning')
  const response = await fetch(requestOf(url, flags)).catch((error: unknown) => {
    if (!(error instanceof TypeError)) throw error
    console.error(`spnego: ${url} cannot be reached: ${reasonOf(error)}`)
    process.exitCode = 1
  })
  if (response === undefined) return
  const report = negotiated(response)
  if (flags.verbose === true) tell(response, report)
  if (response.body !== null) {
    await write(response.body, flags.output)
  }
  if (response.ok) return
  console.error(`spnego: ${url} answered ${statusOf(response)}`)
  if (report?.error !== undefined) showError(report.error)
  process.exitCode = 1
}

async function write(body: ReadableStream, output: string | undefined): Promise<void> {
  const to = output === undefined ? process.stdout : await outputFile(output)
  try {
    await pipeline(Readable.fromWeb(body as never), to, { end: to !== process.stdout && to !== process.stderr })
  } catch (cause) {
    const code = (cause as { code?: string }).code
    if (code === 'EPIPE') return // head, less: the reader has seen enough
    throw new UsageError('OPTION_INVALID', `the body cannot be written to ${output ?? 'standard output'}: ${code}`, {
      cause,
    })
  }
}

function requestOf(url: string, flags: FetchFlags): Request {
  const address = addressOf(url)
  const method = flags.request ?? (flags.data === undefined ? 'GET' : 'POST')
  try {
    return new Request(address, { method, headers: flags.header.map(headerOf), body: flags.data ?? null })
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause
    throw new UsageError('OPTION_INVALID', `no request can be made of these options: ${cause.message}`, { cause })
  }
}

function addressOf(text: string): URL {
  try {
    return new URL(text)
  } catch {
    throw new UsageError('OPTION_INVALID', `"${text}" is no URL`, { hint: 'Write http://host/path.' })
  }
}

function headerOf(line: string): [string, string] {
  const at = line.indexOf(':')
  if (at < 1) throw new UsageError('OPTION_INVALID', `--header: "${line}" is no "Name: value"`)
  return [line.slice(0, at).trim(), line.slice(at + 1).trim()]
}

function reasonOf({ cause, message }: TypeError): string {
  if (!(cause instanceof Error)) return message
  return (cause as { code?: string }).code ?? cause.message
}

/** The reason phrase is the server's: the terminal must not obey what is in it. */
function statusOf({ status, statusText }: Response): string {
  return statusText === '' ? `${status}` : `${status} ${quote(statusText)}`
}

function tell(response: Response, report: Negotiated | undefined): void {
  const lines = [`${statusOf(response)} from ${response.url}`]
  if (report === undefined) lines.push('no login: the server did not ask for one')
  else {
    lines.push(`I am     ${report.principal ?? 'nobody'}`)
    lines.push(`server   ${report.target ?? 'no ticket'}, ${report.serverAuthenticated ? '' : 'NOT '}verified`)
    if (report.error !== undefined) lines.push(`reason   ${report.error.code}`)
  }
  for (const line of lines) console.error(`* ${line}`)
}
