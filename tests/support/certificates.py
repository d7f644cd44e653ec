"""A throw-away certificate authority, as files, the way servers and StreamContext want them."""

from __future__ import annotations

import datetime
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Certificate:
    """One leaf certificate: its chain and its private key, both PEM files."""

    certificate: str
    private_key: str


class Authority:
    """A certificate authority in a folder.

    `ca_file` is what a client trusts; `server`, `client`, `expired` and `wrong_host` are ready-made
    leaves; `issue(*names)` makes others; `stranger` is an authority nobody trusts.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._folder.mkdir(parents=True, exist_ok=True)
        self._authority = trustme.CA()
        self._issued: dict[tuple[tuple[str, ...], bool], Certificate] = {}
        self.ca_file = str(folder / "ca.pem")
        self._authority.cert_pem.write_to_path(self.ca_file)

    def issue(self, *names: str, expired: bool = False) -> Certificate:
        """A certificate for `names` (default: loopback), the same one for the same names."""
        names = names or LOOPBACK_NAMES
        if (names, expired) not in self._issued:
            now = datetime.datetime.now(datetime.UTC)
            leaf = self._authority.issue_cert(
                *names, not_after=now - datetime.timedelta(days=1) if expired else None
            )
            number = len(self._issued)
            chain = self._folder / f"leaf-{number}.pem"
            key = self._folder / f"leaf-{number}.key"
            chain.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
            leaf.private_key_pem.write_to_path(str(key))
            self._issued[names, expired] = Certificate(str(chain), str(key))
        return self._issued[names, expired]

    @property
    def server(self) -> Certificate:
        return self.issue()

    @property
    def client(self) -> Certificate:
        return self.issue("client@example.test")

    @property
    def expired(self) -> Certificate:
        return self.issue(expired=True)

    @property
    def wrong_host(self) -> Certificate:
        return self.issue("elsewhere.example.test")

    @property
    def stranger(self) -> Authority:
        return Authority(self._folder / "stranger")


def server_side(ca: Authority, leaf: Certificate | None = None, **settings: Any) -> ssl.SSLContext:
    """A server's context that shows `leaf` (default: `ca.server`); `settings` are attributes of it."""
    leaf = leaf or ca.server
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.certificate, leaf.private_key)
    for name, value in settings.items():
        setattr(context, name, value)
    return context
