#!/bin/bash
# Heimdal KDC (a second implementation), beside an installed MIT one.
#
#   heimdal-kdc.sh start  WORKDIR [--port N] [--fresh]
#   heimdal-kdc.sh stop   WORKDIR
#   heimdal-kdc.sh status WORKDIR
#   heimdal-kdc.sh env    WORKDIR [--json]
#
#   --port N   KDC on N (UDP, TCP, and HTTP on the same TCP port), kpasswdd on N+1
#
# Debian's heimdal-kdc cannot be installed beside krb5-kdc, so its programs are
# unpacked: by 'install.sh heimdal' into $LAB_HEIMDAL_ROOT (default
# ~/.cache/spnego-lab/heimdal), else by this script into WORKDIR/heimdal.
# Realms HEIM.TEST and HEIM2.TEST; principals: see below. Loopback only.

. "$(dirname "$0")/lib.sh"

CMD=${1:-}; [ $# -gt 0 ] && shift
WD=${1:-}; [ $# -gt 0 ] && shift
PORT= FRESH= JSON=
while [ $# -gt 0 ]; do
  case $1 in
    --port) PORT=${2:?}; shift;;
    --fresh) FRESH=1;;
    --json) JSON=--json;;
    *) lab_usage;;
  esac
  shift
done

find_heimdal() {
  H=$LAB_HEIMDAL
  [ -x "$H/usr/lib/heimdal-servers/kdc" ] || H=$W/heimdal
  [ -x "$H/usr/lib/heimdal-servers/kdc" ] || lab_unpack "$H" heimdal-kdc heimdal-clients
  ldd "$H/usr/lib/heimdal-servers/kdc" "$H/usr/bin/kadmin.heimdal" 2>/dev/null | grep -q 'not found' &&
    lab_die "Heimdal's libraries are missing: run 'install.sh heimdal' first"
  KADMIN=$H/usr/bin/kadmin.heimdal
}

conf() { # FILE DEFAULT_KEYS
  cat > "$1" <<C
[libdefaults]
  default_realm = HEIM.TEST
  dns_lookup_realm = false
  dns_lookup_kdc = false
  allow_weak_crypto = false
  spn_canonicalization = none
[realms]
  HEIM.TEST = {
    kdc = 127.0.0.1:$HEIM_PORT
    kpasswd_server = 127.0.0.1:$HEIM_KPASSWD_PORT
  }
  HEIM2.TEST = {
    kdc = 127.0.0.1:$HEIM_PORT
  }
[domain_realm]
  localhost = HEIM.TEST
  .heim.test = HEIM.TEST
  .heim2.test = HEIM2.TEST
[kdc]
  database = {
    dbname = $W/kdc/heimdal
    mkey_file = $W/kdc/m-key
    acl_file = $W/kdc/kadmind.acl
    log_file = $W/kdc/log
  }
  enable-http = yes
  require-preauth = no
  check-ticket-addresses = no
  allow-anonymous = yes
  enable-pkinit = yes
  pkinit_identity = FILE:$W/pki/kdc-HEIM.TEST.pem,$W/pki/kdc.key
  pkinit_anchors = FILE:$W/pki/ca.pem
  pkinit_principal_in_certificate = yes
[kadmin]
  default_keys = $2
  require-preauth = no
[logging]
  kdc = 0-/FILE:$LOG/kdc.log
  kpasswdd = 0-/FILE:$LOG/kpasswdd.log
  default = 0-/FILE:$LOG/heimdal.log
C
}

AES='aes256-cts-hmac-sha1-96:pw-salt aes128-cts-hmac-sha1-96:pw-salt'
SHA2='aes256-cts-hmac-sha384-192:pw-salt aes128-cts-hmac-sha256-128:pw-salt'

# What clients use, MIT's libraries included; Heimdal reads it as well.
client_conf() {
  cat > "$1" <<C
[libdefaults]
  default_realm = HEIM.TEST
  dns_lookup_realm = false
  dns_lookup_kdc = false
  dns_canonicalize_hostname = false
  rdns = false
  forwardable = true
  kdc_timesync = 0
  default_ccache_name = FILE:$W/ccache
$2
[realms]
  HEIM.TEST = {
    kdc = 127.0.0.1:$HEIM_PORT
    kpasswd_server = 127.0.0.1:$HEIM_KPASSWD_PORT
    pkinit_anchors = FILE:$W/pki/ca.pem
  }
  HEIM2.TEST = {
    kdc = 127.0.0.1:$HEIM_PORT
  }
[domain_realm]
  localhost = HEIM.TEST
  .heim.test = HEIM.TEST
  .heim2.test = HEIM2.TEST
[appdefaults]
  pkinit_anchors = FILE:$W/pki/ca.pem
C
}

# ka CONF < commands: kadmin -l; it exits 0 whatever fails, so its output is read
ka() {
  KRB5_CONFIG=$1 "$KADMIN" -l -c "$1" -r HEIM.TEST > "$TMP/ka.out" 2>&1
  local rc=$?
  cat "$TMP/ka.out" >> "$LOG/kadmin.out"
  if [ $rc -ne 0 ] || grep -qE '^kadmin(\.heimdal)?: |[Uu]nrecognized|error|failed' "$TMP/ka.out"; then
    head -5 "$TMP/ka.out" >&2; lab_die "kadmin -l failed (see $LOG/kadmin.out)"
  fi
}

make_db() {
  [ -e "$W/kdc/made" ] && return 0
  rm -rf "$W/kdc" "$W/keytabs"; mkdir -p "$W/kdc" "$W/keytabs"; chmod 700 "$W/kdc"
  local kt=$W/keytabs e
  ka "$W/kdc.conf" <<C
init --realm-max-ticket-life=1day --realm-max-renewable-life=7days HEIM.TEST
init --realm-max-ticket-life=1day --realm-max-renewable-life=7days HEIM2.TEST
add --use-defaults -p hanna-pw --attributes=requires-pre-auth hanna
add --use-defaults -p henry-pw henry
add --use-defaults -p hpk-pw --attributes=requires-pre-auth hpkuser
add --use-defaults -p hilde-pw hilde@HEIM2.TEST
add --use-defaults -r HTTP/localhost
add --use-defaults -r HTTP/www.heim.test
add --use-defaults -r --attributes=ok-as-delegate HTTP/deleg.heim.test
add --use-defaults -r --attributes=trusted-for-delegation HTTP/front.heim.test
add --use-defaults -r HTTP/back.heim.test
add --use-defaults -r HTTP/forbidden.heim.test
add --use-defaults -r HTTP/proxy.heim.test
add --use-defaults -r HTTP/www.heim2.test@HEIM2.TEST
add --use-defaults -p trust-heim-heim2 krbtgt/HEIM2.TEST@HEIM.TEST
add --use-defaults -p trust-heim2-heim krbtgt/HEIM.TEST@HEIM2.TEST
add --use-defaults -p trust-mit-heim krbtgt/HEIM.TEST@MIT.TEST
add --use-defaults -p trust-heim-mit krbtgt/MIT.TEST@HEIM.TEST
modify --constrained-delegation=HTTP/back.heim.test@HEIM.TEST HTTP/front.heim.test
ext_keytab -k $kt/http.keytab HTTP/localhost HTTP/www.heim.test HTTP/deleg.heim.test HTTP/front.heim.test HTTP/back.heim.test HTTP/forbidden.heim.test HTTP/www.heim2.test@HEIM2.TEST
ext_keytab -k $kt/localhost.keytab HTTP/localhost
ext_keytab -k $kt/front.keytab HTTP/front.heim.test
ext_keytab -k $kt/proxy.keytab HTTP/proxy.heim.test
ext_keytab -k $W/kdc/changepw.keytab kadmin/changepw
C
  for e in aes128-cts-hmac-sha1-96 aes256-cts-hmac-sha1-96 aes128-cts-hmac-sha256-128 aes256-cts-hmac-sha384-192 arcfour-hmac-md5; do
    conf "$TMP/one.conf" "$e:pw-salt"
    local n; case $e in aes128*sha1*) n=aes128;; aes256*sha1*) n=aes256;; aes128*sha256*) n=aes128sha2;; aes256*) n=aes256sha2;; *) n=rc4;; esac
    ka "$TMP/one.conf" <<C
add --use-defaults -p $n-pw --attributes=requires-pre-auth u-$n
add --use-defaults -r HTTP/$n.heim.test
ext_keytab -k $kt/http.keytab HTTP/$n.heim.test
C
  done
  : > "$W/kdc/made"
}

do_start() {
  lab_init "$WD"
  find_heimdal; lab_need openssl heimdal
  if lab_running kdc && lab_running kpasswdd && [ -z "$FRESH" ]; then lab_log "already running in $W"; return 0; fi
  lab_kill kdc; lab_kill kpasswdd
  [ -n "$FRESH" ] && rm -rf "$W/kdc" "$W/keytabs" "$W/ccache"
  lab_port HEIM_PORT "$PORT"; lab_port HEIM_KPASSWD_PORT "${PORT:+$((PORT+1))}"
  lab_make_krb_pki "$W/pki" "HEIM.TEST HEIM2.TEST" hpkuser HEIM.TEST
  conf "$W/kdc.conf" "$AES $SHA2"
  client_conf "$W/krb5.conf" ""
  client_conf "$W/krb5-tcp.conf" "  udp_preference_limit = 1"
  export KRB5_CONFIG=$W/kdc.conf
  make_db
  chmod 644 "$W/keytabs"/*.keytab
  lab_spawn kdc "$H/usr/lib/heimdal-servers/kdc" -c "$W/kdc.conf" --addresses=127.0.0.1 --addresses=::1 --ports="$HEIM_PORT" --enable-http
  lab_wait_tcp kdc 127.0.0.1 "$HEIM_PORT"
  lab_spawn kpasswdd "$H/usr/lib/heimdal-servers/kpasswdd" -c "$W/kdc.conf" --addresses=127.0.0.1 --port="$HEIM_KPASSWD_PORT" \
    -r HEIM.TEST -k "FILE:$W/kdc/changepw.keytab" # its default, the database as a keytab, fails in 7.8
  sleep 0.2; lab_running kpasswdd || lab_fail_log kpasswdd "kpasswdd ended while starting"
  lab_log "up: HEIM.TEST and HEIM2.TEST 127.0.0.1:$HEIM_PORT, kpasswd :$HEIM_KPASSWD_PORT"
}

do_env() {
  lab_open "$WD"; lab_load_ports
  [ -f "$W/krb5.conf" ] || lab_die "not started yet in $W"
  find_heimdal
  lab_setenv KRB5_CONFIG "$W/krb5.conf"
  lab_setenv KRB5CCNAME "FILE:$W/ccache"
  lab_setenv KRB5_KTNAME "FILE:$W/keytabs/http.keytab"
  lab_setenv KRB5RCACHENAME "file2:$W/rcache"
  lab_setenv HEIM_REALM HEIM.TEST
  lab_setenv HEIM_KDC "127.0.0.1:$HEIM_PORT"
  lab_setenv HEIM_KPASSWD "127.0.0.1:$HEIM_KPASSWD_PORT"
  lab_setenv HEIM_KEYTABS "$W/keytabs"
  lab_setenv HEIM_PKI "$W/pki"
  lab_setenv HEIM_ROOT "$H"
  lab_setenv HEIM_KDC_CONFIG "$W/kdc.conf"
  lab_setenv HEIM_KINIT "$H/usr/bin/kinit.heimdal"
  lab_setenv HEIM_KLIST "$H/usr/bin/heimtools klist"
  lab_setenv HEIM_KGETCRED "$H/usr/bin/kgetcred"
  lab_setenv HEIM_KADMIN "$KADMIN"
  lab_print_env "$JSON"
}

case $CMD in
  start) do_start;;
  stop) lab_open "$WD"; lab_stop_all;;
  status) lab_open "$WD"; lab_status;;
  env) do_env;;
  *) lab_usage;;
esac
