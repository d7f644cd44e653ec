"""Cached ssl.SSLContext objects, one for each set of TLS settings: making one costs dozens of handshakes."""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..address import Address, check_host
from ..configuration import StreamContext

if TYPE_CHECKING:
    from ..typing import Path

_CACHE_LIMIT = 256

#: What TLS 1.2 may use: Mozilla's intermediate recommendation (https://wiki.mozilla.org/Security/Server_Side_TLS,
#: version 5.7). Its DHE suites are for clients: a server would need parameters of its own for them.
INTERMEDIATE = ":".join(
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305",
        "DHE-RSA-AES128-GCM-SHA256", "DHE-RSA-AES256-GCM-SHA384", "DHE-RSA-CHACHA20-POLY1305",
    )
)  # fmt: skip

_contexts: dict[tuple[Any, ...], ssl.SSLContext] = {}
_making = threading.RLock()


def client_context(stream_context: StreamContext, address: Address | None = None) -> ssl.SSLContext:
    """Return the context for a client; `address` may pin the TLS version.

    Raises ValueError, naming the file and the cure, if the settings cannot be used.
    """
    if stream_context.verify == "optional":
        raise ValueError("verify='optional' is for servers; a client's verify is True or False")
    return _context(stream_context, address, server=False)


def server_context(stream_context: StreamContext, address: Address | None = None) -> ssl.SSLContext:
    """Return the context for a server; `address` may pin the TLS version. Raises as client_context."""
    if stream_context.tls is None and stream_context.certificate is None:
        cure = "set stream_context={'certificate': ..., 'private_key': ...}, or 'tls' in it"
        raise ValueError(f"a TLS server needs a certificate; {cure}")
    return _context(stream_context, address, server=True)


def server_name(stream_context: StreamContext, address: Address | None) -> str | None:
    """Return the name a client sends and verifies: server_hostname, else the address's host; None if none."""
    name = stream_context.server_hostname
    if name is None:
        name = address.host if address is not None else None
    if not name:
        return None
    name = check_host(name)
    # Certificates know neither zones nor the closing dot.
    return name.partition("%")[0] if ":" in name else name.removesuffix(".")


def _context(settings: StreamContext, address: Address | None, *, server: bool) -> ssl.SSLContext:
    pinned = address.tls_version if address is not None else None
    if settings.tls is not None:
        # After a monkey patch there are two SSLContext classes; both have what is used here.
        ready: Any = settings.tls if hasattr(settings.tls, "wrap_bio") else _made_by(settings.tls)
        if pinned is not None:
            _check_pinned(ready, pinned)
        return ready  # type: ignore[no-any-return]
    files = (settings.ca_file, settings.certificate, settings.private_key)
    # ssl.SSLContext is another class once gevent has patched it.
    key = (
        ssl.SSLContext,
        server,
        pinned,
        settings.verify,
        settings.alpn_protocols,
        settings.ca_data,
        settings.ciphers,
        files,
        tuple(_state(path) for path in files),
    )
    context = _contexts.get(key)
    if context is None:
        context = _make(settings, pinned, server)
        _keep(key, context)
    return context


def _keep(key: tuple[Any, ...], context: ssl.SSLContext) -> None:
    if len(_contexts) >= _CACHE_LIMIT:
        for oldest in list(_contexts)[: _CACHE_LIMIT // 2]:
            _contexts.pop(oldest, None)
    _contexts[key] = context


def _made_by(function: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """What a user's function makes, once a process: threads that need it at the same time wait for it."""
    with _making:
        context = _contexts.get((function,))
        if context is None:
            try:
                context = function()
            except Exception as error:
                raise ValueError(f"tls={function!r} raised {error!r}") from error
            if not hasattr(context, "wrap_bio"):
                raise ValueError(f"tls={function!r} must make an ssl.SSLContext, it made {context!r}")
            _keep((function,), context)
        return context


def _version(pinned: str) -> ssl.TLSVersion:
    return ssl.TLSVersion.TLSv1_2 if pinned == "TLSv1.2" else ssl.TLSVersion.TLSv1_3


def _check_pinned(context: ssl.SSLContext, pinned: str) -> None:
    version = _version(pinned)
    if context.minimum_version != version or context.maximum_version != version:
        raise ValueError(
            f"the address asks for {pinned} only; set minimum_version and maximum_version of the SSLContext "
            f"to TLSVersion.{version.name}, or write tls://"
        )


def _state(path: Path | None) -> tuple[int, int, int] | None:
    if path is None:
        return None
    try:
        found = os.stat(path)
    except OSError:  # told with its name when the file is read
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _make(settings: StreamContext, pinned: str | None, server: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(settings.ciphers or INTERMEDIATE)
    if pinned is not None:
        context.minimum_version = context.maximum_version = _version(pinned)
    if server:
        # All are good: the client knows which of them its machine does best. Nothing is negotiated twice.
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
        context.options |= ssl.OP_NO_RENEGOTIATION
        modes = {True: ssl.CERT_REQUIRED, "optional": ssl.CERT_OPTIONAL}
        context.verify_mode = modes.get(settings.verify or False, ssl.CERT_NONE)
    else:
        context.hostname_checks_common_name = False  # RFC 9525, 6.3: it is no name of the peer
        if settings.verify is False:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
    if settings.alpn_protocols:
        context.set_alpn_protocols(list(settings.alpn_protocols))
    if settings.ca_data is not None:
        _load_certificates(context, settings.ca_data)
    if settings.ca_file is not None:
        _load_authorities(context, settings.ca_file)
    elif settings.ca_data is None and context.verify_mode != ssl.CERT_NONE:
        context.load_default_certs(ssl.Purpose.CLIENT_AUTH if server else ssl.Purpose.SERVER_AUTH)
    if settings.certificate is not None:
        _load_certificate(context, settings.certificate, settings.private_key)
    return context


def _load_certificates(context: ssl.SSLContext, text: str | bytes) -> None:
    try:
        context.load_verify_locations(cadata=text)
    except ssl.SSLError as error:
        raise ValueError(f"ca_data has a certificate that is broken, or no PEM: {error}") from error


def _load_authorities(context: ssl.SSLContext, path: Path) -> None:
    try:
        if os.path.isdir(path):
            context.load_verify_locations(capath=path)
        else:
            context.load_verify_locations(cafile=path)
    except ssl.SSLError as error:
        raise ValueError(f"ca_file {str(path)!r} has no PEM certificate: {error}") from error
    except OSError as error:
        raise ValueError(f"ca_file {str(path)!r} cannot be read: {error.strerror}") from error


def _load_certificate(context: ssl.SSLContext, certificate: Path, private_key: Path | None) -> None:
    encrypted = False

    def no_password() -> str:
        # Without this, OpenSSL would ask on the terminal.
        nonlocal encrypted
        encrypted = True
        return ""

    for name, path in (("certificate", certificate), ("private_key", private_key)):
        try:
            if path is not None:
                open(path, "rb").close()
        except OSError as error:
            raise ValueError(f"{name} {str(path)!r} cannot be read: {error.strerror}") from error
    try:
        context.load_cert_chain(certificate, private_key, no_password)
    except (ssl.SSLError, ValueError) as error:
        key = f"private_key {str(private_key)!r}" if private_key is not None else "its private key"
        if encrypted:
            raise ValueError(f"{key} is encrypted; decrypt it, or give an SSLContext as tls=") from error
        raise ValueError(
            f"certificate {str(certificate)!r} and {key} (PEM, set private_key= if it is in another file) "
            f"do not make a pair that can be used: {error}"
        ) from error
