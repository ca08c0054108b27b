import { createServer, type RequestListener, type Server } from 'node:http'
import { getRequestListener } from '@hono/node-server'
import { Controller, Module, RequestMethod } from '@nestjs/common'
import { METHOD_METADATA, PATH_METADATA } from '@nestjs/common/constants.js'
import { NestFactory } from '@nestjs/core'
import express from 'express'
import Fastify from 'fastify'
import { Hono } from 'hono'
import Koa from 'koa'
import passport from 'passport'
import * as forExpress from '../../../src/entries/express.ts'
import * as forFastify from '../../../src/entries/fastify.ts'
import * as forHono from '../../../src/entries/hono.ts'
import * as forKoa from '../../../src/entries/koa.ts'
import * as forNest from '../../../src/entries/nest.ts'
import * as forPassport from '../../../src/entries/passport.ts'
import {
  createNegotiateServer,
  type NegotiateServerOptions,
  recommendedMaxHeaderSize,
} from '../../../src/entries/server.ts'
import * as forWeb from '../../../src/entries/web.ts'
import 'reflect-metadata'

/** Every entry for a server, with a page that greets, as its documentation shows it. */

export interface ServerEntry {
  readonly name: string
  /** Whether the text of a refusal is this package's. */
  readonly ownPage: boolean
  /** A server that listens nowhere yet. */
  make(options: NegotiateServerOptions): Promise<Server>
}

const roomy = (listener: RequestListener): Server => createServer({ maxHeaderSize: recommendedMaxHeaderSize }, listener)
const hello = (identity: { principal: string } | undefined | null): string => `Hello ${identity?.principal}`

export const SERVER_ENTRIES: readonly ServerEntry[] = [
  {
    name: 'node:http',
    ownPage: true,
    async make(options) {
      const guard = createNegotiateServer(options)
      const server = roomy(async (req, res) => {
        const identity = await guard.handle(req, res)
        if (identity !== undefined) res.end(hello(identity))
      })
      guard.attach(server)
      return server
    },
  },
  {
    name: 'Express',
    ownPage: true,
    async make(options) {
      const app = express()
      app.use(forExpress.negotiate(options))
      app.all('/{*path}', (req, res) => void res.send(hello(forExpress.identityOf(req))))
      return roomy(app as RequestListener)
    },
  },
  {
    name: 'Fastify',
    ownPage: true,
    async make(options) {
      const app = Fastify({ http: { maxHeaderSize: recommendedMaxHeaderSize } })
      app.addContentTypeParser('*', (_request, payload, done) => void payload.resume().on('end', () => done(null)))
      await app.register(forFastify.negotiate, options)
      app.all('/*', async (request) => hello(request.kerberos))
      await app.ready()
      return app.server
    },
  },
  {
    name: 'Koa',
    ownPage: true,
    async make(options) {
      const app = new Koa()
      app.use(forKoa.negotiate(options))
      app.use((ctx) => {
        ctx.body = hello(forKoa.identityOf(ctx))
      })
      return roomy(app.callback())
    },
  },
  {
    name: 'Hono',
    ownPage: true,
    async make(options) {
      const app = new Hono<{ Variables: forHono.KerberosVariables }>()
      app.use(forHono.negotiate(options))
      app.all('*', (c) => c.text(hello(c.get('kerberos'))))
      return roomy(getRequestListener(app.fetch) as RequestListener)
    },
  },
  {
    name: 'Request → Response',
    ownPage: true,
    async make(options) {
      const handler = forWeb.negotiate(options)((_request, identity) => new Response(hello(identity)))
      return roomy(getRequestListener(handler) as RequestListener)
    },
  },
  {
    name: 'Passport',
    ownPage: false,
    async make(options) {
      const own = new passport.Passport()
      own.use(new forPassport.NegotiateStrategy(options, (identity, done) => done(null, identity)) as never)
      const app = express()
      app.all('/{*path}', own.authenticate('negotiate', { session: false }), (req, res) => {
        res.send(hello(req.user as { principal: string } | undefined))
      })
      return roomy(app as RequestListener)
    },
  },
  {
    name: 'Nest',
    ownPage: false,
    async make(options) {
      class Pages {
        page(req: express.Request): string {
          return hello(forNest.identityOf(req))
        }
      }
      class App {}
      // What decorators would do.
      Controller()(Pages)
      Reflect.defineMetadata(PATH_METADATA, ['*path', '/'], Pages.prototype.page)
      Reflect.defineMetadata(METHOD_METADATA, RequestMethod.ALL, Pages.prototype.page)
      Reflect.defineMetadata('__routeArguments__', { '0:0': { index: 0 } }, Pages, 'page')
      Module({ controllers: [Pages] })(App)
      const app = await NestFactory.create(App, { logger: false })
      app.useGlobalGuards(new forNest.NegotiateGuard(options))
      await app.init()
      return roomy(app.getHttpAdapter().getInstance() as RequestListener)
    },
  },
]
