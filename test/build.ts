import { execFile } from 'node:child_process'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const ROOT = fileURLToPath(new URL('../', import.meta.url))

/** The sources as JavaScript in a folder of their own, for programs that a test starts: `dist` may be missing, or older than the sources. */
export async function build(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'spnego-child-'))
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }')
  const compiler = join(ROOT, 'node_modules/typescript/bin/tsc')
  const options = ['--noCheck', '--declaration', 'false', '--isolatedDeclarations', 'false', '--outDir', folder]
  await promisify(execFile)(process.execPath, [compiler, '-p', join(ROOT, 'tsconfig.build.json'), ...options])
  return folder
}
