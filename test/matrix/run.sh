#!/bin/bash
# npm run test:matrix: what every client does alike, on each runtime, whose version is printed from inside. Runtimes come as npm packages of their own
# lock, below this folder. `run.sh bun` runs that one alone.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
[ -d "$here/node_modules" ] || npm ci --prefix "$here" --no-audit --no-fund
modules=$here/node_modules
vitest=node_modules/vitest/vitest.mjs
every=(test/matrix test/unit/adapters-client test/unit/http-client)
# What is undici's own, and what knows Node's dispatcher, is for Node alone.
elsewhere=(test/matrix test/unit/adapters-client/{clients,clients-tls,clients-many,journeys,agent,proxies}.test.ts)
failed=()
on() { # NAME VERSION COMMAND... -- FILES...
  local name=$1 version=$2 command=()
  shift 2
  [ -z "$only" ] || [ "$only" = "$name" ] || return 0
  while [ "$1" != -- ]; do command+=("$1"); shift; done
  shift
  echo "== $name"
  SPNEGO_RUNTIME="$version" "${command[@]}" "$vitest" run --project matrix "$@" || failed+=("$name")
}
only=${1:-}
on node20 'node 20' node -- "${every[@]}"
for version in 22 24 26; do
  on "node$version" "node $version" "$modules/node$version/bin/node" -- "${every[@]}"
  SPNEGO_UNDICI8=$modules/undici8/index.js on "node$version" "node $version" "$modules/node$version/bin/node" -- \
    test/matrix test/unit/adapters-client/undici{,-body}.test.ts
done
on bun 'bun 1' "$modules/@oven/bun-linux-x64/bin/bun" --bun -- "${elsewhere[@]}"
on deno 'deno 2' "$modules/@deno/linux-x64-glibc/deno" run -A -- "${elsewhere[@]}"
[ ${#failed[@]} = 0 ] || { echo "failed on: ${failed[*]}"; exit 1; }
echo "the matrix is green"
