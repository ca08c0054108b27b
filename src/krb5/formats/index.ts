/**
 * The files of Kerberos: bytes or text <-> values. Knows their layout and grammar. Must not open a file or read the environment: what a
 * file includes comes through `ProfileFiles`.
 *
 * - MIT krb5, "Keytab file format" (web.mit.edu/kerberos/krb5-latest/doc/formats/keytab_file_format.html)
 * - MIT krb5, "Credential cache file format" (…/doc/formats/ccache_file_format.html): versions 1 to 4
 * - MIT krb5, "krb5.conf" (…/doc/admin/conf_files/krb5_conf.html): the profile grammar and what the names mean
 */
export * from './ccache.ts'
export * from './duration.ts'
export * from './enctype-list.ts'
export * from './ignored-settings.ts'
export * from './keytab.ts'
export * from './krb5-config.ts'
export * from './profile.ts'
export * from './server-address.ts'
