"""A small authoritative DNS answerer, on UDP and TCP at one port.

    python dns_answerer.py 127.0.0.1:5353 zone.txt

The zone file has a record a line, `NAME TYPE VALUE`, of the types A, AAAA, NS, TXT and CNAME; the first line
is `ZONE SOA MNAME`, and lines that start with `#` are comments. An answer that is too long for the client's
datagram is sent truncated, and the client asks again over TCP (RFC 1035, 4.2.1).
"""

from __future__ import annotations

import ipaddress
import signal
import struct
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from evsockets import (
    AcceptEvent,
    Configuration,
    Event,
    EventType,
    LengthPrefixedFramePicker,
    ReadEvent,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
    SocketExceptionEvent,
    WriteOperation,
)

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "TXT": 16, "AAAA": 28}
CNAME, SOA, OPT, ANY = 5, 6, 41, 255
TTL = 300
FORMAT_ERROR, NO_SUCH_NAME, NOT_IMPLEMENTED, REFUSED, BAD_VERSION = 1, 3, 4, 5, 16
AUTHORITATIVE, TRUNCATED = 0x0400, 0x0200


class Zone:
    """The records of the zone, and DNS messages with them."""

    def __init__(self, text: str) -> None:
        lines = [line.split(maxsplit=2) for line in text.splitlines() if line and line[0] != "#"]
        self.records: dict[bytes, dict[int, list[bytes]]] = defaultdict(lambda: defaultdict(list))
        self.apex = encode_name(lines[0][0]).lower()
        for name, kind, value in lines:
            key = encode_name(name).lower()
            self.records[key][TYPES[kind]].append(encode_value(kind, value))
            while key not in (self.apex, b"\0"):  # names above it are there, if without records
                key = key[key[0] + 1 :]
                self.records[key]

    def answer(self, message: bytes, limit: int) -> bytes | None:
        """The answer to a question, `limit` bytes long at most; None if the message is no question."""
        if len(message) < 12 or message[2] & 0x80:  # too short, or an answer (against endless loops)
            return None
        identifier, flags, questions, answers, authorities, extras = struct.unpack(">6H", message[:12])
        flags = 0x8000 | (flags & 0x7900)
        if flags & 0x7800:
            return header(identifier, flags, NOT_IMPLEMENTED)
        try:
            if (questions, answers, authorities) != (1, 0, 0):
                raise ValueError
            name, end = read_name(message, 12)
            kind, family = struct.unpack_from(">2H", message, end)
            extension = read_extension(message, end + 4) if extras else None
        except (ValueError, IndexError, struct.error):
            return header(identifier, flags, FORMAT_ERROR)
        question = message[12 : end + 4]
        opt = b""
        if extension is not None:
            size, version = extension
            limit = max(limit, min(size, 1232))
            opt = struct.pack(">BHHIH", 0, OPT, 1232, BAD_VERSION >> 4 << 24 if version else 0, 0)
            if version:
                return header(identifier, flags, BAD_VERSION & 15, 1, 0, 0, 1) + question + opt
        if not self.is_inside(name) or family not in (1, 255):
            return header(identifier, flags, REFUSED, 1, 0, 0, bool(opt)) + question + opt
        code, found = self.find(name, kind)
        authority = b"" if found else record(self.apex, SOA, self.records[self.apex][SOA][0])
        counts = 1, len(found), bool(authority), bool(opt)
        whole = header(identifier, flags | AUTHORITATIVE, code, *counts)
        whole += question + b"".join(found) + authority + opt
        if len(whole) <= limit:
            return whole
        flags |= AUTHORITATIVE | TRUNCATED
        return header(identifier, flags, code, 1, 0, 0, bool(opt)) + question + opt

    def is_inside(self, name: bytes) -> bool:
        """Whether the zone's name ends `name` as a whole, label by label."""
        while name and name != self.apex:
            name = name[name[0] + 1 :] if name[0] else b""
        return bool(name)

    def find(self, name: bytes, kind: int) -> tuple[int, list[bytes]]:
        """The response code, and the records, after the aliases that lead to them."""
        found: list[bytes] = []
        for _ in range(8):  # aliases may form a circle
            kinds = self.records.get(name)
            if kinds is None:
                return (NO_SUCH_NAME if self.is_inside(name) else 0), found
            if kind not in kinds and CNAME in kinds:
                found.append(record(name, CNAME, kinds[CNAME][0]))
                name = kinds[CNAME][0].lower()
                continue
            wanted = kinds if kind == ANY else {kind: kinds.get(kind, [])}
            found += [record(name, one, value) for one, values in wanted.items() for value in values]
            break
        return 0, found


def encode_name(text: str) -> bytes:
    labels = [label.encode("idna") for label in text.rstrip(".").split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def encode_value(kind: str, value: str) -> bytes:
    if kind in ("A", "AAAA"):
        return ipaddress.ip_address(value).packed
    if kind == "TXT":
        data = value.encode()
        return b"".join(bytes([len(data[i : i + 255])]) + data[i : i + 255] for i in range(0, len(data), 255))
    if kind == "SOA":
        numbers = struct.pack(">5I", 1, 3600, 600, 86400, TTL)
        return encode_name(value) + encode_name("hostmaster." + value) + numbers
    return encode_name(value)


def read_name(message: bytes, start: int) -> tuple[bytes, int]:
    """A name in lower case, and where it ends. In a question it is never compressed."""
    end = start
    while length := message[end]:
        if length > 63 or end - start > 254:
            raise ValueError
        end += length + 1
    return message[start : end + 1].lower(), end + 1


def read_extension(message: bytes, start: int) -> tuple[int, int] | None:
    """The datagram size and version of an OPT record, None if the extra record is another one."""
    root, kind, size, _, version, _, length = struct.unpack_from(">BHHBBHH", message, start)
    if start + 11 + length > len(message):
        raise ValueError
    return (size, version) if (root, kind) == (0, OPT) else None


def record(name: bytes, kind: int, value: bytes) -> bytes:
    return name + struct.pack(">HHIH", kind, 1, TTL, len(value)) + value


def header(identifier: int, flags: int, code: int, *counts: int) -> bytes:
    return struct.pack(">6H", identifier, flags | code, *(counts or (0, 0, 0, 0)))


class Answerer:
    """The zone on a UDP and a TCP server."""

    FRAME = ReadOperation(LengthPrefixedFramePicker(2))

    def __init__(self, executor: RequestExecutor, zone: Zone, host: str, port: int) -> None:
        self.executor = executor
        self.zone = zone
        self.host = host
        self.listen(f"tcp://{host}:{port}", self.on_connection, self.on_stream)

    def listen(self, address: str, accept: Callable[..., None], listening: Callable[..., None]) -> None:
        self.executor.socket_bag.add_socket(
            ServerSocket(),
            ReadOperation(),
            address=address,
            handler={EventType.ACCEPT: accept, EventType.CONNECTED: listening, EventType.EXCEPTION: failed},
        )

    def on_stream(self, event: Event) -> None:
        """TCP listens: bind UDP to the same port."""
        here = event.metadata.local_address
        assert isinstance(here, tuple)  # not the path of a unix socket
        self.listen(f"udp://{self.host}:{here[1]}", self.on_datagram, self.on_ready)

    def on_ready(self, event: Event) -> None:
        here = event.metadata.local_address
        assert isinstance(here, tuple)
        print("dns://%s:%d" % here[:2], "answers", flush=True)

    def on_datagram(self, event: AcceptEvent) -> None:
        self.executor.socket_bag.add_socket(
            event.client_socket, ReadOperation(), handler={EventType.READ: self.on_question}
        )

    def on_question(self, event: ReadEvent) -> None:
        answer = self.zone.answer(event.frame.data, 512)
        if answer is not None:
            event.next_is_write(answer)

    def on_connection(self, event: AcceptEvent) -> None:
        self.executor.socket_bag.add_socket(
            event.client_socket, self.FRAME, handler={EventType.READ: self.on_framed}, io_timeout=10
        )

    def on_framed(self, event: ReadEvent) -> None:
        answer = self.zone.answer(event.frame.data, 65535)
        if answer is not None:
            event.next_is(WriteOperation(struct.pack(">H", len(answer)) + answer, then=self.FRAME))


def failed(event: SocketExceptionEvent) -> None:
    print(event.exception, file=sys.stderr)


def main(address: str, zone: str) -> None:
    """Answer until SIGTERM."""
    host, _, port = address.rpartition(":")
    with RequestExecutor(configuration=Configuration(isolate_handler_errors=True)) as executor:
        Answerer(executor, Zone(Path(zone).read_text()), host, int(port))
        signal.signal(signal.SIGTERM, lambda *_: executor.drain(1))
        executor.execute_request()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        print("usage: python dns_answerer.py HOST:PORT ZONE_FILE", file=sys.stderr)
        sys.exit(2)
    main(*sys.argv[1:])
