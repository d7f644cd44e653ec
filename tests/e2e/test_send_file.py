"""A file that the kernel takes itself, or that is copied where it does not."""

from __future__ import annotations

import errno
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from evsockets import RequestExecutor, SendError, WriteOperation
from evsockets.operations.sendfile import SendFileOperation, can_send_files
from support.wire import add, pair, read_to_end

SIZE = 3 << 20


@pytest.fixture
def file(tmp_path: Path) -> Any:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * (SIZE // 256))
    descriptor = os.open(path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


@pytest.mark.parametrize("copied", [False, True])
def test_a_part_of_a_file(
    executor: RequestExecutor, file: int, copied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if copied:

        def refuses(*_: object) -> int:
            raise OSError(errno.EINVAL, "no")

        monkeypatch.setattr(os, "sendfile", refuses)
    ours, theirs = pair()
    got: list[bytes] = []
    done: list[int] = []
    reader = threading.Thread(target=lambda: got.append(read_to_end(theirs)))
    reader.start()
    sending = SendFileOperation(file, 7, SIZE - 3, None, lambda: done.append(sending.position))
    log = add(executor, None, WriteOperation(b"head", then=sending), socket=ours)
    executor.execute_request()
    reader.join()
    theirs.close()
    assert got == [b"head" + (bytes(range(256)) * (SIZE // 256))[7:-3]]
    assert done == [SIZE - 3] and log.metadata.bytes_sent == SIZE - 6


@pytest.mark.parametrize("size", [0, SIZE])
def test_a_head_however_long(executor: RequestExecutor, file: int, size: int) -> None:
    ours, theirs = pair()
    head = bytes(range(250)) * 20_000  # more than the kernel takes at once
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(read_to_end(theirs)))
    reader.start()
    sending = SendFileOperation(file, 0, size, None, None, head)
    log = add(executor, None, WriteOperation(b"before", then=sending), socket=ours)
    executor.execute_request()
    reader.join()
    theirs.close()
    assert got == [b"before" + head + bytes(range(256)) * (size // 256)]
    assert log.metadata.bytes_sent == len(got[0]) and not log.errors


def test_a_file_that_is_too_short_and_a_peer_that_goes(executor: RequestExecutor, file: int) -> None:
    ours, theirs = pair()
    reader = threading.Thread(target=lambda: read_to_end(theirs))
    reader.start()
    log = add(executor, None, SendFileOperation(file, SIZE - 10, SIZE + 10), socket=ours)
    executor.execute_request()
    reader.join()
    theirs.close()
    assert type(log.errors[0]) is SendError and "shrunk" in str(log.errors[0])
    ours, theirs = pair()
    theirs.close()
    done: list[bool] = []
    log = add(executor, None, SendFileOperation(file, 0, SIZE, None, lambda: done.append(True)), socket=ours)
    executor.execute_request()
    assert "EXCEPTION" in log.names and done == [True]


def test_where_sigpipe_would_end_the_process_it_is_not_used() -> None:
    before = signal.getsignal(signal.SIGPIPE)
    try:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        assert not can_send_files()
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        assert can_send_files()
    finally:
        signal.signal(signal.SIGPIPE, before)
