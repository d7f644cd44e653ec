"""An XMPP server of the distribution, with TLS."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.certificates import Authority
from support.servers import can_connect, free_port, need, started


@contextmanager
def prosody(folder: Path, ca: Authority) -> Iterator[int]:
    """Prosody for the domain `localhost`, which demands TLS of its clients. Yields its port."""
    program, port, leaf = need("prosody"), free_port(), ca.server
    config = folder / "prosody.cfg.lua"
    config.write_text(
        f"""
        run_as_root = true
        data_path = "{folder}"
        interfaces = {{ "127.0.0.1" }}
        c2s_ports = {{ {port} }}
        modules_enabled = {{ "saslauth", "tls" }}
        modules_disabled = {{ "s2s" }}
        c2s_require_encryption = true
        authentication = "internal_hashed"
        ssl = {{ certificate = "{leaf.certificate}", key = "{leaf.private_key}" }}
        log = {{ warn = "*console" }}
        VirtualHost "localhost"
        """
    )
    ready = can_connect(socket.AF_INET, ("127.0.0.1", port))
    with started([program, "--config", str(config), "-F"], folder / "prosody.log", ready):
        yield port
