import { utf8 } from '../../../../src/bytes/bytes.ts'
import { toHex } from '../../../../src/bytes/hex.ts'

/** A value of MIT's `trval` dump: octets as hex, times and numbers as they are printed. */
export type Dumped = string | number | readonly Dumped[] | { readonly [label: string]: Dumped }

interface Node {
  readonly kind: string
  readonly label: string | undefined
  readonly value: string | number | undefined
  readonly children: Node[]
}

const LINE = /^((?:\. {2})*)(?:\[([^\]]+)\] )?\[([^\]]+)\](?: (.*))?$/

/** Reads a dump, whose indentation is its nesting, into what it says. */
export function parseTrval(lines: readonly string[]): Dumped {
  const root: Node = { kind: '', label: undefined, value: undefined, children: [] }
  const open: Node[] = [root]
  for (let i = 0; i < lines.length; i++) {
    const [, dots = '', label, kind = '', text = ''] = LINE.exec(lines[i] ?? '') ?? []
    if (kind === '') throw new Error(`not a line of trval: ${lines[i]}`)
    const octets: string[] = []
    while (/^ {3}/.test(lines[i + 1] ?? ''))
      octets.push(/^(?:[0-9a-f]{2} )+/.exec(`${(lines[++i] ?? '').trim()} `)?.[0] ?? '')
    const node = { kind, label, value: leaf(kind, text, octets.join(' ').replace(/\s/g, '')), children: [] }
    open.length = dots.length / 3 + 1
    open.at(-1)?.children.push(node)
    open.push(node)
  }
  return contentOf(root.children[0] ?? root)
}

function leaf(kind: string, text: string, octets: string): string | number | undefined {
  switch (kind) {
    case 'Integer':
      return Number(text)
    case 'General string':
    case 'Generalized Time':
      return text.slice(1, -1)
    case 'Octet String':
      return text.startsWith('<') ? octets : toHex(utf8(text.slice(1, -1)))
    case 'Bit String':
      return Number(text)
    default:
      return undefined
  }
}

/** Labelled children make an object, others a list; an application tag is passed over. */
function contentOf({ kind, value, children }: Node): Dumped {
  if (value !== undefined) return value
  const [inner] = children
  if (kind.startsWith('Krb5 ') && inner !== undefined) return contentOf(inner)
  if (children.every(({ label }) => label === undefined)) return children.map(contentOf)
  return Object.fromEntries(children.map((child) => [child.label ?? '', contentOf(child)]))
}
