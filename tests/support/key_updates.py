"""A TLS 1.3 client that asks for new keys again and again: `ssl` cannot, so it makes those records by itself.

RFC 8446: 4.6.3 (KeyUpdate), 5.2 (records), 7.1 to 7.3 (keys).
"""

from __future__ import annotations

import ssl
import struct
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

_HANDSHAKE, _DATA = b"\x16", b"\x17"
_KEY_UPDATE = b"\x18\x00\x00\x01\x01"  # update_requested


def _expand(secret: bytes, label: bytes, length: int) -> bytes:
    label = b"tls13 " + label
    info = struct.pack(">HB", length, len(label)) + label + b"\0"
    return HKDFExpand(SHA384(), length, info).derive(secret)


class KeyUpdater:
    """The client, without a socket: what it sends is returned, what it receives is given to `received`."""

    def __init__(self, folder: Path, ca_file: str) -> None:
        context = ssl.create_default_context(cafile=ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        self._log = folder / "keys"
        context.keylog_filename = str(self._log)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")
        self._secret = b""

    def handshake(self) -> tuple[bool, bytes]:
        """Go on; whether it is done, and what is to be sent."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False, self._outgoing.read()
        cipher = self._tls.cipher()
        assert cipher is not None and cipher[0] == "TLS_AES_256_GCM_SHA384"
        (line,) = [line for line in self._log.read_text().splitlines() if "CLIENT_TRAFFIC_SECRET_0" in line]
        self._use(bytes.fromhex(line.split()[2]))
        return True, self._outgoing.read()

    def received(self, data: bytes) -> None:
        self._incoming.write(data)

    def read(self) -> bytes:
        """The plaintext that has come."""
        data = b""
        try:
            while True:
                data += self._tls.read(65536)
        except ssl.SSLWantReadError:
            return data

    def data(self, data: bytes) -> bytes:
        """A record of application data."""
        return self._record(data, _DATA)

    def updates(self, count: int) -> bytes:
        """So many requests to update the keys, each under the keys of the one before."""
        records = []
        for _ in range(count):
            records.append(self._record(_KEY_UPDATE, _HANDSHAKE))
            self._use(_expand(self._secret, b"traffic upd", 48))
        return b"".join(records)

    def _use(self, secret: bytes) -> None:
        self._secret = secret
        self._cipher = AESGCM(_expand(secret, b"key", 32))
        self._iv = int.from_bytes(_expand(secret, b"iv", 12))
        self._number = 0

    def _record(self, data: bytes, kind: bytes) -> bytes:
        header = _DATA + b"\x03\x03" + struct.pack(">H", len(data) + 1 + 16)
        nonce = (self._iv ^ self._number).to_bytes(12)
        self._number += 1
        return header + self._cipher.encrypt(nonce, data + kind, header)
