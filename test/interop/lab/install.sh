#!/bin/bash
# Installs the Debian 12 packages that the lab's scripts need, in groups.
#
#   install.sh GROUP...      e.g. install.sh mit apache curl python
#   install.sh all           every group
#   install.sh --list        groups and packages
#
# Starts no service, opens no port, asks no question. Packages that are already
# there are left alone. heimdal unpacks packages that conflict with krb5-kdc into
# $LAB_HEIMDAL_ROOT (default ~/.cache/spnego-lab/heimdal).

. "$(dirname "$0")/lib.sh"

declare -A P=(
  [mit]="krb5-kdc krb5-admin-server krb5-user krb5-pkinit krb5-k5tls openssl"
  [apache]="apache2 libapache2-mod-auth-gssapi krb5-user openssl"
  [lighttpd]="lighttpd lighttpd-mod-authn-gssapi lighttpd-mod-openssl openssl"
  [curl]="curl"
  [python]="python3 python3-requests python3-requests-kerberos python3-kerberos python3-gssapi python3-cryptography"
  [heimdal]="libkdc2-heimdal libkadm5srv8-heimdal libkadm5clnt7-heimdal libgssapi3-heimdal libhx509-5-heimdal libotp0-heimdal libsl0-heimdal libkafs0-heimdal libhdb9-heimdal libheimntlm0-heimdal libcap-ng0 libedit2 krb5-user openssl"
  [samba]="samba samba-ad-dc samba-ad-provision samba-dsdb-modules python3-samba ldb-tools krb5-user"
  [squid]="squid"
  [redis]="redis-server redis-tools"
  [nginx]="nginx-light"
  [gss]="krb5-gss-samples krb5-user"
  [chromium]="chromium openssl"
  [firefox]="firefox-esr"
)
ORDER="mit apache lighttpd squid redis nginx curl python heimdal samba gss chromium firefox"

if [ $# = 0 ]; then lab_usage; fi
if [ "$1" = --list ]; then for g in $ORDER; do echo "$g: ${P[$g]}"; done; exit 0; fi
[ "$1" = all ] && set -- $ORDER

want=() heimdal=
for g in "$@"; do
  [ -n "${P[$g]:-}" ] || lab_die "no group '$g' (groups: $ORDER)"
  [ "$g" = heimdal ] && heimdal=1
  for p in ${P[$g]}; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || want+=("$p")
  done
done

export DEBIAN_FRONTEND=noninteractive
APT=(apt-get -o DPkg::Lock::Timeout=600 -y --no-install-recommends)
UPDATED=
update() { [ -n "$UPDATED" ] && return 0; apt-get -o DPkg::Lock::Timeout=600 -qq update || lab_die "apt-get update failed"; UPDATED=1; }

if [ ${#want[@]} -gt 0 ]; then
  [ "$(id -u)" = 0 ] || lab_die "packages are missing and only root can install them: ${want[*]}"
  out=$(mktemp)
  # Package scripts must start no daemon (Debian's own switch for that).
  if [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d
    trap 'rm -f /usr/sbin/policy-rc.d "$out"' EXIT
  else
    trap 'rm -f "$out"' EXIT
  fi
  ls /var/lib/apt/lists/*Packages* >/dev/null 2>&1 || update
  if ! "${APT[@]}" install "${want[@]}" > "$out" 2>&1; then
    # lists older than the archive: once more with new ones
    update
    "${APT[@]}" install "${want[@]}" > "$out" 2>&1 || { tail -15 "$out" >&2; lab_die "apt-get install failed: ${want[*]}"; }
  fi
  lab_log "installed: ${want[*]}"
else
  lab_log "all packages are there already"
fi

if [ -n "$heimdal" ]; then
  H=$LAB_HEIMDAL
  if [ ! -x "$H/usr/lib/heimdal-servers/kdc" ]; then
    ls /var/lib/apt/lists/*Packages* >/dev/null 2>&1 || update
    lab_unpack "$H" heimdal-kdc heimdal-clients
    lab_log "Heimdal unpacked into $H"
  fi
fi

exit 0
