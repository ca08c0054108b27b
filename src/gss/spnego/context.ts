import type { Principal } from '../../krb5/messages/principal.ts'
import { type Flag, failed, incomplete, type SecurityContext, type Step } from '../context.ts'

/** What initiator and acceptor share: they hand everything but the negotiation to the chosen mechanism once it is over. */
export abstract class NegotiatedContext implements SecurityContext {
  #state: 'open' | 'complete' | 'failed' = 'open'
  #stepping = false

  protected abstract advance(token: Uint8Array | undefined): Promise<Step>
  /** The mechanism that was chosen. */
  protected abstract get mechanism(): SecurityContext | undefined

  async step(token?: Uint8Array): Promise<Step> {
    if (this.#stepping) this.dispose() // of two tokens at once nobody can say which one counts
    this.#mustBeOpen() // check: S04
    this.#stepping = true
    try {
      const step = await this.advance(token)
      this.#mustBeOpen() // it may have been disposed meanwhile check: S04
      if (step.complete) this.#state = 'complete'
      return step
    } catch (error) {
      this.dispose()
      throw error
    } finally {
      this.#stepping = false
    }
  }

  #mustBeOpen(): void {
    if (this.#state !== 'open') throw failed()
  }

  get complete(): boolean {
    return this.#state === 'complete'
  }

  get #chosen(): SecurityContext {
    if (this.#state === 'failed') throw failed() // check: S05
    if (this.#state === 'open' || this.mechanism === undefined) throw incomplete() // check: S05
    return this.mechanism
  }

  get peer(): Principal {
    return this.#chosen.peer
  }

  get flags(): ReadonlySet<Flag> {
    return this.#chosen.flags
  }

  get expiresAt(): Date {
    return this.#chosen.expiresAt
  }

  wrap(data: Uint8Array, options?: { confidential?: boolean }): Uint8Array {
    return this.#chosen.wrap(data, options)
  }

  unwrap(token: Uint8Array): { readonly data: Uint8Array; readonly confidential: boolean } {
    return this.#chosen.unwrap(token)
  }

  getMic(data: Uint8Array): Uint8Array {
    return this.#chosen.getMic(data)
  }

  verifyMic(data: Uint8Array, mic: Uint8Array): void {
    this.#chosen.verifyMic(data, mic)
  }

  dispose(): void {
    this.#state = 'failed'
    this.mechanism?.dispose()
  }
}
