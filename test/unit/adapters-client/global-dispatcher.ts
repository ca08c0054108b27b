/** Where undici keeps the dispatcher of the global fetch: Node 26 looks at the second alone, others at the first. */
const SYMBOLS = [Symbol.for('undici.globalDispatcher.2'), Symbol.for('undici.globalDispatcher.1')]
const globals = globalThis as Record<symbol, object | undefined>

/** That of the runtime: there is one after a first look at anything of its undici. */
export function globalDispatcher(): object {
  void new Headers()
  const found = SYMBOLS.map((symbol) => globals[symbol]).find((one) => one !== undefined)
  if (found === undefined) throw new Error('this runtime has none')
  return found
}

/** As `setGlobalDispatcher` does; returns what puts the old ones back. */
export function installDispatcher(dispatcher: object): () => void {
  const before = SYMBOLS.map((symbol) => [symbol, globals[symbol]] as const)
  for (const symbol of SYMBOLS) globals[symbol] = dispatcher
  return () => {
    for (const [symbol, one] of before) {
      if (one === undefined) delete globals[symbol]
      else globals[symbol] = one
    }
  }
}
