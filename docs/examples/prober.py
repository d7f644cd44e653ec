"""The ports of a host that speak TLS, with their certificates: progress on stderr, a JSON report on stdout.

    python prober.py HOST FIRST-LAST
"""

from __future__ import annotations

import hashlib
import json
import re
import sys

from evsockets import Conversation, StreamContext, fan_out


async def look(talk: Conversation) -> dict[str, str]:
    tls = talk.metadata.tls
    assert tls is not None and tls.peer_certificate_der is not None  # of a server on tls://
    return {"tls": tls.version, "certificate": hashlib.sha256(tls.peer_certificate_der).hexdigest()}


def probe(host: str, first: int, last: int) -> dict[str, dict[str, str]]:
    report: dict[str, dict[str, str]] = {}
    addresses = (f"tls://{host}:{port}" for port in range(first, last + 1))
    anybody = StreamContext(verify=False)
    for outcome in fan_out(look, addresses, limit=500, connection_timeout=3, stream_context=anybody):
        report[outcome.address] = outcome.result or {"error": str(outcome.error)}
        print(f"\r{len(report)} of {last - first + 1}", end="", file=sys.stderr)
    return report


if __name__ == "__main__":
    if len(sys.argv) != 3 or not (ports := re.fullmatch(r"(\d+)-(\d+)", sys.argv[2])):
        print("usage: python prober.py HOST FIRST-LAST", file=sys.stderr)
        sys.exit(2)
    json.dump(probe(sys.argv[1], int(ports[1]), int(ports[2])), sys.stdout, indent=1)
