#!/bin/bash
# lighttpd with mod_authn_gssapi: a second, independent Negotiate server.
#
#   lighttpd.sh start  WORKDIR --keytab FILE [--principal NAME] [--krb5-conf FILE] [--port N] [--tls-port N]
#   lighttpd.sh stop   WORKDIR
#   lighttpd.sh status WORKDIR
#   lighttpd.sh env    WORKDIR [--json]
#
#   --principal NAME  default HTTP/localhost@REALM, REALM from the keytab's first key
# /open.sh no authentication, /spnego/who.sh Negotiate, /spnego/echo.sh the same and the
# request's body, /basic/who.sh Basic checked against the KDC. Takes SPNEGO and raw krb5
# tokens, never answers with one; each request logs in anew. Loopback only, HTTP/1.1.

CALLER_KRB5_CONFIG=${KRB5_CONFIG:-}
. "$(dirname "$0")/lib.sh"

CMD=${1:-}; [ $# -gt 0 ] && shift
WD=${1:-}; [ $# -gt 0 ] && shift
KEYTAB= PRINC= CONF=$CALLER_KRB5_CONFIG PORT= TLSPORT= JSON=
while [ $# -gt 0 ]; do
  case $1 in
    --keytab) KEYTAB=${2:?}; shift;;
    --principal) PRINC=${2:?}; shift;;
    --krb5-conf) CONF=${2:?}; shift;;
    --port) PORT=${2:?}; shift;;
    --tls-port) TLSPORT=${2:?}; shift;;
    --json) JSON=--json;;
    *) lab_usage;;
  esac
  shift
done

make_tls() { # a certificate for localhost that is its own CA
  [ -f "$W/tls/server.pem" ] && return 0
  mkdir -p "$W/tls"
  openssl req -x509 -newkey rsa:2048 -nodes -sha256 -days 825 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
    -keyout "$W/tls/server.key" -out "$W/tls/server.pem" > "$LOG/tls.out" 2>&1 || lab_die "making the TLS certificate failed"
}

do_start() {
  lab_init "$WD"
  lab_need lighttpd lighttpd; lab_need_file /usr/lib/lighttpd/mod_authn_gssapi.so lighttpd
  lab_need_file /usr/lib/lighttpd/mod_openssl.so lighttpd; lab_need openssl lighttpd
  if lab_running lighttpd; then lab_log "already running in $W"; return 0; fi
  [ -r "$KEYTAB" ] || lab_die "--keytab FILE is needed and must be readable"
  [ -n "$CONF" ] || lab_die "--krb5-conf (or KRB5_CONFIG in the environment) is needed"
  lab_port LIGHTTPD_PORT "$PORT"; lab_port LIGHTTPD_TLS_PORT "$TLSPORT"
  make_tls
  if [ -z "$PRINC" ]; then
    PRINC=HTTP/localhost@$(klist -k "$KEYTAB" 2>/dev/null | sed -n 's/.*@\([^ ]*\).*/\1/p' | head -1)
  fi
  mkdir -p "$W/htdocs/spnego" "$W/htdocs/basic" "$W/state"
  printf '#!/bin/sh\nprintf "Content-Type: text/plain\\r\\n\\r\\nuser=%%s\\nauth=%%s\\nccache=%%s\\n" "$REMOTE_USER" "$AUTH_TYPE" "$KRB5CCNAME"\n' > "$W/htdocs/open.sh"
  cp "$W/htdocs/open.sh" "$W/htdocs/spnego/who.sh"; cp "$W/htdocs/open.sh" "$W/htdocs/basic/who.sh"
  { cat "$W/htdocs/open.sh"; echo 'printf "body="; cat'; } > "$W/htdocs/spnego/echo.sh"
  cat > "$W/lighttpd.conf" <<C
server.modules = ("mod_auth", "mod_authn_gssapi", "mod_cgi", "mod_accesslog", "mod_openssl")
server.bind = "127.0.0.1"
server.port = $LIGHTTPD_PORT
ssl.pemfile = "$W/tls/server.pem"
ssl.privkey = "$W/tls/server.key"
\$SERVER["socket"] == "127.0.0.1:$LIGHTTPD_TLS_PORT" { ssl.engine = "enable" }
server.document-root = "$W/htdocs"
server.errorlog = "$LOG/error.log"
accesslog.filename = "$LOG/access.log"
server.upload-dirs = ("$TMP")
server.max-request-field-size = 65536
server.feature-flags = ("server.h2proto" => "disable")
cgi.assign = (".sh" => "/bin/sh")
auth.backend = "gssapi"
auth.backend.gssapi.keytab = "$KEYTAB"
auth.backend.gssapi.principal = "$PRINC"
# "enable" refuses (401) every client that does not forward its ticket, and
# keeps the forwarded ones in /tmp
auth.backend.gssapi.store-creds = "disable"
auth.require = (
  "/spnego/" => ("method" => "gssapi", "realm" => "${PRINC##*@}", "require" => "valid-user"),
  "/basic/" => ("method" => "basic", "realm" => "${PRINC##*@}", "require" => "valid-user")
)
C
  export KRB5_CONFIG=$CONF KRB5_KTNAME=FILE:$KEYTAB KRB5RCACHENAME=file2:$W/state/rcache TMPDIR=$W/state
  lighttpd -tt -f "$W/lighttpd.conf" > "$LOG/configtest.out" 2>&1 || { cat "$LOG/configtest.out" >&2; lab_die "the lighttpd configuration is refused"; }
  lab_spawn lighttpd lighttpd -D -f "$W/lighttpd.conf"
  lab_wait_tcp lighttpd 127.0.0.1 "$LIGHTTPD_PORT"
  lab_log "up: http://localhost:$LIGHTTPD_PORT/spnego/who.sh ($PRINC)"
}
do_env() {
  lab_open "$WD"; lab_load_ports
  lab_setenv LIGHTTPD_URL "http://localhost:${LIGHTTPD_PORT:?not started}"
  lab_setenv LIGHTTPD_PORT "$LIGHTTPD_PORT"
  lab_setenv LIGHTTPD_TLS_URL "https://localhost:$LIGHTTPD_TLS_PORT"
  lab_setenv LIGHTTPD_CA "$W/tls/server.pem"
  lab_setenv LIGHTTPD_ERROR_LOG "$LOG/error.log"
  lab_print_env "$JSON"
}
case $CMD in
  start) do_start;;
  stop) lab_open "$WD"; lab_stop_all;;
  status) lab_open "$WD"; lab_status;;
  env) do_env;;
  *) lab_usage;;
esac
