# shellcheck shell=bash
# Sourced: realm.sh FOLDER. A throw-away MIT KDC on loopback, with alice, HTTP/localhost (AES-SHA1) and HTTP/sha2.localhost (AES-SHA2), tickets fetched.
PATH=$PATH:/usr/sbin
home=$1
port=$(node -e 'const s=require("net").createServer().listen(0,"127.0.0.1",()=>{console.log(s.address().port);s.close()})')
export KRB5_CONFIG=$home/krb5.conf KRB5_KDC_PROFILE=$home/kdc.conf
export KRB5_KTNAME=FILE:$home/http.keytab KRB5CCNAME=FILE:$home/alice.ccache
# MIT's best configuration: no replay file (the credential is kept by the program itself).
export KRB5RCACHENAME=none:
cat > "$KRB5_CONFIG" <<C
[libdefaults]
  default_realm = PERF.TEST
  dns_lookup_kdc = false
  dns_lookup_realm = false
  dns_canonicalize_hostname = false
  rdns = false
[realms]
  PERF.TEST = {
    kdc = 127.0.0.1:$port
  }
[domain_realm]
  localhost = PERF.TEST
  .localhost = PERF.TEST
C
cat > "$KRB5_KDC_PROFILE" <<C
[kdcdefaults]
  kdc_listen = 127.0.0.1:$port
  kdc_tcp_listen = 127.0.0.1:$port
[realms]
  PERF.TEST = {
    database_name = $home/principal
    key_stash_file = $home/stash
    acl_file = $home/kadm5.acl
    max_life = 24h
    supported_enctypes = aes256-cts:normal aes256-sha2:normal
  }
[logging]
  kdc = FILE:$home/kdc.log
C
: > "$home/kadm5.acl"
kdb5_util create -s -r PERF.TEST -P masterpw > /dev/null 2>&1
kadmin.local > /dev/null 2>&1 <<Q
addprinc -pw alicepw -e aes256-cts:normal alice
addprinc -pw bench-pw -e aes256-cts:normal +requires_preauth bench
addprinc -randkey -e aes256-cts:normal HTTP/localhost
addprinc -randkey -e aes256-sha2:normal HTTP/sha2.localhost
setstr HTTP/localhost session_enctypes aes256-cts-hmac-sha1-96
setstr HTTP/sha2.localhost session_enctypes aes256-cts-hmac-sha384-192
ktadd -norandkey -k $home/http.keytab HTTP/localhost
ktadd -norandkey -k $home/http.keytab HTTP/sha2.localhost
Q
krb5kdc -P "$home/kdc.pid" -r PERF.TEST
for _ in 1 2 3 4 5 6 7 8 9 10; do echo alicepw | kinit alice > /dev/null 2>&1 && break; sleep 0.2; done
kvno -q HTTP/localhost HTTP/sha2.localhost
