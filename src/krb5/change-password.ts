import { malformed } from '../errors.ts'
import type { RealmSender, World } from './client.ts'
import type { Credential } from './exchange/index.ts'
import {
  isKpasswdReply,
  makeChangePassword,
  type SentChangePassword,
  verifyChangePasswordReply,
} from './extensions/index.ts'
import type { Call } from './login.ts'

/**
 * One password change at the realm's password service (RFC 3244).
 *
 * @param credential a ticket for `changePasswordService`, from a login
 */
export async function changePassword(
  credential: Credential,
  newPassword: Uint8Array,
  call: Call,
  { source }: Pick<World, 'source'>,
  sender: RealmSender,
): Promise<void> {
  let sent: SentChangePassword | undefined
  const inquiry = {
    service: 'kpasswd' as const,
    realm: credential.client.realm,
    length: Number.POSITIVE_INFINITY, // TCP first: over UDP a lost answer would leave open which password counts
    message(senderAddress: Uint8Array) {
      sent = makeChangePassword({ credential, newPassword, senderAddress, source })
      return sent.message
    },
    isReply: isKpasswdReply,
    isAnswer: isKpasswdReply,
  }
  const reply = await sender.send(call.config, inquiry, call)
  if (sent === undefined) throw malformed('an answer came before the question')
  verifyChangePasswordReply(reply, sent, credential, source.now())
}
