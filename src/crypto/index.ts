/**
 * Encryption types, keys and checksums: RFC 3961 (simplified profile), RFC 3962, RFC 8009. Alone uses `node:crypto`.
 * It knows what a key, a usage number, a salt and a confounder are, and turns octets into octets or throws.
 * It must not know what a usage stands for, any message, ASN.1, file or peer; which enctype is allowed is its caller's policy.
 * It draws no random number: the confounder is an argument, so that every exchange can be replayed.
 * Each family is a function of a row (`aes-sha1.ts`, `aes-sha2.ts`); `Key` keeps what it derives. RC4, DES, Camellia: none here.
 */

export { DEFAULT_ENCTYPES, ENCTYPE, enctype, enctypeName, isSupportedEnctype } from './enctypes.ts'
export { type HashName, hash, hashStart, md5, sha256, sha384, sha512 } from './hash.ts'
export { Key } from './key.ts'
export { nFold } from './n-fold.ts'
export { CONFOUNDER_BYTES, type Enctype } from './profile.ts'
export { MAX_ITERATIONS, parseIterations, stringToKey } from './string-to-key.ts'
