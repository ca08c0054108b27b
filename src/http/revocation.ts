/** What remembers for all hosts that a session ended before its time. */
export interface RevocationStore {
  /**
   * @param id short base64url text
   * @param until when the session would have ended by itself, milliseconds since 1970: nobody asks after that
   */
  revoke(id: string, until: number): Promise<void>
  /** Throws when it cannot be known: then the session counts as revoked. */
  isRevoked(id: string): boolean | Promise<boolean>
  /**
   * From when on it knows every session that was ended, milliseconds since 1970; looked at after each answer. Older sessions count as ended: that may have
   * been forgotten. Without it, or undefined: since ever.
   */
  rememberedSince?(): number | undefined
}
