"""A database server of the distribution, with TLS."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.certificates import Authority
from support.servers import answers, free_port, need, started

SSL_REQUEST = bytes.fromhex("0000000804d2162f")


@contextmanager
def postgres(folder: Path, ca: Authority) -> Iterator[int]:
    """PostgreSQL with a new cluster whose superuser `tester` needs no password. Yields its port."""
    binaries = sorted(str(place) for place in Path("/usr/lib/postgresql").glob("*/bin"))
    initdb, server = need("initdb", *binaries), need("postgres", *binaries)
    port = free_port()
    user = "nobody" if os.geteuid() == 0 else None  # it refuses to be run as root
    # In a folder of its own: pytest closes its own one to others whenever a run begins.
    with tempfile.TemporaryDirectory(prefix="evsockets-postgres-") as made:
        home = Path(made)
        certificate, key = home / "leaf.pem", home / "leaf.key"
        shutil.copy(ca.server.certificate, certificate)
        shutil.copy(ca.server.private_key, key)
        key.chmod(0o600)
        for place in (home, certificate, key):
            if user is not None:
                shutil.chown(place, user)
        data = home / "data"
        subprocess.run(
            [initdb, "-D", data, "-U", "tester", "-A", "trust", "--no-locale", "--no-sync"],
            check=True, stdout=subprocess.DEVNULL, user=user, cwd=home,
        )  # fmt: skip
        settings = {
            "ssl": "on", "ssl_cert_file": certificate, "ssl_key_file": key, "fsync": "off",
            "unix_socket_directories": "", "autovacuum": "off",
        }  # fmt: skip
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        ready = answers(socket.AF_INET, ("127.0.0.1", port), SSL_REQUEST, b"S")
        command = [server, "-D", str(data), "-h", "127.0.0.1", "-p", str(port), *options]
        with started(command, folder / "postgres.log", ready, cwd=home, user=user):
            yield port
