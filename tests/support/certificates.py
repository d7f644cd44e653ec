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

    @property
    def settings(self) -> dict[str, Any]:
        """As a stream context takes it."""
        return {"certificate": self.certificate, "private_key": self.private_key}

    @property
    def options(self) -> list[str]:
        """As the command line takes it."""
        return ["--certificate", self.certificate, "--key", self.private_key]


class Authority:
    """A certificate authority in a folder.

    `ca_file` is what a client trusts; `server`, `client`, `expired` and `wrong_host` are ready-made
    leaves; `issue(*names)` makes others; `stranger` is an authority nobody trusts.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._folder.mkdir(parents=True, exist_ok=True)
        self._authority = trustme.CA()
        self._issued: dict[tuple[object, ...], Certificate] = {}
        self.ca_file = str(folder / "ca.pem")
        self._authority.cert_pem.write_to_path(self.ca_file)

    def issue(self, *names: str, expired: bool = False, common_name: str | None = None) -> Certificate:
        """A certificate for `names` (default: loopback), the same one for the same names."""
        names = names or LOOPBACK_NAMES
        wanted = (names, expired, common_name)
        if wanted not in self._issued:
            now = datetime.datetime.now(datetime.UTC)
            leaf = self._authority.issue_cert(
                *names,
                not_after=now - datetime.timedelta(days=1) if expired else None,
                common_name=common_name,
            )
            number = len(self._issued)
            chain = self._folder / f"leaf-{number}.pem"
            key = self._folder / f"leaf-{number}.key"
            chain.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
            leaf.private_key_pem.write_to_path(str(key))
            self._issued[wanted] = Certificate(str(chain), str(key))
        return self._issued[wanted]

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
    def common_name_only(self) -> Certificate:
        """It names localhost as certificates did before they had a field for names."""
        return self.issue("somebody@example.test", common_name="localhost")

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
