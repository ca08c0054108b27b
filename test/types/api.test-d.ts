import type * as spnego from 'spnego'
import type * as express from 'spnego/express'
import type * as client from 'spnego/fetch'
import type * as redis from 'spnego/redis'
import type * as server from 'spnego/server'
import type * as testing from 'spnego/testing'
import type * as web from 'spnego/web'
import type * as shape from './shapes.ts'

/** Fails to compile when what was built does not fit the promised shape. */
type Fits<Built extends Promised, Promised> = [Built, Promised]

type Creds = spnego.Credentials
type Config = spnego.Krb5Config
type PrincipalType = spnego.Principal

export type Checks = [
  Fits<spnego.KerberosError, shape.KerberosError>,
  Fits<spnego.Principal, shape.Principal>,
  Fits<typeof spnego.Principal, shape.PrincipalClass>,
  Fits<spnego.Keytab, shape.Keytab>,
  Fits<typeof spnego.Keytab, shape.KeytabClass>,
  Fits<spnego.Credentials, shape.Credentials<Config>>,
  Fits<typeof spnego.Credentials, shape.CredentialsClass<Creds, spnego.Keytab>>,
  Fits<spnego.CredentialCache, shape.CredentialCache>,
  Fits<typeof spnego.CredentialCache, shape.CredentialCacheClass>,
  Fits<typeof spnego.KerberosClient, shape.KerberosClientClass<Creds, Config, PrincipalType>>,
  Fits<typeof spnego.Krb5Config, shape.ConfigClass<Config>>,
  Fits<spnego.SecurityContext, shape.SecurityContext>,
  Fits<typeof spnego.createInitiator, shape.CreateInitiator<Creds, Config, PrincipalType>>,
  Fits<typeof spnego.createAcceptor, shape.CreateAcceptor<spnego.Keytab>>,
  Fits<spnego.KerberosTicket, shape.KerberosTicket>,
  Fits<typeof spnego.KerberosTicket, shape.KerberosTicketClass>,
  Fits<typeof spnego.parseChallenges, shape.ParseChallenges>,
  Fits<spnego.MemoryReplayStore, shape.ReplayStore>,
  Fits<shape.ReplayStore, spnego.ReplayStore>,
  Fits<ReturnType<typeof redis.redisReplayStore>, shape.ReplayStore>,
  Fits<ReturnType<typeof server.dangerouslyPerProcess>, shape.ReplayStore>,
  Fits<typeof server.useClusterReplayStore, () => void>,
  Fits<client.Negotiated, shape.Negotiated>,
  Fits<typeof client.negotiated, (response: object) => shape.Negotiated | undefined>,
  Fits<typeof client.negotiateFetch, (options?: object) => typeof globalThis.fetch>,
  Fits<server.Identity, shape.Identity<Creds>>,
  Fits<typeof web.negotiate, shape.WebNegotiate<server.Identity>>,
  Fits<server.Decision, shape.Decision>,
  Fits<server.NegotiateServer, shape.NegotiateServer>,
  Fits<typeof server.createNegotiateServer, (options?: object) => shape.NegotiateServer>,
  Fits<ReturnType<typeof express.identityOf>, shape.Identity>,
  Fits<testing.TestRealm, shape.TestRealm<Creds>>,
  Fits<typeof testing.TestRealm, shape.TestRealmClass<Creds>>,
]
