/** axios where mutual authentication is required: a request may name another adapter than the instance has, and that one verifies nothing. */
import type { AxiosAdapter, AxiosInstance, AxiosResponse, InternalAxiosRequestConfig } from 'axios'
import { UsageError } from '../../errors.ts'

/** Of adapters that hold each answer until it is verified; registered, so that two logins over one instance know each other's. */
const VERIFIES: symbol = Symbol.for('spnego.verifies')

/** The adapter, whose answers are known from now on. */
export function verifying(adapter: AxiosAdapter, answers: WeakSet<object>): AxiosAdapter {
  const known: AxiosAdapter = async (config) => {
    try {
      const response = await adapter(config)
      answers.add(response)
      return response
    } catch (error) {
      const { response } = error as { response?: AxiosResponse }
      if (response !== undefined) answers.add(response)
      throw error
    }
  }
  return Object.assign(known, { [VERIFIES]: true })
}

/**
 * Has an instance, and those that are made of it, refuse other adapters, and answers of others: an interceptor that was there before may bring one
 * after the first check.
 */
export function refuseOtherAdapters(instance: AxiosInstance, answers: WeakSet<object>): void {
  instance.interceptors.request.use(withVerifyingAdapter)
  instance.interceptors.response.use(
    (response) => {
      if (!answers.has(response)) throw otherAdapter() // check: C71
      return response
    },
    (error: unknown) => {
      const { response } = error as { response?: AxiosResponse }
      throw response === undefined || answers.has(response) ? error : otherAdapter() // check: C71
    },
  )
  const { create } = instance
  instance.create = (defaults) => {
    const made = create(defaults)
    refuseOtherAdapters(made, answers)
    return made
  }
}

function withVerifyingAdapter(config: InternalAxiosRequestConfig): InternalAxiosRequestConfig {
  const verifies = typeof config.adapter === 'function' && VERIFIES in config.adapter
  if (!verifies) throw otherAdapter() // check: C71
  return config
}

function otherAdapter(): UsageError {
  return new UsageError(
    'OPTION_UNSUPPORTED',
    'negotiateAxios: an adapter of the request carries no login, which is required',
    {
      hint: 'Leave adapter out of the request; or take an instance with another mutualAuthentication for it.',
    },
  )
}
