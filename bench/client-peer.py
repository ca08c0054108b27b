"""requests-kerberos as client-peer.mjs: `client-peer.py preemptive|challenged URL`.

An authentication object verifies the server's first answer and no later one, and sends its token unasked only until then: so each request has an
object of its own, over one session.
"""
import json
import os
import sys
import time

import requests
from requests_kerberos import REQUIRED, HTTPKerberosAuth

preemptive = sys.argv[1] == "preemptive"
url = sys.argv[2]
user = os.environ.get("BENCH_USER", "alice@PERF.TEST")
session = requests.Session()
for line in sys.stdin:
    count = int(line)
    cpu = time.process_time()
    started = time.perf_counter()
    for _ in range(count):
        auth = HTTPKerberosAuth(mutual_authentication=REQUIRED, force_preemptive=preemptive)
        text = session.get(url, auth=auth).text
        if text != f"hello {user}\n" or not auth.auth_done:
            raise SystemExit(f"got {text}")
    ms = (time.perf_counter() - started) * 1000
    print(json.dumps({"ms": ms, "cpuMs": (time.process_time() - cpu) * 1000}), flush=True)
