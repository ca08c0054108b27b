"""python3-gssapi as a peer of gss.mjs: `gss-peer.py accept SERVICE` (tokens on stdin, base64) or `initiate SERVICE COUNT`; prints microseconds per call.

The credential is acquired once and kept.
"""
import base64
import sys
import time

import gssapi

SPNEGO = gssapi.OID.from_int_seq("1.3.6.1.5.5.2")
what, service = sys.argv[1], sys.argv[2]
name = gssapi.Name(service, gssapi.NameType.kerberos_principal)

if what == "accept":
    tokens = [base64.b64decode(line) for line in sys.stdin]
    credentials = gssapi.Credentials(name=name, usage="accept")
    started = time.perf_counter()
    for token in tokens:
        context = gssapi.SecurityContext(creds=credentials, usage="accept")
        context.step(token)
        assert context.complete
    count = len(tokens)
else:
    count = int(sys.argv[3])
    credentials = gssapi.Credentials(usage="initiate")
    started = time.perf_counter()
    for _ in range(count):
        gssapi.SecurityContext(
            name=name, creds=credentials, mech=SPNEGO, flags=gssapi.RequirementFlag.mutual_authentication, usage="initiate"
        ).step()
print((time.perf_counter() - started) / count * 1e6)
