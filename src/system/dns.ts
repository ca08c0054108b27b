import { Resolver } from 'node:dns/promises'
import type { Locator } from '../krb5/locate.ts'

/** The resolver of this machine. What it does not answer, for whatever reason, does not exist. */
export const systemLocator: Locator = {
  async services(name, timeoutMs) {
    const resolver = new Resolver({ timeout: Math.max(1, Math.ceil(timeoutMs)), tries: 1 })
    const timer = setTimeout(() => resolver.cancel(), timeoutMs)
    try {
      const records = await resolver.resolveSrv(name)
      return records.map(({ name: host, port, priority, weight }) => ({ host, port, priority, weight }))
    } catch {
      return []
    } finally {
      clearTimeout(timer)
    }
  },
}
