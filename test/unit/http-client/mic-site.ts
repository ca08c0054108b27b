import { fromBase64, toBase64 } from '../../../src/bytes/base64.ts'
import type { Acceptor, SecurityContext } from '../../../src/entries/index.ts'
import { MECHANISM } from '../../../src/gss/context.ts'
import {
  decodeNegTokenInit,
  decodeNegTokenResp,
  encodeNegTokenResp,
  NEG_STATE,
} from '../../../src/gss/spnego/tokens.ts'
import { CHALLENGE, type Reply, type Seen } from './site.ts'

interface Half {
  readonly context: SecurityContext
  readonly rawMechTypes: Uint8Array
}

/** A server that wants SPNEGO's MIC before it lets anybody in, whatever connection the token comes over (RFC 4178 §5). */
export function wantsMic(acceptor: Acceptor): (seen: Seen) => Promise<Reply> {
  const halves = new Map<number, Half>()
  return async ({ token, connection }) => {
    if (token === undefined) return CHALLENGE
    const bytes = fromBase64(token, 'token')
    const half = halves.get(connection)
    halves.delete(connection)
    if (bytes[0] === 0xa1) {
      const { mechListMic } = decodeNegTokenResp(bytes)
      if (half === undefined || mechListMic === undefined) return { status: 400, body: 'not on this connection' }
      half.context.verifyMic(half.rawMechTypes, mechListMic)
      const mic = half.context.getMic(half.rawMechTypes)
      return answer(
        200,
        encodeNegTokenResp({ negState: NEG_STATE.ACCEPT_COMPLETED, mechListMic: mic }),
        `${half.context.peer}`,
      )
    }
    const { mechToken, rawMechTypes } = decodeNegTokenInit(bytes)
    const context = acceptor.createContext()
    const { token: proof } = await context.step(mechToken)
    halves.set(connection, { context, rawMechTypes })
    const negState = NEG_STATE.REQUEST_MIC
    return answer(
      401,
      encodeNegTokenResp({ negState, supportedMech: MECHANISM.KRB5, responseToken: proof }),
      'and the MIC?',
    )
  }
}

export function answer(status: number, token: Uint8Array, body: string): Reply {
  return { status, headers: { 'www-authenticate': `Negotiate ${toBase64(token)}` }, body }
}
