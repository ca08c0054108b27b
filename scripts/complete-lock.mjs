// Adds to package-lock.json the optional packages of other platforms that npm left out.
//
// A registry mirror may hold the binaries of one platform only. npm then writes a lock without the others, and `npm ci` refuses that very lock.
// The entries need no address and no hash: they are skipped by their os, cpu and libc here, and found in the registry where they fit.
import { readFileSync, writeFileSync } from 'node:fs'

const path = new URL('../package-lock.json', import.meta.url)
const lock = JSON.parse(readFileSync(path, 'utf8'))
const SYSTEMS = ['android', 'darwin', 'freebsd', 'linux', 'netbsd', 'openbsd', 'openharmony', 'sunos', 'win32', 'aix']
const PROCESSORS = [
  'arm64',
  'arm',
  'x64',
  'ia32',
  'loong64',
  'mips64el',
  'ppc64',
  'riscv64',
  's390x',
  'wasm32',
  'universal',
]

for (const [where, { optionalDependencies = {}, dev }] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(optionalDependencies)) {
    const place = `node_modules/${name}`
    if (lock.packages[place] !== undefined || lock.packages[`${where}/${place}`] !== undefined) continue
    const words = name.split(/[/-]/)
    const os = SYSTEMS.filter((one) => words.includes(one))
    const cpu = PROCESSORS.filter((one) => words.includes(one) && one !== 'universal')
    if (os.length === 0 && cpu.length === 0) continue // not a binary of a platform
    const libc = words.some((one) => one.startsWith('musl')) ? ['musl'] : undefined
    lock.packages[place] = {
      version: version.replace(/^[\^~]/, ''),
      ...(cpu.length > 0 && { cpu }),
      ...(dev === true && { dev }),
      ...(libc && { libc }),
      optional: true,
      ...(os.length > 0 && { os }),
    }
  }
}
lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
writeFileSync(path, `${JSON.stringify(lock, undefined, 2)}\n`)
