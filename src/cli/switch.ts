import { CredentialCache } from '../entries/index.ts'

export async function switchTo(principal: string, collection: string | undefined): Promise<void> {
  await CredentialCache.switch(principal, collection)
  console.log(`${CredentialCache.nameOf(collection)} is in use now`)
}
