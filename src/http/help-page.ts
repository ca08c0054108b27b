/** What a person sees whose browser could not log in, and what he can do. It says nothing about keys, names or tickets. */
import { utf8 } from '../bytes/bytes.ts'
import { fieldValues, type NegotiateRequest } from './request.ts'
import type { FixedPage } from './server-options.ts'

/** A page stays shorter than this, whatever the host is called. */
export const MAX_HELP_PAGE_BYTES = 4096

/** Longest name of a host that is shown (RFC 1035 §2.3.4), and a port. */
const HOST = /^[a-z0-9.-]{1,253}(:\d{1,5})?$/i

/** By reason; every other one is the ticket's. */
const LEADS: Readonly<Record<string, string>> = {
  NO_CREDENTIALS: 'Your browser did not log in. Either you have no ticket, or it was not told to use one here.',
  SESSION_EXPIRED: 'Your login is over, and your browser did not log in again.',
  NTLM_OFFERED:
    'Your browser offered NTLM, since it found no Kerberos ticket for this address. NTLM is not accepted here.',
  CLOCK_SKEW:
    'Your computer’s clock and this server’s differ by too much. Set the clock (automatically, by network time), then load this page again.',
}
const REFUSED = 'Your browser logged in, and the login was not accepted. Get a new ticket, then load this page again.'

/** Whether a browser asks: what is for programs stays a line of text. */
export function wantsHtml({ headers }: NegotiateRequest): boolean {
  const accepted = fieldValues(headers, 'accept').join().toLowerCase()
  return /(^|[,\s])text\/html(?!\s*;\s*q=0(\.0*)?\s*(,|$))/.test(accepted)
}

/** @param reason a code of `ERROR_CODES` */
export function helpPage(reason: string, request: NegotiateRequest): FixedPage {
  const [given = ''] = fieldValues(request.headers, 'host')
  const host = HOST.test(given) ? given : undefined
  const name = host?.replace(/:\d+$/, '') ?? 'this host'
  const page = `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Not logged in</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; color: #1c1e21; background: #f5f6f7; margin: 0 }
main { max-width: 40rem; margin: 8vh auto; padding: 1.5rem 2rem; background: #fff; border-radius: 8px; box-shadow: 0 1px 4px #0003 }
h1 { font-size: 1.4rem; margin: 0 0 .5rem } h2 { font-size: 1rem; margin: 1.5rem 0 .25rem }
code { background: #eef0f2; padding: .1em .3em; border-radius: 3px; overflow-wrap: anywhere }
dt { font-weight: 600 } dd { margin: 0 0 .5rem } @media (prefers-color-scheme: dark) { body { background: #17181a; color: #e8e8e8 } main { background: #232527 } code { background: #34373a } }
</style>
</head>
<body>
<main>
<h1>You are not logged in to ${name}</h1>
<p>${LEADS[reason] ?? REFUSED}</p>
${reason === 'CLOCK_SKEW' ? '' : steps(name)}<p>Nothing helps? Tell whoever runs this site: <code>${reason in LEADS ? reason : 'REFUSED'}</code></p>
</main>
</body>
</html>
`
  return { body: utf8(page), contentType: 'text/html; charset=utf-8' }
}

function steps(name: string): string {
  return `<h2>1. Get a ticket</h2>
<p>On a computer of your organisation, log in with your network password. Elsewhere, run <code>kinit</code>, or connect to the VPN and lock and unlock the screen.</p>
<h2>2. Let the browser use it for ${name}</h2>
<dl>
<dt>Chrome, Edge</dt><dd>Policy <code>AuthServerAllowlist</code>: <code>${name}</code>. On Windows: Internet Options, Security, Local intranet, Sites.</dd>
<dt>Firefox</dt><dd><code>about:config</code>, <code>network.negotiate-auth.trusted-uris</code>: <code>${name}</code></dd>
<dt>Safari</dt><dd>Needs no setting, only the ticket.</dd>
</dl>
<h2>3. Load this page again</h2>
<p>Use the name in the address bar, not an IP address: tickets are for names.</p>
`
}
