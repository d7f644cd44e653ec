"""An FTP server of the distribution, with TLS."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.certificates import Authority
from support.servers import answers, free_port, need, started


@contextmanager
def vsftpd(folder: Path, ca: Authority) -> Iterator[int]:
    """vsftpd that offers TLS (RFC 4217). Yields its port."""
    program = need("vsftpd")
    if os.geteuid() != 0:
        pytest.skip("vsftpd is run as root here")
    port, leaf = free_port(), ca.server
    empty = folder / "empty"
    empty.mkdir()
    config = folder / "vsftpd.conf"
    config.write_text(
        f"listen=YES\nlisten_address=127.0.0.1\nlisten_port={port}\nbackground=NO\nanonymous_enable=YES\n"
        f"secure_chroot_dir={empty}\nanon_root={empty}\nftp_username=nobody\nnopriv_user=nobody\n"
        f"ssl_enable=YES\nallow_anon_ssl=YES\nrsa_cert_file={leaf.certificate}\n"
        f"rsa_private_key_file={leaf.private_key}\nssl_ciphers=HIGH\nrequire_ssl_reuse=NO\n"
        "ftpd_banner=for tests\nisolate=NO\nisolate_network=NO\nseccomp_sandbox=NO\n"
    )
    ready = answers(socket.AF_INET, ("127.0.0.1", port), b"", b"220 ")
    with started([program, str(config)], folder / "vsftpd.log", ready):
        yield port
