"""What a TLS handshake agreed on."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from ..typing import PeerCertificate


@dataclass(frozen=True, slots=True)
class TlsInfo:
    """What was agreed: protocol `version`, `cipher` name, `alpn_protocol` or None; and who the peer is.

    `peer_certificate` is as `ssl.SSLSocket.getpeercert()` gives it ({} if it was not verified),
    `peer_certificate_der` the certificate itself, verified or not; None if the peer sent none."""

    version: str
    cipher: str
    alpn_protocol: str | None
    peer_certificate: PeerCertificate | None
    peer_certificate_der: bytes | None


def agreed(tls: ssl.SSLObject) -> TlsInfo:
    """Return what the finished handshake of `tls` agreed on."""
    cipher = tls.cipher()
    return TlsInfo(
        tls.version() or "",
        cipher[0] if cipher else "",
        tls.selected_alpn_protocol(),
        cast("PeerCertificate | None", tls.getpeercert()),
        tls.getpeercert(binary_form=True),
    )
