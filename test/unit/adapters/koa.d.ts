/** Those of @types/koa do not pass our compiler's settings. */
declare module 'koa' {
  import type { EventEmitter } from 'node:events'
  import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'

  export interface Context {
    readonly req: IncomingMessage
    readonly res: ServerResponse
    readonly originalUrl: string
    // biome-ignore lint/suspicious/noExplicitAny: as Koa's own
    readonly state: any
    readonly path: string
    respond?: boolean
    status: number
    body: unknown
    set(name: string, value: string): void
  }
  export default class Koa extends EventEmitter {
    use(middleware: (ctx: Context, next: () => Promise<unknown>) => unknown): this
    callback(): RequestListener
  }
}
