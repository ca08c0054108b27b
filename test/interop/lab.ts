import { execFile, execFileSync, type SpawnSyncReturns, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import tls from 'node:tls'
import { promisify } from 'node:util'

/** Real peers, started by the scripts in `lab/` below one folder of their own, on loopback. A peer that does not start is a failure. */

export type Environment = Readonly<Record<string, string>>

const SCRIPTS = new URL('lab/', import.meta.url).pathname

/** A folder that others may pass: Apache's workers run as www-data. */
export function labFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'spnego-interop-'))
  execFileSync('chmod', ['755', folder])
  return folder
}

export class Peer {
  readonly environment: Environment
  readonly folder: string
  readonly #script: string

  private constructor(script: string, folder: string) {
    this.#script = script
    this.folder = folder
    this.environment = JSON.parse(execFileSync(script, ['env', folder, '--json'], { encoding: 'utf8' })) as Environment
  }

  static start(name: string, base: string, ...options: string[]): Peer {
    const script = join(SCRIPTS, `${name}.sh`)
    const folder = join(base, name)
    const { status, stderr } = spawnSync(script, ['start', folder, ...options], { encoding: 'utf8', timeout: 100_000 })
    if (status !== 0) throw new Error(`${name} did not start: ${stderr}`)
    return new Peer(script, folder)
  }

  /** A value of the script's environment. */
  get(name: string): string {
    const value = this.environment[name]
    if (value === undefined) throw new Error(`${this.#script} gives no ${name}`)
    return value
  }

  stop(): void {
    execFileSync(this.#script, ['stop', this.folder], { stdio: 'ignore' })
  }
}

export interface Outcome {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs a peer's program to its end; `input` goes to its standard input. */
export function run(command: string, args: readonly string[], environment: Environment, input = ''): Outcome {
  const result: SpawnSyncReturns<string> = spawnSync(command, args, {
    encoding: 'utf8',
    env: { ...process.env, ...environment },
    input,
    timeout: 50_000,
  })
  if (result.error !== undefined) throw result.error
  return { status: result.status, stdout: result.stdout, stderr: result.stderr }
}

/** As `run`, while this process goes on serving. */
export async function runBeside(command: string, args: readonly string[], environment: Environment): Promise<Outcome> {
  try {
    const options = { env: { ...process.env, ...environment }, timeout: 50_000, maxBuffer: 16 * 1024 * 1024 }
    const { stdout, stderr } = await promisify(execFile)(command, args, options)
    return { status: 0, stdout, stderr }
  } catch (error) {
    const { code, stdout, stderr } = error as { code?: number; stdout?: string; stderr?: string }
    if (typeof code !== 'number') throw error
    return { status: code, stdout: stdout ?? '', stderr: stderr ?? '' }
  }
}

export const LAB_SCRIPTS: string = SCRIPTS

/** `kinit`, into a cache of its own. */
export function kinit(environment: Environment, principal: string, password: string, ...options: string[]): Outcome {
  return run('kinit', [...options, principal], environment, `${password}\n`)
}

/** Sets variables for the code under test, which reads `process.env`; returns what puts them back. */
export function withEnvironment(environment: Environment): () => void {
  const before = Object.keys(environment).map((name) => [name, process.env[name]] as const)
  Object.assign(process.env, environment)
  return () => {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
    }
  }
}

export function removeFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true })
}

/** As NODE_EXTRA_CA_CERTS, which Node reads only at its start: a certificate that each secure context trusts. */
export function trust(pem: string): () => void {
  const { createSecureContext } = tls
  tls.createSecureContext = (options) => {
    const made = createSecureContext(options)
    ;(made.context as { addCACert(certificate: string): void }).addCACert(pem)
    return made
  }
  return () => {
    tls.createSecureContext = createSecureContext
  }
}
