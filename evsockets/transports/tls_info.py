"""The results of a TLS handshake."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

if TYPE_CHECKING:
    import ssl

    from ..typing import PeerCertificate

# Decoding a certificate takes longer than everything else here, and many connections lead to few peers.
_REMEMBERED = 64
_decoded: dict[bytes, dict[str, Any]] = {}


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
    der = tls.getpeercert(binary_form=True)
    return TlsInfo(
        tls.version() or "",
        cipher[0] if cipher else "",
        tls.selected_alpn_protocol(),
        cast("PeerCertificate | None", None if der is None else _certificate(tls, der)),
        der,
    )


def _certificate(tls: ssl.SSLObject, der: bytes) -> dict[str, Any]:
    """The certificate `der` of the peer, decoded; {} if it was not verified."""
    if not tls.context.verify_mode:  # CERT_NONE, which is 0
        return {}
    found = _decoded.get(der)
    if found is None:
        found = tls.getpeercert() or {}
        while len(_decoded) >= _REMEMBERED:
            _decoded.pop(next(iter(_decoded), b""), None)
        _decoded[der] = found
    return found.copy()  # what is in it cannot be changed
