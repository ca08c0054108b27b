import type { IncomingHttpHeaders, IncomingMessage, Server, ServerResponse } from 'node:http'

/** The public shapes that are promised, written down apart from the code. `api.test-d.ts` holds the built declarations to them. */

export interface KerberosError extends Error {
  readonly code: string
  readonly hint: string | undefined
}
export interface Principal {
  readonly components: readonly string[]
  readonly realm: string
  toString(): string
}
export interface PrincipalClass {
  parse(text: string, defaultRealm?: string): Principal
}
export interface KeytabEntry {
  readonly principal: Principal
  readonly kvno: number
  readonly enctype: number
  readonly timestamp: Date
}
export interface Keytab {
  readonly entries: readonly KeytabEntry[]
  toBytes(): Uint8Array
}
export interface KeytabClass {
  load(name?: string): Promise<Keytab>
  parse(bytes: Uint8Array): Keytab
}
export interface Credentials<Config> {
  login(options?: {
    config?: Config
    timeoutMs?: number
    signal?: AbortSignal
  }): Promise<{ principal: string; expiresAt: Date }>
  save(name: string): Promise<void>
}
export interface CredentialsClass<Creds, KeytabType> {
  fromCache(name?: string, principal?: string): Creds
  fromKeytab(principal: string, keytab: string | KeytabType): Creds
  fromPassword(principal: string, password: string | Uint8Array): Creds
}
export interface Ticket {
  readonly client: Principal
  readonly server: Principal
  readonly enctype: number
  readonly startsAt: Date
  readonly expiresAt: Date
  readonly renewableUntil: Date | undefined
  readonly flags: ReadonlySet<string>
}
export interface CredentialCache {
  readonly principal: Principal
  readonly tickets: readonly Ticket[]
}
export interface CredentialCacheClass {
  load(name?: string): Promise<CredentialCache>
}
export type KerberosClientClass<Creds, Config, PrincipalType> = new (options: {
  credentials: Creds
  config?: Config
  timeoutMs?: number
  enctypes?: readonly number[]
}) => { login(): Promise<Ticket>; getTicket(service: string | PrincipalType): Promise<Ticket> }
export interface ConfigClass<Config> {
  load(names?: string): Promise<Config>
  parse(text: string, name?: string): Config
}
export type Flag = 'delegate' | 'mutual' | 'replay' | 'sequence' | 'confidential' | 'integrity' | 'channel-bound'
export interface Step {
  readonly token: Uint8Array | undefined
  readonly complete: boolean
}
export interface SecurityContext {
  step(token?: Uint8Array): Promise<Step>
  readonly complete: boolean
  readonly peer: Principal
  readonly flags: ReadonlySet<Flag>
  readonly expiresAt: Date
  wrap(data: Uint8Array, options?: { confidential?: boolean }): Uint8Array
  unwrap(token: Uint8Array): { readonly data: Uint8Array; readonly confidential: boolean }
  getMic(data: Uint8Array): Uint8Array
  verifyMic(data: Uint8Array, mic: Uint8Array): void
  dispose(): void
}
export type CreateInitiator<Creds, Config, PrincipalType> = (options: {
  target: string | PrincipalType
  credentials?: Creds
  mechanism?: 'spnego' | 'krb5'
  flags?: readonly Flag[]
  channelBindings?: Uint8Array
  config?: Config
}) => Promise<SecurityContext>
export interface Acceptor {
  createContext(options?: { channelBindings?: Uint8Array }): SecurityContext
  close(): Promise<void>
}
export type CreateAcceptor<KeytabType> = (options: {
  keytab?: string | KeytabType
  principal?: string | { service: string } | 'any'
  replayStore?: ReplayStore
  now?: () => number
}) => Promise<Acceptor>
export interface KerberosTicket {
  readonly authorization: string
  verify(wwwAuthenticate: string): Promise<void>
}
export interface KerberosTicketClass {
  for(target: string, options?: object): Promise<KerberosTicket>
}
export interface Challenge {
  readonly scheme: string
  readonly token68: string | undefined
  readonly parameters: ReadonlyMap<string, string>
}
export type ParseChallenges = (field: string | readonly string[]) => readonly Challenge[]
export interface ReplayStore {
  checkAndStore(key: Uint8Array, expiresAt: number): 'fresh' | 'replay' | Promise<'fresh' | 'replay'>
}
export interface Negotiated {
  readonly attempted: boolean
  readonly serverAuthenticated: boolean
  readonly principal: string | undefined
  readonly target: string | undefined
  readonly mechanism: 'spnego' | 'krb5' | undefined
  readonly channelBound: boolean
  readonly delegated: boolean
  readonly error: KerberosError | undefined
  readonly context: SecurityContext | undefined
}
export interface Identity<Creds = unknown> {
  readonly principal: string
  readonly name: string
  readonly realm: string
  readonly localName: string | undefined
  readonly mechanism: 'negotiate' | 'basic' | 'session'
  readonly channelBound: boolean
  readonly expiresAt: Date
  readonly delegated: Creds | undefined
}
type HeaderList = readonly (readonly [string, string])[]
export type Decision =
  | { readonly kind: 'accepted'; readonly identity: Identity; readonly headers: HeaderList }
  | { readonly kind: 'anonymous'; readonly reason: string | undefined }
  | {
      readonly kind: 'refused'
      readonly status: 400 | 401 | 403 | 407 | 500 | 503
      readonly reason: string
      readonly headers: HeaderList
      readonly body: Uint8Array
    }
export interface NegotiateServer {
  authenticate(request: {
    method: string
    url: string
    headers: IncomingHttpHeaders | NodeJS.Dict<string[]> | globalThis.Headers
    connection?: object
    certificate?: Uint8Array
  }): Promise<Decision>
  handle(req: IncomingMessage, res: ServerResponse): Promise<Identity | undefined>
  attach(server: Server): void
  close(): Promise<void>
}
export interface TestRealmOptions {
  readonly realm?: string
  readonly users?: Readonly<Record<string, string | { readonly password: string }>>
  readonly services?: readonly string[]
  readonly enctypes?: readonly number[]
  readonly port?: number
  readonly clock?: { now(): number }
  readonly faults?: readonly string[]
}
export interface TestRealm<Creds> extends AsyncDisposable {
  readonly realm: string
  readonly environment: { readonly KRB5_CONFIG: string; readonly KRB5CCNAME: string; readonly KRB5_KTNAME: string }
  keytab(service: string): Keytab
  login(user: string): Promise<Creds>
  stop(): Promise<void>
}
export interface TestRealmClass<Creds> {
  start(options?: TestRealmOptions): Promise<TestRealm<Creds>>
}

export type WebNegotiate<Who> = (
  options?: object,
) => (
  handler: (request: Request, identity: Who | undefined) => Response | Promise<Response>,
) => (request: Request) => Promise<Response>
