"""What a TLS handshake agreed on."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class TlsInfo:
    """What was agreed: protocol `version`, `cipher` name, `alpn_protocol` or None, and `peer_certificate`: as
    `ssl.SSLSocket.getpeercert()` gives it ({} if it was not verified), None if the peer sent none."""

    version: str
    cipher: str
    alpn_protocol: str | None
    peer_certificate: dict[str, Any] | None

    @classmethod
    def of(cls, tls: ssl.SSLObject) -> TlsInfo:
        """Return what the finished handshake of `tls` agreed on."""
        cipher = tls.cipher()
        return cls(
            tls.version() or "",
            cipher[0] if cipher else "",
            tls.selected_alpn_protocol(),
            tls.getpeercert(),
        )
