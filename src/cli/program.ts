import { Command } from 'commander'
import { lazily } from './output.ts'

const collect = (value: string, values: readonly string[]): readonly string[] => [...values, value]

export const program: Command = new Command('spnego')
  .description('Kerberos single sign-on for HTTP: log in, look, fetch, and try it all without a domain.')
  .configureHelp({ helpWidth: 80 })
  .showHelpAfterError('(spnego --help lists the commands)')

program
  .command('demo')
  .description('a whole login, told step by step: realm, server and client in this process')
  .option('--serve', 'stay, and print what kinit, curl and a browser need to join')
  .option('--port <number>', 'of the server that --serve starts (default: any free one)')
  .action(lazily(async () => (await import('./demo.ts')).demo))

program
  .command('login')
  .description('get a ticket-granting ticket and put it into the credential cache')
  .argument('[principal]', 'name@REALM; default: your user name in the default realm')
  .option('-c, --cache <name>', 'credential cache; default: KRB5CCNAME, else FILE:/tmp/krb5cc_<uid>')
  .option('-k, --keytab <path>', 'log in with a key from this keytab instead of a password')
  .option('--password-stdin', 'read the password from standard input, up to the first line end')
  .action(lazily(async () => (await import('./login.ts')).login))

program
  .command('list')
  .description('show the tickets of the credential cache')
  .argument('[cache]', 'default: KRB5CCNAME, else FILE:/tmp/krb5cc_<uid>')
  .option('-A, --all', 'every cache of the collection (DIR:), the one in use first')
  .option('--json', 'as JSON')
  .action(lazily(async () => (await import('./list.ts')).list))

program
  .command('switch')
  .description('make the cache of a user the one in use, in a collection (DIR:)')
  .argument('<principal>', 'name@REALM')
  .argument('[collection]', 'default: KRB5CCNAME')
  .action(lazily(async () => (await import('./switch.ts')).switchTo))

program
  .command('passwd')
  .description('change a password; an expired one too')
  .argument('[principal]', 'name@REALM; default: your user name in the default realm')
  .option('--password-stdin', 'read old and new password from standard input, a line each')
  .action(lazily(async () => (await import('./passwd.ts')).passwd))

program
  .command('logout')
  .description('overwrite and remove the credential cache')
  .argument('[cache]', 'default: KRB5CCNAME, else FILE:/tmp/krb5cc_<uid>')
  .action(lazily(async () => (await import('./logout.ts')).logout))

program
  .command('fetch')
  .description('request a URL, logging in with your ticket when the server asks')
  .argument('<url>')
  .option('-X, --request <method>', 'method; default: GET, or POST with --data')
  .option('-H, --header <line>', 'a header, "Name: value"; may be repeated', collect, [])
  .option('-d, --data <text>', 'body of the request')
  .option('-o, --output <file>', 'write the body there instead of to standard output')
  .option('-c, --cache <name>', 'credential cache; default: KRB5CCNAME, else FILE:/tmp/krb5cc_<uid>')
  .option('--target <name>', 'name of the service, for instance HTTP@web1.corp; default: HTTP@<host>')
  .option('--mutual <mode>', 'required, auto, optional or disabled (default: auto)')
  .option('--insecure-origin <origin>', 'allow a token over plain http to it; may be repeated', collect, [])
  .option('-x, --proxy <url>', 'go through it, with a login when it asks; "environment" for HTTPS_PROXY and its like')
  .option('-v, --verbose', 'tell on standard error what happened on the way')
  .action(lazily(async () => (await import('./fetch.ts')).fetchUrl))

program
  .command('kdc')
  .description('run a realm for tests on this machine until Ctrl-C')
  .option('--realm <name>', 'default: EXAMPLE.TEST')
  .option('-u, --user <name:password>', 'a user; may be repeated (default: alice:secret)', collect, [])
  .option('-s, --service <name>', 'a service; may be repeated (default: HTTP/localhost)', collect, [])
  .option('--port <number>', 'TCP and UDP port on 127.0.0.1 (default: any free one)')
  .action(lazily(async () => (await import('./kdc.ts')).kdc))
