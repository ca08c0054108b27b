import { readFileSync } from 'node:fs'
import type { Reporter, TestModule } from 'vitest/node'

/**
 * Counts the cases that passed against each peer (the text in brackets that opens a test's outermost group) and holds them against the committed
 * floor: a peer that has fewer has lost tests on the way. Skipped tests fail: nothing is skipped here.
 */
export default class FloorReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const floor = JSON.parse(readFileSync(new URL('floor.json', import.meta.url), 'utf8')) as Record<string, number>
    const passed = new Map<string, number>(Object.keys(floor).map((peer) => [peer, 0]))
    let skipped = 0
    for (const module of modules) {
      for (const test of module.children.allTests()) {
        const peer = /^\[([^\]]+)\]/.exec(test.fullName)?.[1]
        if (test.result().state === 'skipped') skipped++
        if (peer !== undefined && test.result().state === 'passed') passed.set(peer, (passed.get(peer) ?? 0) + 1)
      }
    }
    console.log('\ncases per peer (passed / floor)')
    let below = false
    for (const [peer, count] of passed) {
      const least = floor[peer] ?? 0
      below ||= count < least
      console.log(
        `  ${peer.padEnd(28)} ${String(count).padStart(3)} / ${least}${count < least ? '  BELOW THE FLOOR' : ''}`,
      )
    }
    if (skipped > 0) console.log(`  ${skipped} tests were skipped: a failure`)
    if (below || skipped > 0) process.exitCode = 1
  }
}
