"""`evsockets serve --certificate`: read again on SIGHUP, the old one shown while the new one is no good."""

from __future__ import annotations

import hashlib
import shutil
import signal
import ssl
import time
from pathlib import Path

import pytest

from support.certificates import Authority, Certificate
from support.command import HANGS, serving


def shown(port: int) -> str:
    """Which certificate the server shows."""
    der = ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", port), timeout=HANGS))
    return hashlib.sha256(der).hexdigest()


def of(leaf: Certificate) -> str:
    pem = Path(leaf.certificate).read_text().partition("-----END")[0] + "-----END CERTIFICATE-----\n"
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


@pytest.mark.parametrize("options", [[], ["--workers", "2"]], ids=["alone", "workers"])
def test_sighup(ca: Authority, tmp_path: Path, options: list[str]) -> None:
    first, second = ca.server, ca.issue("localhost")
    files = tmp_path / "chain.pem", tmp_path / "key.pem"

    def put(leaf: Certificate) -> None:
        for source, file in zip((leaf.certificate, leaf.private_key), files, strict=True):
            shutil.copy(source, file)

    put(first)
    command = ["serve", str(tmp_path), "--address", "tls://127.0.0.1:0", *options]
    with serving(*command, "--certificate", str(files[0]), "--key", str(files[1])) as running:
        assert shown(running.port) == of(first)
        put(second)
        if not options:
            assert shown(running.port) == of(first)  # it may be half of a new one
        running.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + HANGS
        while any(shown(running.port) != of(second) for _ in range(40)):
            assert time.monotonic() < deadline
        files[1].write_text("no key")
        running.process.send_signal(signal.SIGHUP)
        assert shown(running.port) == of(second)
        code, errors = running.end()
        assert code == 0
        if not options:
            again, kept, _ = errors.splitlines()
            assert again == "evsockets: the certificate has been read again"
            assert kept.startswith("evsockets: --certificate: certificate ")
            assert kept.endswith("; the certificate read before is shown")
