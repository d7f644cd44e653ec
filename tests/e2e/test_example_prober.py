"""The prober of the examples: five thousand ports, a few of which talk TLS."""

from __future__ import annotations

import contextlib
import hashlib
import json
import ssl
import sys
from pathlib import Path

import pytest

from support.certificates import Authority
from support.command import ROOT, run
from support.greeter import greeter

#: A loopback address that no other test's servers have.
#: How its program does on one engine tells how it does on any.
pytestmark = pytest.mark.once

HOST = "127.77.13.1"
FIRST, LAST = 20_000, 24_999
TLS = (20_001, 22_500, 24_998)


def test_five_thousand_ports(engine: str, ca: Authority) -> None:
    command = [sys.executable, str(ROOT / "docs" / "examples" / "prober.py"), HOST, f"{FIRST}-{LAST}"]
    leaf = Path(ca.server.certificate).read_text()
    pem = leaf[: leaf.index("-----END CERTIFICATE-----") + 26]
    fingerprint = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
    with contextlib.ExitStack() as stack:
        for port in TLS:
            stack.enter_context(greeter(f"tls://{HOST}:{port}", stream_context=ca.server.settings))
        stack.enter_context(greeter(f"tcp://{HOST}:21000"))
        done = run(*command, EVSOCKETS_ENGINE=engine)
    assert done.returncode == 0, done.stderr[-500:]
    assert done.stderr.endswith("\n5000 of 5000")  # a \r, as text
    report = json.loads(done.stdout)
    found = {address: entry for address, entry in report.items() if "error" not in entry}
    assert found == {f"tls://{HOST}:{port}": {"tls": "TLSv1.3", "certificate": fingerprint} for port in TLS}
    assert len(report) == 5000
    assert "refused" in report[f"tls://{HOST}:{FIRST}"]["error"]
    assert "TLS failed" in report[f"tls://{HOST}:21000"]["error"]
