import express from 'express'
import passport from 'passport'
import { afterEach, expect, test } from 'vitest'
import { identityOf, LoginStrategy, type Verify } from '../../../src/adapters/server/passport.ts'
import { fakeServer, negotiateField } from '../http/fake-acceptor.ts'
import { type Running, serve } from './wire.ts'

let running: Running | undefined
afterEach(() => running?.close())

test('A07: whom the program knows as nobody is no identity for the strategy that finds somebody else', async () => {
  const one = new passport.Passport()
  one.use(new LoginStrategy(fakeServer().core, (_identity, done) => done(null, false)) as never)
  const other = {
    name: 'other',
    authenticate(this: { success(user: object): void }) {
      this.success({ name: 'bob' })
    },
  }
  one.use(other as never)
  const app = express()
  app.use(one.authenticate(['negotiate', 'other'], { session: false }))
  app.use((req, res) => {
    const { name } = req.user as unknown as { name: string }
    try {
      res.send(`${name} ${identityOf(req).name}`)
    } catch (error) {
      res.send(`${name} ${(error as { code: string }).code}`)
    }
  })
  running = await serve(app)
  const headers = { authorization: negotiateField('alice') }
  const response = await fetch(`http://127.0.0.1:${running.port}/`, { headers })
  expect(await response.text()).toBe('bob NOT_AUTHENTICATED')
})

test('A04: a verify that rejects is the framework’s error, and never an unhandled rejection', async () => {
  const one = new passport.Passport()
  const verify = async () => {
    throw new RangeError('theirs')
  }
  one.use(new LoginStrategy(fakeServer().core, verify) as never)
  const app = express()
  app.use(one.authenticate('negotiate', { session: false }))
  app.use((error: Error, _req: unknown, res: express.Response, _next: unknown) => {
    res.status(500).send(error.message)
  })
  running = await serve(app)
  const response = await fetch(`http://127.0.0.1:${running.port}/`, {
    headers: { authorization: negotiateField('alice') },
  })
  expect([response.status, await response.text()]).toEqual([500, 'theirs'])
})

test.each<[string, unknown, unknown, number]>([
  ['no error and no user', null, undefined, 403],
  ['an empty user', undefined, '', 403],
  ['a user that is 0', null, 0, 403],
  ['a user that is NaN', null, Number.NaN, 403],
  ['an error that is an empty text', '', 'someone', 500],
  ['an error that is 0', 0, 'someone', 500],
  ['an error that is false', false, 'someone', 500],
  ['the error "route"', 'route', 'someone', 500],
  ['the error "router"', 'router', undefined, 500],
])('A04: verify says %s: the route does not run', async (_what, error, user, status) => {
  for (const rejects of [false, true]) {
    if (rejects && status !== 500) continue
    const one = new passport.Passport()
    const verify: Verify = (_identity, done) => (rejects ? Promise.reject(error) : done(error, user))
    one.use(new LoginStrategy(fakeServer().core, verify) as never)
    let ran = 0
    const app = express()
    app.use(one.authenticate('negotiate', { session: false }))
    app.use((_req, res) => void res.send(String(++ran)))
    app.use((_error: unknown, _req: unknown, res: express.Response, _next: unknown) => void res.status(500).end())
    running = await serve(app)
    const response = await fetch(`http://127.0.0.1:${running.port}/`, {
      headers: { authorization: negotiateField('alice') },
    })
    expect([response.status, ran]).toEqual([status, 0])
    await running.close()
  }
})
