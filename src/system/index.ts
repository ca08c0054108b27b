/**
 * This machine: clock, randomness, sockets, files and environment, behind the interfaces that `krb5/client` declares.
 *
 * Knows paths, variables, ports and time-outs. Must not know what is inside a message or what a ticket is good for.
 */
export * from './bound-connections.ts'
export * from './certificate-bindings.ts'
export * from './clock.ts'
export * from './config.ts'
export * from './credential-files.ts'
export * from './dispatcher.ts'
export * from './dns.ts'
export * from './environment.ts'
export { reasonOf, UnsafePathError } from './folder.ts'
export * from './output-file.ts'
export * from './proxy-environment.ts'
export * from './tls-connector.ts'
export * from './transport.ts'
export * from './tunnel.ts'
