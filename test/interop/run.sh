#!/bin/bash
# npm run test:interop: installs the peers from Debian's packages (root, once) and proves this package against them, on loopback.
# A peer that is missing or does not start is a failure. The last lines count the cases per peer against floor.json.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
"$here/lab/install.sh" mit apache lighttpd squid redis nginx curl python heimdal samba gss chromium firefox
export PATH=$PATH:/usr/sbin
npx vitest run --project interop --reporter=default --reporter="$here/floor-reporter.ts" "$@"
