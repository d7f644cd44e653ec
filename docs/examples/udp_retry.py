"""A question by UDP, repeated with growing time-outs until it is answered.

    python udp_retry.py udp://127.0.0.1:5353 "who is there?"
"""

from __future__ import annotations

import sys

from evsockets import Conversation, SocketTimeoutError, fan_out


async def ask(talk: Conversation, question: bytes, attempts: int) -> bytes:
    """The answer; SocketTimeoutError if there was none to any attempt."""
    patience = 0.1
    for attempt in range(attempts):
        await talk.write(question)
        try:
            with talk.timeout(patience):
                return (await talk.read()).data
        except SocketTimeoutError:
            if attempt == attempts - 1:
                raise
            patience *= 2
    raise ValueError(f"attempts must be at least 1, got {attempts}")


def main(address: str, question: str) -> int:
    (outcome,) = fan_out(ask, [address], args=(question.encode(), 5))
    print(outcome.value.decode() if outcome.ok else outcome.error)
    return 0 if outcome.ok else 1


if __name__ == "__main__":
    if len(sys.argv) != 3:
        print("usage: python udp_retry.py ADDRESS QUESTION", file=sys.stderr)
        sys.exit(2)
    sys.exit(main(*sys.argv[1:]))
