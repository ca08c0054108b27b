/** Short names, to fit a column. */
const LABELS: ReadonlyMap<number, string> = new Map([
  [17, 'aes128-sha1'],
  [18, 'aes256-sha1'],
  [19, 'aes128-sha256'],
  [20, 'aes256-sha384'],
])

export function enctypeLabel(enctype: number): string {
  return LABELS.get(enctype) ?? `enctype ${enctype}`
}
