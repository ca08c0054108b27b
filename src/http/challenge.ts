export interface Challenge {
  readonly scheme: string
  readonly token68: string | undefined
  readonly parameters: ReadonlyMap<string, string>
}
export function parseChallenges(field: string | readonly string[]): readonly Challenge[] {
  return [field]
    .flat()
    .flatMap((one) => one.split(','))
    .map((one) => {
      const [scheme = '', token68] = one.trim().split(/ +/)
      return { scheme, token68, parameters: new Map() }
    })
}
