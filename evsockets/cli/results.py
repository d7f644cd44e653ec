"""What came of one peer, in the words of tables and documents."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .. import (
    AddressError,
    ConnectionFailedError,
    ConversationEndedError,
    DisconnectedError,
    FrameError,
    Outcome,
    SlowTransferError,
    SocketTimeoutError,
    TlsHandshakeError,
    WorkerLostError,
)
from ..address import parse_address
from .asking import Answer, Ask

#: The phases of a request, in the order in which they are shown.
PHASES = ("resolving", "connecting", "handshaking", "writing", "reading")

#: What the first matching class of an error is called; most special first.
_KINDS: tuple[tuple[type[Exception], str], ...] = (
    (TlsHandshakeError, "TLS failed"),
    (ConnectionFailedError, "no connection"),
    (DisconnectedError, "disconnected"),
    (FrameError, "bad answer"),
    (SlowTransferError, "too slow"),
    (ConversationEndedError, "interrupted"),
    (WorkerLostError, "worker lost"),
    (AddressError, "bad address"),
)

#: What to do about a certificate that is not trusted, by OpenSSL's number (X509_V_ERR_...).
_CURES = {
    10: "--insecure --certificates shows since when",
    18: "it is self-signed: --ca FILE trusts it",
    19: "its authority is not known here: --ca FILE trusts it",
    20: "its chain is incomplete, or its authority is not known here: --ca FILE trusts it",
    21: "its chain is incomplete: the server has to send the intermediate certificates",
    62: "it is for another name: --server-name NAME asks for that",
    64: "it is for another address: --server-name NAME asks for that",
}


@dataclass(slots=True)
class Result:
    """The outcome of one Ask. `phases` are `(name, seconds)` in their order, `certificate` is the peer's."""

    ask: Ask
    answer: Answer
    outcome: str
    error: str | None
    attempts: int
    sent: int
    received: int
    remote: Any
    tls: Any
    phases: list[tuple[str, float]]
    certificate: Mapping[str, Any] | None = None

    @property
    def ok(self) -> bool:
        """Whether all went well."""
        return self.error is None

    @property
    def seconds(self) -> float | None:
        """How long its last life took; None if it had none."""
        return sum(seconds for _, seconds in self.phases) if self.phases else None

    @property
    def data(self) -> bytes:
        """What was received, if that is kept."""
        return b"".join(self.answer.chunks)

    def spent(self, phase: str) -> float | None:
        """The seconds in `phase`; None if that never was."""
        return dict(self.phases).get(phase)

    def fail(self, outcome: str, error: str) -> None:
        """Call it a failure after all."""
        self.outcome, self.error = outcome, error


def result_of(outcome: Outcome[Answer], keywords: Mapping[str, Any]) -> Result:
    """What came of a target whose context is its Ask. `keywords` are what `fan_out` was given."""
    ask: Ask = outcome.target.user_context
    kind, text = "complete", None
    if ask.problem is not None:
        kind, text = "bad address", ask.problem
    elif outcome.error is not None:
        kind, text = _failure(outcome.error, keywords)
        if ask.path is not None and not parse_address(ask.address).is_tls and _shuns(outcome):
            text += "; if it speaks TLS, write https:// (or tls://)"
    # In another process it was a copy of the Ask that had the answer; that of a failure stays there.
    answer = ask.answer if outcome.result is None else outcome.result
    return Result(
        ask, answer, kind, text, outcome.attempts, outcome.bytes_sent, outcome.bytes_received,
        outcome.remote_address, outcome.tls, _phases(outcome, answer),
    )  # fmt: skip


def _shuns(outcome: Outcome[Answer]) -> bool:
    """Whether a request was answered as those who expect TLS do: by the end of the stream, or a TLS alert."""
    error = outcome.error
    if isinstance(error, FrameError):
        return error.partial is not None and error.partial.data.startswith(b"\x15\x03")
    return isinstance(error, DisconnectedError) and outcome.bytes_sent > 0 == outcome.bytes_received


def _failure(error: Exception, keywords: Mapping[str, Any]) -> tuple[str, str]:
    """What an error is called, and what it says."""
    if isinstance(error, ConversationEndedError):
        return "interrupted", "the run was interrupted"
    if isinstance(error, SocketTimeoutError):
        stage = "" if error.when is None else error.when.name.lower()
        limit = keywords.get(f"{stage}_timeout")
        bound = "" if limit is None else f", {stage} time-out {limit:g} s"
        return f"timed out ({error.phase})", f"timed out while {error._doing or error.phase}{bound}"
    kind = next((name for each, name in _KINDS if isinstance(error, each)), "failed")
    text = str(error) or type(error).__name__
    cause = error.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        cure = _CURES.get(cause.verify_code)
        text += f"; {cure}" if cure is not None else ""
    elif isinstance(cause, ssl.SSLError) and cause.reason == "WRONG_VERSION_NUMBER":
        text += "; what came is no TLS: http:// and tcp:// do without, --starttls asks for it first"
    return kind, text


def _phases(outcome: Outcome[Answer], answer: Answer) -> list[tuple[str, float]]:
    """The stages of its life; its talk is writing until the request has left, then reading."""
    resolving, connecting, handshaking, talking = outcome.times
    spent = [("resolving", resolving), ("connecting", connecting)]
    spent.append(("handshaking", handshaking + answer.secured))
    talking = max(0.0, talking - answer.secured)
    if answer.written is not None:
        writing = min(talking, answer.written - answer.secured)
        spent += [("writing", writing), ("reading", talking - writing)]
    elif answer.reads:
        spent.append(("reading", talking))
    return [(name, seconds) for name, seconds in spent if seconds > 0.0]
