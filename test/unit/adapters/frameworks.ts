import { createServer, type RequestListener, type Server } from 'node:http'
import { getRequestListener } from '@hono/node-server'
import { Controller, Module, RequestMethod } from '@nestjs/common'
import { METHOD_METADATA, PATH_METADATA } from '@nestjs/common/constants.js'
import { NestFactory } from '@nestjs/core'
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify'
import express, { type Express } from 'express'
import express4 from 'express4'
import Fastify, { type FastifyReply, type FastifyRequest } from 'fastify'
import { Hono } from 'hono'
import Koa from 'koa'
import passport from 'passport'
import * as expressAdapter from '../../../src/adapters/server/express.ts'
import * as fastifyAdapter from '../../../src/adapters/server/fastify.ts'
import * as honoAdapter from '../../../src/adapters/server/hono.ts'
import * as koaAdapter from '../../../src/adapters/server/koa.ts'
import * as nestAdapter from '../../../src/adapters/server/nest.ts'
import * as nodeAdapter from '../../../src/adapters/server/node.ts'
import { LoginStrategy } from '../../../src/adapters/server/passport.ts'
import * as webAdapter from '../../../src/adapters/server/web.ts'
import type { Authenticator, Identity, NegotiateRequest } from '../../../src/http/index.ts'
import 'reflect-metadata'

/** Every framework that this package guards, behind one small application. */

export interface Site {
  /** Guards everything. */
  readonly outer: Authenticator<NegotiateRequest>
  /** Guards `/sub` once more. */
  readonly inner: Authenticator<NegotiateRequest>
  /** Whether something in front writes an identity of its own on the request. */
  readonly forges: boolean
  /** Told of each request that came through. */
  readonly ran: (path: string) => void
}

/**
 * `/cache?…` says that of caches, and `Vary: Accept-Language`; `/throws` throws; `/own` answers 401 with `WWW-Authenticate: Bearer`; `/logout` ends the session; everything else says who it is: by `identityOf`, and by what the framework
 * shows.
 */
export interface Framework {
  readonly name: string
  /** Whether several tokens on one connection can go on. */
  readonly multiLeg: boolean
  /** Whether it is this package that writes the page of a refusal. */
  readonly ownPage: boolean
  /** Whether what a handler throws is answered by something that this package sees. */
  readonly seesErrors: boolean
  start(site: Site): Promise<RequestListener | Starting>
}

export interface Starting {
  readonly server: Server
  close(): Promise<void>
}

/** What `/cache?…` says of caches: undefined for every other path. */
function cacheFields(url: string): [string, string][] {
  const { pathname, search } = new URL(url, 'http://x')
  if (pathname !== '/cache') return []
  return [
    ['Cache-Control', decodeURIComponent(search.slice(1))],
    ['Vary', 'Accept-Language'],
  ]
}

const FORGED = { principal: 'root@EXAMPLE.ORG' } as Identity

function who(shown: Identity | null | undefined, identityOf: () => Identity): string {
  let found = 'NOBODY'
  try {
    found = identityOf().principal
  } catch (error) {
    found = (error as { code: string }).code
  }
  return `${shown?.principal ?? 'ANONYMOUS'} ${found}`
}

function onExpress(make: () => Express): Framework['start'] {
  return async ({ outer, inner, forges, ran }) => {
    const app = make()
    app.use((req, _res, next) => {
      if (forges) req.kerberos = FORGED
      next()
    })
    app.use(expressAdapter.negotiateWith(outer))
    app.use('/sub', expressAdapter.negotiateWith(inner))
    app.use((req, res) => {
      ran(req.path)
      res.set(Object.fromEntries(cacheFields(req.url)))
      if (req.path === '/throws') throw new RangeError('theirs')
      if (req.path === '/own') return void res.status(401).set('WWW-Authenticate', 'Bearer').end('own')
      if (req.path === '/logout') return void expressAdapter.endSession(req, res).then(() => res.send('bye'))
      res.send(who(req.kerberos, () => expressAdapter.identityOf(req)))
    })
    app.use(
      (_error: Error, _req: unknown, res: { status(n: number): { send(text: string): void } }, _next: unknown) => {
        res.status(500).send('caught')
      },
    )
    return app as RequestListener
  }
}

const onNode: Framework['start'] = async ({ outer, inner, ran }) => {
  const all = new nodeAdapter.NodeAdapter(outer)
  const sub = new nodeAdapter.NodeAdapter(inner)
  return async (req, res) => {
    try {
      const whole = (req.url ?? '').replace(/^[a-z]+:\/\/[^/]*/i, '')
      const [path = ''] = whole.split('?')
      let identity = await all.handle(req, res)
      if (!res.writableEnded && path === '/sub') identity = await sub.handle(req, res)
      if (res.writableEnded) return
      ran(path)
      if (path === '/cache') return void res.writeHead(200, Object.fromEntries(cacheFields(whole))).end('x')
      if (path === '/throws') throw new RangeError('theirs')
      if (path === '/own') return void res.writeHead(401, { 'WWW-Authenticate': 'Bearer' }).end('own')
      if (path === '/logout') await nodeAdapter.endSession(req, res)
      res.end(who(identity, () => nodeAdapter.identityOf(req)))
    } catch {
      res.writeHead(500).end('caught')
    }
  }
}

const onFastify: Framework['start'] = async ({ outer, inner, forges, ran }) => {
  const app = Fastify()
  const closing = (one: Authenticator<NegotiateRequest>): fastifyAdapter.ClosingAuthenticator => ({
    authenticate: (request) => one.authenticate(request),
    authorize: (identity, request) => one.authorize(identity, request),
    endSession: (identity, request) => one.endSession(identity, request),
    close: async () => {},
  })
  app.addContentTypeParser('*', (_request, payload, done) => {
    payload.resume()
    payload.on('end', () => done(null))
  })
  app.decorateRequest('kerberos', null)
  app.addHook('onRequest', async (request) => {
    if (forges) request.kerberos = FORGED
  })
  fastifyAdapter.guardScope(app, closing(outer))
  const answer = (request: FastifyRequest, reply?: FastifyReply) => {
    ran(request.url.replace(/^[a-z]+:\/\/[^/]*/i, ''))
    reply?.headers(Object.fromEntries(cacheFields(request.url)))
    return who(request.kerberos, () => fastifyAdapter.identityOf(request))
  }
  await app.register(async (scope) => {
    fastifyAdapter.guardScope(scope, closing(inner))
    scope.all('/sub', async (request) => answer(request))
  })
  app.all('/throws', async (request) => {
    ran(request.url)
    throw new RangeError('theirs')
  })
  app.all('/own', async (request, reply) => {
    ran(request.url)
    return reply.code(401).header('WWW-Authenticate', 'Bearer').send('own')
  })
  app.all('/logout', async (request, reply) => {
    await fastifyAdapter.endSession(request, reply)
    return 'bye'
  })
  app.all('/*', async (request, reply) => answer(request, reply))
  await app.ready()
  return { server: app.server, close: () => app.close() }
}

const onKoa: Framework['start'] = async ({ outer, inner, forges, ran }) => {
  const app = new Koa()
  app.on('error', () => {})
  app.use((ctx, next) => {
    if (forges) ctx.state.kerberos = FORGED
    return next()
  })
  app.use(koaAdapter.negotiateWith(outer))
  const sub = koaAdapter.negotiateWith(inner)
  app.use((ctx, next) => (ctx.path === '/sub' ? sub(ctx, next) : next()))
  app.use(async (ctx) => {
    ran(ctx.path)
    for (const [name, value] of cacheFields(ctx.originalUrl)) ctx.set(name, value)
    if (ctx.path === '/logout') await koaAdapter.endSession(ctx)
    if (ctx.path === '/throws') throw new RangeError('theirs')
    if (ctx.path === '/own') {
      ctx.status = 401
      ctx.set('WWW-Authenticate', 'Bearer')
      ctx.body = 'own'
    } else ctx.body = who(ctx.state.kerberos, () => koaAdapter.identityOf(ctx))
  })
  return app.callback()
}

function honoApp({ outer, inner, forges, ran }: Site) {
  const app = new Hono<{ Variables: honoAdapter.KerberosVariables }>()
  app.use(async (c, next) => {
    if (forges) c.set('kerberos', FORGED)
    await next()
  })
  app.use(honoAdapter.negotiateWith(outer))
  app.use('/sub', honoAdapter.negotiateWith(inner))
  app.all('*', async (c) => {
    ran(new URL(c.req.url).pathname)
    for (const [name, value] of cacheFields(c.req.url)) c.header(name, value)
    if (c.req.path === '/logout') await honoAdapter.endSession(c)
    if (c.req.path === '/throws') throw new RangeError('theirs')
    if (c.req.path === '/own') return c.text('own', 401, { 'WWW-Authenticate': 'Bearer' })
    return c.text(who(c.get('kerberos'), () => honoAdapter.identityOf(c)))
  })
  app.onError((_error, c) => c.text('caught', 500))
  return app
}

const onHono: Framework['start'] = async (site) => getRequestListener(honoApp(site).fetch) as RequestListener
/** As on a runtime that shows no connection. */
const onHonoElsewhere: Framework['start'] = async (site) => {
  const app = honoApp(site)
  return getRequestListener((request) => app.fetch(request)) as RequestListener
}

const onWeb: Framework['start'] = async ({ outer, inner, ran }) => {
  const answer: webAdapter.Handler = async (request, identity) => {
    const path = new URL(request.url).pathname
    ran(path)
    if (path === '/own') return new Response('own', { status: 401, headers: { 'WWW-Authenticate': 'Bearer' } })
    if (path === '/redirect') return Response.redirect('http://other.example/')
    const ended = path === '/logout' ? await webAdapter.endSession(request) : []
    const headers = [...ended.map(([name, value]): [string, string] => [name, value]), ...cacheFields(request.url)]
    return new Response(
      who(identity, () => webAdapter.identityOf(request)),
      { headers },
    )
  }
  const sub = webAdapter.negotiateWith(inner)(answer)
  const all = webAdapter.negotiateWith(outer)((request, identity) =>
    new URL(request.url).pathname === '/sub' ? sub(request) : answer(request, identity),
  )
  return getRequestListener((request) =>
    all(request).catch(() => new Response('caught', { status: 500 })),
  ) as RequestListener
}

const onPassport: Framework['start'] = async ({ outer, inner, ran }) => {
  const app = express()
  const authenticators = [outer, inner].map((server) => {
    const one = new passport.Passport()
    one.use(new LoginStrategy(server) as never)
    return one.authenticate('negotiate', { session: false })
  })
  const [all, sub] = authenticators as [express.RequestHandler, express.RequestHandler]
  app.use(all)
  app.use('/sub', sub)
  app.use((req, res) => {
    ran(req.path)
    res.set(Object.fromEntries(cacheFields(req.url)))
    if (req.path === '/throws') throw new RangeError('theirs')
    if (req.path === '/own') return void res.status(401).set('WWW-Authenticate', 'Bearer').end('own')
    if (req.path === '/logout') return void expressAdapter.endSession(req, res).then(() => res.send('bye'))
    res.send(who(req.user as Identity | undefined, () => expressAdapter.identityOf(req)))
  })
  app.use((_error: Error, _req: unknown, res: { status(n: number): { send(text: string): void } }, _next: unknown) => {
    res.status(500).send('caught')
  })
  return app as RequestListener
}

const onNest: Framework['start'] = async ({ outer, inner, forges, ran }) => {
  class Pages {
    answer(req: express.Request, res: express.Response): void {
      ran(req.path)
      res.set(Object.fromEntries(cacheFields(req.url)))
      if (req.path === '/throws') throw new RangeError('theirs')
      if (req.path === '/own') return void res.status(401).set('WWW-Authenticate', 'Bearer').end('own')
      if (req.path === '/logout') return void nestAdapter.endSession(req, res).then(() => res.send('bye'))
      res.send(who(req.kerberos, () => nestAdapter.identityOf(req)))
    }
  }
  class App {}
  // What decorators would do.
  Controller()(Pages)
  Reflect.defineMetadata(PATH_METADATA, ['*path', '/'], Pages.prototype.answer)
  Reflect.defineMetadata(METHOD_METADATA, RequestMethod.ALL, Pages.prototype.answer)
  Reflect.defineMetadata('__routeArguments__', { '0:0': { index: 0 }, '1:1': { index: 1 } }, Pages, 'answer')
  Module({ controllers: [Pages] })(App)
  const app = await NestFactory.create(App, { logger: false })
  app.use((req: express.Request, _res: unknown, next: () => void) => {
    if (forges) req.kerberos = FORGED
    next()
  })
  const sub = new nestAdapter.LoginGuard(inner)
  app.useGlobalGuards(new nestAdapter.LoginGuard(outer), {
    canActivate: (context) =>
      context.switchToHttp().getRequest<express.Request>().path === '/sub' ? sub.canActivate(context) : true,
  })
  await app.init()
  return { server: app.getHttpServer() as Server, close: () => app.close() }
}

const onNestWithFastify: Framework['start'] = async ({ outer, inner, forges, ran }) => {
  class Pages {
    async answer(req: FastifyRequest, res: FastifyReply): Promise<void> {
      const path = req.url.replace(/^[a-z]+:\/\/[^/]*/i, '').split('?')[0] ?? ''
      ran(path)
      res.headers(Object.fromEntries(cacheFields(req.url)))
      if (path === '/throws') throw new RangeError('theirs')
      if (path === '/own') return void res.status(401).header('WWW-Authenticate', 'Bearer').send('own')
      if (path === '/logout') await nestAdapter.endSession(req, res)
      const { kerberos } = req as { kerberos?: Identity | null }
      res.send(who(kerberos, () => nestAdapter.identityOf(req)))
    }
  }
  class App {}
  Controller()(Pages)
  Reflect.defineMetadata(PATH_METADATA, ['*'], Pages.prototype.answer)
  Reflect.defineMetadata(METHOD_METADATA, RequestMethod.ALL, Pages.prototype.answer)
  Reflect.defineMetadata('__routeArguments__', { '0:0': { index: 0 }, '1:1': { index: 1 } }, Pages, 'answer')
  Module({ controllers: [Pages] })(App)
  const app = await NestFactory.create<NestFastifyApplication>(App, new FastifyAdapter(), { logger: false })
  app
    .getHttpAdapter()
    .getInstance()
    .addHook('onRequest', async (request: object) => {
      if (forges) Object.assign(request, { kerberos: FORGED })
    })
  const sub = new nestAdapter.LoginGuard(inner)
  app.useGlobalGuards(new nestAdapter.LoginGuard(outer), {
    canActivate: (context) =>
      context.switchToHttp().getRequest<FastifyRequest>().url === '/sub' ? sub.canActivate(context) : true,
  })
  await app.init()
  await app.getHttpAdapter().getInstance().ready()
  return { server: app.getHttpServer() as Server, close: () => app.close() }
}

const FULL = { multiLeg: true, ownPage: true, seesErrors: true }

export const FRAMEWORKS: readonly Framework[] = [
  { ...FULL, name: 'node:http', start: onNode },
  { ...FULL, name: 'Express 5', start: onExpress(express) },
  { ...FULL, name: 'Express 4', start: onExpress(express4 as unknown as () => Express) },
  { ...FULL, name: 'Fastify 5', start: onFastify },
  { ...FULL, name: 'Koa 3', start: onKoa },
  { ...FULL, name: 'Hono, on Node', start: onHono },
  { ...FULL, name: 'Hono, elsewhere', multiLeg: false, start: onHonoElsewhere },
  { ...FULL, name: 'Request → Response', multiLeg: false, seesErrors: false, start: onWeb },
  { ...FULL, name: 'Passport', ownPage: false, start: onPassport },
  { ...FULL, name: 'Nest, on Express', ownPage: false, start: onNest },
  { ...FULL, name: 'Nest, on Fastify', ownPage: false, start: onNestWithFastify },
]

export interface Running {
  readonly port: number
  readonly ran: readonly string[]
  close(): Promise<void>
}

export async function run(framework: Framework, site: Partial<Site> & Pick<Site, 'outer'>): Promise<Running> {
  const ran: string[] = []
  const found = await framework.start({ inner: site.outer, forges: false, ran: (path) => void ran.push(path), ...site })
  const server = typeof found === 'function' ? createServer({ maxHeaderSize: 98_304 }, found) : found.server
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as { port: number }).port,
    ran,
    async close() {
      server.closeAllConnections()
      if (typeof found === 'function') await new Promise((resolve) => server.close(resolve))
      else await found.close()
    },
  }
}
