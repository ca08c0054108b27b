import type { Principal } from '../../krb5/messages/principal.ts'
import { type Flag, GuardedContext, incomplete, type SecurityContext, type Step } from '../context.ts'

/** What initiator and acceptor share: they hand everything but the negotiation to the chosen mechanism once it is over. */
export abstract class NegotiatedContext extends GuardedContext implements SecurityContext {
  #isOver = false

  /** The mechanism that was chosen. */
  protected abstract get mechanism(): SecurityContext

  protected get isSettled(): boolean {
    return this.#isOver
  }

  override async step(token?: Uint8Array): Promise<Step> {
    const step = await super.step(token)
    this.#isOver ||= step.complete
    return step
  }

  get complete(): boolean {
    return this.#isOver && !this.hasFailed
  }

  /** @throws {UsageError} `CONTEXT_FAILED`, `CONTEXT_INCOMPLETE` */
  protected mustBeComplete(): void {
    this.mustNotHaveFailed() // check: S05
    if (!this.#isOver) throw incomplete() // check: S05
  }

  get #chosen(): SecurityContext {
    this.mustBeComplete()
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

  protected release(): void {
    this.mechanism.dispose()
  }
}
