/** Largest difference that is followed, in microseconds: a day. Beyond it one of the two clocks is broken, or somebody plays with it. */
const MAX_CLOCK_OFFSET = 86_400e6
/** Up to here the clocks agree: KerberosTime has whole seconds (RFC 4120 §5.2.3), and a message needs time on its way. Microseconds. */
const NOTICEABLE = 60e6

/**
 * The KDC's clock minus ours, as MIT krb5's `kdc_timesync` keeps it: servers follow their KDC, so who talks to them does too.
 *
 * @returns microseconds, 0 while the clocks agree; undefined for a difference that nobody should follow
 */
export function clockOffset(theirs: number, ours: number): number | undefined {
  const difference = theirs - ours
  if (Math.abs(difference) > MAX_CLOCK_OFFSET) return undefined // check: K28
  return Math.abs(difference) < NOTICEABLE ? 0 : difference
}
