import type { SecurityContext } from '../../gss/context.ts'

/**
 * A context whose tokens have memory of their own: messages lie in Node's pool, and whoever gets one may do with its `buffer` what he likes. Where a
 * token becomes base64 at once there is no need for it.
 */
export function withOwnTokens<C extends SecurityContext>(context: C): C {
  const { step } = context
  context.step = async (given) => {
    const { token, complete } = await step.call(context, given)
    return { token: token && new Uint8Array(token), complete }
  }
  return context
}
