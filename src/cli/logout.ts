import { CredentialCache } from '../entries/index.ts'

export async function logout(cache: string | undefined): Promise<void> {
  const name = CredentialCache.nameOf(cache)
  const removed = await CredentialCache.destroy(name)
  console.log(removed ? `${name} is removed` : `${name} does not exist: nobody was logged in`)
}
