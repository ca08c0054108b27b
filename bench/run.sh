#!/bin/bash
# npm run bench: accept, initiate and parse (`npm run bench -- gss`: these only), what a start costs (`cold`), logins and tickets (`kdc`), servers
# (`server`) and clients (`client`), beside MIT, npm kerberos, python3-gssapi, requests-kerberos, curl and Apache in the same run; replay stores
# (`stores`), with Debian's redis-server; what slow things do to others (`stall`). `quick`: accept and initiate beside MIT in half a minute.
# Plain tables, ratios first; JSON beside them where BENCH_OUT names a folder.
#
# Needs Debian (root, to install packages once) and the npm registry, about five minutes. Everything lies below one temporary folder; the KDC is on
# loopback. ROUNDS (default 5), TOKENS (default 4000) and REQUESTS (default 2000) may be set.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
part=${1:-all}
packages=(krb5-kdc krb5-user krb5-admin-server libkrb5-dev gcc libc6-dev)
case $part in
  all) packages+=(curl g++ make python3 python3-gssapi python3-requests-kerberos apache2 libapache2-mod-auth-gssapi);;
  gss) packages+=(g++ make python3 python3-gssapi);;
  client) packages+=(curl g++ make python3 python3-requests-kerberos);;
  server) packages+=(g++ make python3 apache2 libapache2-mod-auth-gssapi);;
  kdc|cold|quick) ;;
  stores) packages=(redis-server);;
  stall) packages=();;
  *) echo "usage: npm run bench [-- quick|gss|cold|kdc|client|server|stores|stall]" >&2; exit 2;;
esac
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
# What has no name in the package stands in modules of its own; everything else is measured as it is shipped.
npx tsc -p tsconfig.build.json --noCheck --declaration false --isolatedDeclarations false --outDir build
work=$(mktemp -d)
cleanup() {
  [ -f "$work/kdc.pid" ] && kill "$(cat "$work/kdc.pid")" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT
if [ "$part" = stall ]; then exec node "$here/stall.mjs"; fi
if [ "$part" = stores ]; then
  BENCH_WORK=$work LOAD=$(cut -d' ' -f1 /proc/loadavg) node --expose-gc "$here/stores.mjs"
  exit
fi
gcc -O2 -o "$work/gssbench" "$here/gssbench.c" -lgssapi_krb5 -lkrb5
gcc -O2 -o "$work/loadgen" "$here/loadgen.c"
. "$here/realm.sh" "$work"
export BENCH_WORK=$work
# npm kerberos is native: it is built here when no binary came with it, against the headers that came with Node if they did.
peers() {
  local node
  node=$(dirname "$(dirname "$(readlink -f "$(command -v node)")")")
  [ -d "$node/include/node" ] && export npm_config_nodedir=$node
  mkdir "$work/peers"
  (
    cd "$work/peers"
    echo '{ "private": true }' > package.json
    npm install --no-audit --no-fund kerberos@7 > install.log 2>&1 || { tail -20 install.log >&2; exit 1; }
    if ! node -e 'require("kerberos")' 2> /dev/null; then
      cd node_modules/kerberos
      node "$(npm root -g)/npm/node_modules/node-gyp/bin/node-gyp.js" rebuild > build.log 2>&1 || { tail -20 build.log >&2; exit 1; }
    fi
  )
  export BENCH_PEERS=$work/peers
}
case $part in quick) node "$here/gss.mjs" quick; exit;; esac
case $part in all|gss|client|server) peers;; esac
case $part in all|gss) node "$here/gss.mjs";; esac
case $part in all|cold) node --expose-gc "$here/cold.mjs"; node "$here/import-time.mjs";; esac
case $part in all|kdc) node --expose-gc "$here/kdc.mjs";; esac
case $part in all|server) node "$here/http-servers.mjs";; esac
case $part in all|client) node "$here/http-client.mjs";; esac
