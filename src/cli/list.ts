import { type CachedTicket, CredentialCache, type Principal } from '../entries/index.ts'
import { enctypeLabel } from './enctype-label.ts'
import { shortTime } from './output.ts'

/** Width of the column of names: with the others it makes 80. */
const NAME_WIDTH = 40

export interface ListFlags {
  readonly all?: boolean
  readonly json?: boolean
}

export async function list(cache: string | undefined, { all, json }: ListFlags): Promise<void> {
  const one = CredentialCache.nameOf(cache)
  const names = all === true ? CredentialCache.names(cache) : [one]
  const caches = await Promise.all(names.map(async (name) => ({ name, ...(await CredentialCache.load(name)) })))
  if (json === true) {
    const shown = caches.map(({ name, principal, tickets }) => ({
      cache: name,
      principal,
      tickets: tickets.map(facts),
    }))
    console.log(JSON.stringify(all === true ? shown : shown[0], undefined, 2))
    return
  }
  if (caches.length === 0) console.log(`${one} does not exist, nor any other cache`)
  for (const [i, { name, principal, tickets }] of caches.entries()) {
    if (i > 0) console.log('')
    show(name, principal, tickets)
  }
}

function show(name: string, principal: Principal, tickets: readonly CachedTicket[]): void {
  console.log(`Cache      ${name}`)
  console.log(`Principal  ${principal}`)
  console.log(
    tickets.length === 0 ? '\nNo tickets.' : `\n${'Service'.padEnd(NAME_WIDTH)}${'Expires'.padEnd(15)}Enctype`,
  )
  for (const ticket of tickets) console.log(row(ticket))
}

function row({ server, expiresAt, enctype, ticketEnctype }: CachedTicket): string {
  const expired = expiresAt.getTime() <= Date.now()
  const name = server.toString()
  const first = name.length < NAME_WIDTH ? name.padEnd(NAME_WIDTH) : `${name}\n${' '.repeat(NAME_WIDTH)}`
  const label = ticketEnctype === undefined ? 'unreadable' : enctypeLabel(enctype)
  return `${first}${(expired ? 'EXPIRED' : shortTime(expiresAt)).padEnd(15)}${label}`
}

function facts(ticket: CachedTicket): object {
  return { ...ticket, flags: [...ticket.flags] }
}
