import { CredentialCache, type Ticket } from '../entries/index.ts'
import { enctypeLabel } from './enctype-label.ts'
import { shortTime } from './output.ts'

/** Width of the column of names: with the others it makes 80. */
const NAME_WIDTH = 40

export async function list(cache: string | undefined, { json }: { readonly json?: boolean }): Promise<void> {
  const name = CredentialCache.nameOf(cache)
  const { principal, tickets } = await CredentialCache.load(name)
  if (json === true) {
    console.log(JSON.stringify({ cache: name, principal, tickets: tickets.map(facts) }, undefined, 2))
    return
  }
  console.log(`Cache      ${name}`)
  console.log(`Principal  ${principal}`)
  console.log(
    tickets.length === 0 ? '\nNo tickets.' : `\n${'Service'.padEnd(NAME_WIDTH)}${'Expires'.padEnd(15)}Enctype`,
  )
  for (const ticket of tickets) console.log(row(ticket))
}

function row({ server, expiresAt, enctype }: Ticket): string {
  const expired = expiresAt.getTime() <= Date.now()
  const name = server.toString()
  const first = name.length < NAME_WIDTH ? name.padEnd(NAME_WIDTH) : `${name}\n${' '.repeat(NAME_WIDTH)}`
  return `${first}${(expired ? 'EXPIRED' : shortTime(expiresAt)).padEnd(15)}${enctypeLabel(enctype)}`
}

function facts(ticket: Ticket): object {
  return { ...ticket, flags: [...ticket.flags] }
}
