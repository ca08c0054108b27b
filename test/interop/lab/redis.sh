#!/bin/bash
# redis-server, on loopback, that keeps nothing when it ends.
#
#   redis.sh start  WORKDIR [--port N]
#   redis.sh stop   WORKDIR
#   redis.sh status WORKDIR
#   redis.sh env    WORKDIR [--json]
#
#   --port N   default: a free one, kept in WORKDIR/run/ports: started again it is
#              the same, and empty
#
# DEBUG is open (DEBUG SLEEP makes it slow); memory is without bound until CONFIG SET.

. "$(dirname "$0")/lib.sh"

CMD=${1:-}; [ $# -gt 0 ] && shift
WD=${1:-}; [ $# -gt 0 ] && shift
PORT= JSON=
while [ $# -gt 0 ]; do
  case $1 in
    --port) PORT=${2:?}; shift;;
    --json) JSON=--json;;
    *) lab_usage;;
  esac
  shift
done

do_start() {
  lab_init "$WD"
  lab_need redis-server redis
  if lab_running redis; then lab_log "already running in $W"; return 0; fi
  lab_port REDIS_PORT "$PORT"
  mkdir -p "$W/state"
  lab_spawn redis redis-server --bind 127.0.0.1 --port "$REDIS_PORT" --save '' --appendonly no --dir "$W/state" \
    --daemonize no --protected-mode yes --enable-debug-command local
  lab_wait_tcp redis 127.0.0.1 "$REDIS_PORT"
  lab_log "up: 127.0.0.1:$REDIS_PORT"
}

do_env() {
  lab_open "$WD"; lab_load_ports
  lab_setenv REDIS_PORT "${REDIS_PORT:?not started}"
  lab_setenv REDIS_URL "redis://127.0.0.1:$REDIS_PORT"
  lab_print_env "$JSON"
}
case $CMD in
  start) do_start;;
  stop) lab_open "$WD"; lab_stop_all;;
  status) lab_open "$WD"; lab_status;;
  env) do_env;;
  *) lab_usage;;
esac
