/** Agents of node:http whose requests carry a token from the first one on. An agent cannot send again what has been sent: see `Journey`. */
import {
  type AgentOptions,
  type ClientRequest,
  type ClientRequestArgs,
  Agent as HttpAgent,
  type RequestOptions,
} from 'node:http'
import { Agent as HttpsAgent, type AgentOptions as HttpsAgentOptions } from 'node:https'
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { Journey, type NodeParts, OWNER } from './journey.ts'
import { type AddRequest, type ConnectionOptions, takePlace } from './node-internals.ts'
import { type OpenWay, WAY } from './node-way.ts'
import { ignore } from './resend.ts'

/** As Node's own global agents are. */
const AS_NODE = { keepAlive: true, scheduling: 'lifo', timeout: 5000 } as const

/** The agents of a client, by scheme. */
export interface Agents {
  readonly http: HttpAgent
  readonly https: HttpsAgent
}

interface Pool {
  addRequest: AddRequest
}

/** Node's own, without a declaration; `http.Agent` hands it down to `https.Agent`. */
const { addRequest } = HttpAgent.prototype as unknown as Pool

/** Gives connections to those who own them: a name of connections is Node's, and the owner's. */
function nameFor(name: string, options: object | undefined): string {
  return `${name} ${(options as ConnectionOptions | undefined)?.[OWNER] ?? ''}`
}

type Created = (error: Error | null, stream: Duplex) => void

/**
 * Opens a connection on the way that its options name. One that fails is given as a socket that fails: told of an error, an agent forgets the requests
 * that wait behind this one.
 *
 * @returns false when they name none
 */
function openOnWay(agent: HttpAgent, options: object, created: Created | undefined): boolean {
  const own = options as ConnectionOptions
  const open = own[WAY] as OpenWay | undefined
  if (open === undefined) return false
  const leave = takePlace(agent, options)
  open(own).then(
    (socket) => {
      leave()
      created?.(null, socket)
    },
    (error: Error) => {
      leave()
      const failed = new Socket().on('error', ignore)
      created?.(null, failed)
      failed.destroy(error)
    },
  )
  return true
}

/** Connections for http, apart for each owner of tokens. */
export class OwnedHttpAgent extends HttpAgent {
  constructor(options: AgentOptions = {}) {
    super({ ...AS_NODE, ...options })
  }

  override getName(options?: RequestOptions): string {
    return nameFor(super.getName(options), options)
  }

  /** What Node calls for a new connection. */
  override createConnection(options: ClientRequestArgs, created?: Created): Duplex | null | undefined {
    return openOnWay(this, options, created) ? undefined : super.createConnection(options, created)
  }
}

/** Connections for https, apart for each owner of tokens. */
export class OwnedHttpsAgent extends HttpsAgent {
  constructor(options: HttpsAgentOptions = {}) {
    super({ ...AS_NODE, ...options })
  }

  override getName(options?: RequestOptions): string {
    return nameFor(super.getName(options), options)
  }

  /** What Node calls for a new connection. */
  override createConnection(options: RequestOptions, created?: Created): Duplex | null | undefined {
    return openOnWay(this, options, created) ? undefined : super.createConnection(options, created)
  }
}

/** An agent for the requests of one journey, over the connections of another agent: ours, or one that the caller brought. */
export function agentOf(base: HttpAgent, journey: Journey): HttpAgent {
  const add: AddRequest = (taker, owned) => (base as unknown as Pool).addRequest(taker, owned)
  const carry: AddRequest = (request, options) => journey.carry(add, request, options)
  return Object.create(base, { addRequest: { value: carry } }) as HttpAgent
}

/** A request that stands for itself. */
function carryAlone(agent: HttpAgent, parts: NodeParts, request: ClientRequest, options: ConnectionOptions): void {
  const add: AddRequest = (taker, owned) => addRequest.call(agent, taker, owned)
  new Journey(parts, false).carry(add, request, options)
}

export class LoginHttpAgent extends OwnedHttpAgent {
  readonly #parts: NodeParts

  constructor(parts: NodeParts, options?: AgentOptions) {
    super(options)
    this.#parts = parts
  }

  /** What node:http calls for each request. */
  addRequest(request: ClientRequest, options: ConnectionOptions): void {
    carryAlone(this, this.#parts, request, options)
  }
}

export class LoginHttpsAgent extends OwnedHttpsAgent {
  readonly #parts: NodeParts

  constructor(parts: NodeParts, options?: HttpsAgentOptions) {
    super(options)
    this.#parts = parts
  }

  /** What node:https calls for each request. */
  addRequest(request: ClientRequest, options: ConnectionOptions): void {
    carryAlone(this, this.#parts, request, options)
  }
}
