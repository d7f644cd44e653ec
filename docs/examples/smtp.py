"""Send a message from standard input by SMTP, with STARTTLS and a login (RFC 5321, RFC 3207, RFC 4954).

    python smtp.py tcp://mail.example.org:587 tester secret me@example.org you@example.org < message.txt
"""

from __future__ import annotations

import base64
import sys

from evsockets import Conversation, LineFramePicker, StreamContext, fan_out

LINE = LineFramePicker(max_length=2_000)


class Refused(Exception):
    """A reply of the server that was not expected."""


async def reply(talk: Conversation, expected: bytes) -> list[bytes]:
    """The lines of one reply, whose code begins with `expected`; of several all but the last have a dash."""
    lines = [(await talk.read(LINE)).data]
    while lines[-1][3:4] == b"-":
        lines.append((await talk.read(LINE)).data)
    if not lines[-1].startswith(expected):
        raise Refused(lines[-1].decode(errors="replace"))
    return [line[4:] for line in lines]


async def command(talk: Conversation, line: bytes, expected: bytes = b"2") -> list[bytes]:
    await talk.write(line + b"\r\n")
    return await reply(talk, expected)


async def send(talk: Conversation, user: str, password: str, sender: str, to: str, message: bytes) -> str:
    await reply(talk, b"220")
    if b"STARTTLS" not in await command(talk, b"EHLO localhost"):
        raise Refused("the server offers no STARTTLS")
    await command(talk, b"STARTTLS", b"220")
    await talk.start_tls(server_hostname="localhost")
    await command(talk, b"EHLO localhost")  # RFC 3207, 4.2: discard what was known before TLS
    login = base64.b64encode(f"\0{user}\0{password}".encode())
    await command(talk, b"AUTH PLAIN " + login, b"235")
    await command(talk, f"MAIL FROM:<{sender}>".encode())
    await command(talk, f"RCPT TO:<{to}>".encode())
    await command(talk, b"DATA", b"354")
    lines = message.replace(b"\r\n", b"\n").removesuffix(b"\n").split(b"\n")
    stuffed = (b"." + line if line.startswith(b".") else line for line in lines)
    (answer,) = await command(talk, b"\r\n".join(stuffed) + b"\r\n.", b"250")
    await command(talk, b"QUIT", b"221")
    return answer.decode()


def main(address: str, user: str, password: str, sender: str, to: str, *ca_file: str) -> int:
    context = StreamContext(ca_file=ca_file[0]) if ca_file else None
    arguments = user, password, sender, to, sys.stdin.buffer.read()
    for outcome in fan_out(send, [address], args=arguments, io_timeout=30, stream_context=context):
        print(outcome.result if outcome.ok else f"not sent: {outcome.error}")
        return 0 if outcome.ok else 1
    return 1


if __name__ == "__main__":
    if len(sys.argv) not in (6, 7):
        print("usage: python smtp.py ADDRESS USER PASSWORD FROM TO [CA_FILE]", file=sys.stderr)
        sys.exit(2)
    sys.exit(main(*sys.argv[1:]))
