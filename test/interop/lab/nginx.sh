#!/bin/bash
# nginx before two or more servers, which it asks in turn.
#
#   nginx.sh start  WORKDIR --to PORT [--to PORT]... [--port N]
#   nginx.sh start  WORKDIR --site FILE [--port N]
#   nginx.sh stop   WORKDIR
#   nginx.sh status WORKDIR
#   nginx.sh env    WORKDIR [--json]
#
#   --to PORT     a server on 127.0.0.1
#   --site FILE   a server block of its own; @PORT@ in it is the port
#
# Only loopback is bound. A request goes to one server and is never tried at another.

. "$(dirname "$0")/lib.sh"

CMD=${1:-}; [ $# -gt 0 ] && shift
WD=${1:-}; [ $# -gt 0 ] && shift
PORT= JSON= SITE= TO=()
while [ $# -gt 0 ]; do
  case $1 in
    --site) SITE=${2:?}; shift;;
    --to) TO+=("${2:?}"); shift;;
    --port) PORT=${2:?}; shift;;
    --json) JSON=--json;;
    *) lab_usage;;
  esac
  shift
done

do_start() {
  lab_init "$WD"
  lab_need nginx nginx
  if lab_running nginx; then lab_log "already running in $W"; return 0; fi
  [ ${#TO[@]} -gt 0 ] || [ -n "$SITE" ] || lab_die "--to PORT or --site FILE is needed"
  lab_port NGINX_PORT "$PORT"
  mkdir -p "$W/state"
  local user= one
  if [ "$(id -u)" = 0 ]; then chown www-data "$W/state" "$LOG"; user='user www-data;'; fi
  {
    cat <<C
$user
worker_processes 1;
pid $W/state/nginx.pid;
error_log $LOG/error.log;
events { worker_connections 1024; }
http {
  access_log $LOG/access.log;
  client_body_temp_path $W/state/body;
  proxy_temp_path $W/state/proxy;
  fastcgi_temp_path $W/state/fastcgi;
  uwsgi_temp_path $W/state/uwsgi;
  scgi_temp_path $W/state/scgi;
C
    if [ -n "$SITE" ]; then sed "s/@PORT@/$NGINX_PORT/" "$SITE"; echo '}'; else
    cat <<C
  large_client_header_buffers 4 64k;
  upstream servers {
C
    for one in "${TO[@]}"; do echo "    server 127.0.0.1:$one max_fails=0;"; done
    cat <<C
  }
  server {
    listen 127.0.0.1:$NGINX_PORT;
    location / {
      proxy_pass http://servers;
      proxy_http_version 1.1;
      proxy_set_header Host \$http_host;
      proxy_next_upstream off;
      proxy_buffer_size 64k;
      proxy_buffers 4 64k;
      proxy_busy_buffers_size 64k;
    }
  }
}
C
    fi
  } > "$W/nginx.conf"
  nginx -t -q -e "$LOG/error.log" -p "$W" -c "$W/nginx.conf" 2> "$LOG/configtest.out" ||
    { cat "$LOG/configtest.out" >&2; lab_die "the nginx configuration is refused"; }
  lab_spawn nginx nginx -e "$LOG/error.log" -p "$W" -c "$W/nginx.conf" -g 'daemon off;'
  lab_wait_tcp nginx 127.0.0.1 "$NGINX_PORT"
  lab_log "up: http://localhost:$NGINX_PORT"
}

do_env() {
  lab_open "$WD"; lab_load_ports
  lab_setenv NGINX_PORT "${NGINX_PORT:?not started}"
  lab_setenv NGINX_URL "http://localhost:$NGINX_PORT"
  lab_print_env "$JSON"
}
case $CMD in
  start) do_start;;
  stop) lab_open "$WD"; lab_stop_all;;
  status) lab_open "$WD"; lab_status;;
  env) do_env;;
  *) lab_usage;;
esac
