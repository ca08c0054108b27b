import { ignoredSettings, type Profile } from '../../krb5/formats/index.ts'
import { loadProfile } from '../../system/index.ts'

/** On `globalThis`, so that a second copy of this package finds it. The number changes with the shape of what lies there. */
const TOLD: unique symbol = Symbol.for('spnego.told-settings.1')
/** Most settings that a process remembers to have reported. */
const MAX_TOLD = 1000

/**
 * Reads krb5.conf as `loadProfile` does, and warns of each setting in it that is not obeyed: once in a process, however many clients it has.
 *
 * @throws {ConfigError} `CONFIG_UNREADABLE`, `CONFIG_SYNTAX` with file and line
 */
export function loadProfileWithWarnings(names?: string): Profile {
  const profile = loadProfile(names)
  const told = toldSettings(globalThis as Global)
  for (const text of ignoredSettings(profile)) {
    if (told.has(text) || told.size >= MAX_TOLD) continue
    told.add(text)
    process.emitWarning(text, { type: 'SpnegoWarning', code: 'SPNEGO_SETTING_IGNORED' }) // check: K87
  }
  return profile
}

interface Global {
  readonly [TOLD]?: Set<string>
}

function toldSettings(global: Global): Set<string> {
  const found = global[TOLD]
  if (found !== undefined) return found
  const made = new Set<string>()
  Object.defineProperty(global, TOLD, { value: made, configurable: true })
  return made
}
