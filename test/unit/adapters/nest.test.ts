import type { ExecutionContext } from '@nestjs/common'
import { expect, test } from 'vitest'
import { LoginGuard } from '../../../src/adapters/server/nest.ts'
import { fakeServer } from '../http/fake-acceptor.ts'

test.each(['graphql', 'ws', 'rpc'])(
  'a %s context is refused with what is wrong, not with a TypeError',
  async (type) => {
    const context = { getType: () => type, switchToHttp: () => expect.unreachable() } as unknown as ExecutionContext
    await expect(new LoginGuard(fakeServer().core).canActivate(context)).rejects.toMatchObject({
      name: 'UsageError',
      code: 'OPTION_UNSUPPORTED',
      message: expect.stringContaining(`"${type}"`),
    })
  },
)
