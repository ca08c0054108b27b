/** Settings of krb5.conf that this package does not obey, or cannot read: one sentence for each, with file and line. */

import { quote, shorten } from '../../bytes/text.ts'
import { BOOLEANS } from './krb5-config.ts'
import type { Profile, ProfileValue } from './profile.ts'

/** MIT krb5, "krb5.conf", [libdefaults]: the relations that are true or false. */
const BOOLEAN_SETTINGS: ReadonlySet<string> = new Set([
  'allow_des3',
  'allow_rc4',
  'allow_weak_crypto',
  'canonicalize',
  'dns_lookup_kdc',
  'dns_lookup_realm',
  'dns_uri_lookup',
  'enforce_ok_as_delegate',
  'forwardable',
  'ignore_acceptor_hostname',
  'k5login_authoritative',
  'kdc_timesync',
  'noaddresses',
  'proxiable',
  'rdns',
  'verify_ap_req_nofail',
])
/** Most settings of one configuration that are reported. */
const MAX_TOLD = 64

interface Setting {
  readonly path: readonly string[]
  readonly name: string
  readonly value: ProfileValue
}

/** Why a setting is not obeyed; undefined for one that is, or that concerns other programs alone. */
function reasonOf({ path, name, value }: Setting): string | undefined {
  const isBoolean = BOOLEAN_SETTINGS.has(name)
  const isOn = BOOLEANS.get(value.text.toLowerCase())
  if (isBoolean && isOn === undefined) return 'is neither true nor false, and refused where it counts'
  const [section, realm] = path
  if (section === 'libdefaults' && name === 'noaddresses' && isOn === false)
    return 'is not obeyed: tickets have no addresses'
  if (section === 'libdefaults' && name === 'kcm_socket') return 'is not obeyed: KCM caches are not read'
  if (name === 'http_anchors') return 'is not obeyed: KDC proxies are not asked'
  if (section !== 'realms' || realm === undefined || path.length !== 2) return undefined
  if (name === 'kdc' && /^https:/i.test(value.text)) return 'is passed over: KDC proxies are not asked'
  return undefined
}

/** One sentence for each setting, in the order of the sections. At most 64. */
export function ignoredSettings(profile: Profile): readonly string[] {
  const told: string[] = []
  const walk = (path: readonly string[]) => {
    const settings = path.length === 0 ? [] : profile.relations(...path)
    for (const name of settings) {
      for (const value of profile.values(...path, name)) {
        const reason = told.length < MAX_TOLD ? reasonOf({ path, name, value }) : undefined
        if (reason !== undefined)
          told.push(`${shorten(value.file)}:${value.line}: ${name} = ${quote(value.text)} ${reason}`)
      }
    }
    for (const name of profile.subsections(...path)) walk([...path, name])
  }
  walk([])
  return told
}
