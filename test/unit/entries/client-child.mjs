// A program of its own for client-process.test.ts: it must end by itself.
import { once } from 'node:events'
import { get } from 'node:http'
import { setTimeout } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'

const { BUILT, SITE, WHAT } = process.env
const entry = (name) => import(pathToFileURL(`${BUILT}/entries/${name}.js`).href)
const { Credentials, negotiated, negotiateFetch } = await entry('fetch')

/** Each gives the text of a page. */
const CLIENTS = {
  async axios(options) {
    const { default: axios } = await import('axios')
    const api = (await entry('axios')).negotiateAxios(axios.create(), options)
    return async (url) => (await api.get(url, { validateStatus: () => true })).data
  },
  async got(options) {
    const { default: got } = await import('got')
    const api = (await entry('got')).negotiateGot(got, options)
    return (url) => api(url, { throwHttpErrors: false, retry: { limit: 0 } }).text()
  },
  async undici(options) {
    const { Agent, request } = await import('undici7')
    const dispatcher = new Agent().compose((await entry('undici')).negotiateInterceptor(options))
    return async (url) => (await request(url, { dispatcher })).body.text()
  },
  async agent(options) {
    const agent = new (await entry('agent')).NegotiateAgent(options)
    return async (url) => {
      const [response] = await once(get(url, { agent }), 'response')
      return (await response.toArray()).join('')
    }
  },
}

if (WHAT === 'exit') {
  const fetch = negotiateFetch()
  const response = await fetch(SITE)
  await response.text()
  await fetch(SITE) // its body is left lying
  process.on('warning', () => {})
  process.removeAllListeners('warning')
  await negotiateFetch({ credentials: Credentials.fromCache('FILE:/nonexistent/cc') })(SITE)
  const { serverAuthenticated, principal } = negotiated(response)
  console.log(JSON.stringify({ status: response.status, serverAuthenticated, principal }))
} else if (WHAT in CLIENTS) {
  process.removeAllListeners('warning')
  const call = await CLIENTS[WHAT]()
  const texts = [await call(SITE), ...(await Promise.all([call(SITE), call(SITE)]))]
  const poor = await CLIENTS[WHAT]({ credentials: Credentials.fromCache('FILE:/nonexistent/cc') })
  console.log(JSON.stringify([...texts, await poor(SITE)]))
} else {
  const controller = new AbortController()
  const response = await negotiateFetch()(SITE, { signal: controller.signal })
  for (let i = 0; i < 10; i++) {
    globalThis.gc()
    await setTimeout(5)
  }
  const text = response.text().catch((error) => error.name)
  controller.abort()
  console.log(await Promise.race([text, setTimeout(3000, 'not aborted', { ref: false })]))
  process.exit()
}
