"""HTTP/1.1 on conversations and in handlers (RFC 9110, 9112), parsed by llhttp: the extra `http`."""

from __future__ import annotations

try:
    import httptools as _httptools  # noqa: F401
except ImportError as _missing:
    raise ImportError(
        "evsockets.http needs the package httptools: pip install 'evsockets[http]'"
    ) from _missing

from .client import request
from .error import HttpError
from .headers import Headers
from .messages import Request, Response
from .pickers import RequestPicker, ResponsePicker
from .server import ServerRequest, requests

__all__ = [
    "Headers",
    "HttpError",
    "Request",
    "RequestPicker",
    "Response",
    "ResponsePicker",
    "ServerRequest",
    "request",
    "requests",
]
