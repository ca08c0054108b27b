#!/bin/bash
# npm run bench: initiate, accept, a server's requests per second, logins and tickets, beside MIT in the same run. `npm run bench -- kdc` for the last two.
#
# Needs Debian (root, to install packages once), about two minutes. Everything lies below one temporary folder; the KDC is on loopback.
# ROUNDS (default 5) and TOKENS (default 4000) may be set.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
packages=(krb5-kdc krb5-user krb5-admin-server libkrb5-dev gcc libc6-dev)
missing=()
for p in "${packages[@]}"; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing+=("$p")
done
if [ ${#missing[@]} -gt 0 ]; then
  made_policy=
  if [ ! -e /usr/sbin/policy-rc.d ]; then # Debian's own switch: a package's installation starts no service
    printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d; made_policy=1
  fi
  apt-get -qq update
  DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "${missing[@]}" > /dev/null 2>&1
  [ -z "$made_policy" ] || rm -f /usr/sbin/policy-rc.d
fi
work=$(mktemp -d)
cleanup() {
  [ -f "$work/kdc.pid" ] && kill "$(cat "$work/kdc.pid")" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT
gcc -O2 -o "$work/gssbench" "$here/gssbench.c" -lgssapi_krb5 -lkrb5
gcc -O2 -o "$work/loadgen" "$here/loadgen.c"
. "$here/realm.sh" "$work"
export BENCH_WORK=$work
[ "${1:-}" = kdc ] || node "$here/bench.mjs"
node --expose-gc "$here/kdc.mjs"
