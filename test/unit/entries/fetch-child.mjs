// A program of its own for fetch-process.test.ts: it must end by itself.
import { setTimeout } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'

const { BUILT, SITE, WHAT } = process.env
const { Credentials, negotiated, negotiateFetch } = await import(pathToFileURL(`${BUILT}/entries/fetch.js`).href)

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
