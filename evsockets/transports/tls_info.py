"""The results of a TLS handshake."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

if TYPE_CHECKING:
    import ssl

    from ..typing import PeerCertificate


class TlsInfo(NamedTuple):
    """The results of a TLS handshake: protocol `version`, `cipher` name, `alpn_protocol` or None.

    `peer_certificate` has the form of `ssl.SSLSocket.getpeercert()` ({} if it was not verified),
    `peer_certificate_der` is the certificate in DER, verified or not; None if the peer sent none."""

    version: str
    cipher: str
    alpn_protocol: str | None
    peer_certificate: PeerCertificate | None
    peer_certificate_der: bytes | None


def agreed(tls: ssl.SSLObject) -> TlsInfo:
    """Return the results of the finished handshake of `tls`."""
    cipher = tls.cipher()
    return TlsInfo(
        tls.version() or "",
        cipher[0] if cipher else "",
        tls.selected_alpn_protocol(),
        cast("PeerCertificate | None", tls.getpeercert()),
        tls.getpeercert(binary_form=True),
    )
