// What the benches share: medians, tables, the load generator, servers, and where the machine's name stands.
import { execFileSync, spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { cpus, loadavg } from 'node:os'
import { join } from 'node:path'

export const work = process.env.BENCH_WORK

export const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b)
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2
}
export const spread = (values, digits = 0) =>
  `${Math.min(...values).toFixed(digits)}–${Math.max(...values).toFixed(digits)}`
/** Of each round by itself: what disturbs one side of a round disturbs the other. */
export const ratioOf = (ours, theirs) => median(ours.map((value, i) => value / theirs[i]))

/** What one of so many calls takes. */
export async function microseconds(times, run) {
  const started = process.hrtime.bigint()
  await run()
  return Number(process.hrtime.bigint() - started) / 1000 / times
}

const runtime = process.versions.bun
  ? `Bun ${process.versions.bun}`
  : process.versions.deno
    ? `Deno ${process.versions.deno}`
    : `Node ${process.version}`

export const machine = `${runtime}, ${cpus()[0].model.trim()}, ${cpus().length} cores, load ${loadavg()[0].toFixed(1)}`

/** Rows as a plain table, ratio first, and the same as JSON beside it. */
export function report(name, note, rows) {
  console.log(`\n${name}: ${machine}${note === '' ? '' : `; ${note}`}`)
  const texts = rows.map((row) => Object.entries(row).map(([key, value]) => [key, String(value)]))
  const heads = texts[0].map(([key]) => key)
  const widths = heads.map((head, i) => Math.max(head.length, ...texts.map((row) => row[i][1].length)))
  const line = (cells) =>
    cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('  ')
  console.log(line(heads))
  for (const row of texts) console.log(line(row.map(([, value]) => value)))
  const folder = process.env.BENCH_OUT
  if (folder !== undefined) {
    const file = join(folder, `${name.replaceAll(' ', '-')}.json`)
    writeFileSync(file, `${JSON.stringify({ machine, note, rows }, undefined, 2)}\n`)
  }
}

/** Fresh tokens of MIT's initiator, in base64. */
export function mitTokens(service, count) {
  const args = ['gen', '-n', String(count), '-M', '-t', service]
  const out = execFileSync(join(work, 'gssbench'), args, { maxBuffer: 2 ** 28, stdio: ['ignore', 'pipe', 'ignore'] })
  return out.toString().trim().split('\n')
}

/** A fresh token for each of `count` requests over so many connections; refuses any answer but 200. */
export function load({ port, pids, connections, count, host = 'localhost', cookies = false }) {
  const file = join(work, 'tokens')
  writeFileSync(file, `${mitTokens('HTTP/localhost', count).join('\n')}\n`)
  const options = { a: `127.0.0.1:${port}`, c: connections, n: count, t: file, H: host, p: pids }
  const args = Object.entries(options).flatMap(([name, value]) => [`-${name}`, String(value)])
  const out = execFileSync(join(work, 'loadgen'), cookies ? ['-C', ...args] : args).toString()
  if (!out.trim().endsWith(` 200:${count}`)) throw new Error(out)
  const number = (name) => Number(new RegExp(`\\b${name} ([\\d.]+)`).exec(out)?.[1])
  return {
    rate: number('rps'),
    p50: number('p50_us') / 1000,
    p99: number('p99_us') / 1000,
    cpu: number('cpu_us_per_req'),
  }
}

/** One of the servers of `http-server.mjs`. */
export async function nodeServer(mode) {
  const script = new URL('http-server.mjs', import.meta.url).pathname
  const child = spawn(process.execPath, [script, mode], { stdio: ['ignore', 'pipe', 'inherit'] })
  process.once('exit', () => child.kill())
  const port = await new Promise((resolve) => child.stdout.once('data', (text) => resolve(Number(text))))
  return {
    port,
    pids: String(child.pid),
    /** Delay of its event loop since the last call, in ms. */
    delay: async () => (await (await fetch(`http://127.0.0.1:${port}/counts`)).json()).delayMs,
    end: () => child.kill(),
  }
}
