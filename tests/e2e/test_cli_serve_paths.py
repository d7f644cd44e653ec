"""What `evsockets serve` says to hostile paths, byte for byte as they are written, beside what nginx says."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from support.command import serving
from support.servers import Nginx

SECRET = b"nobody may read this"
#: Each is asked for as it stands. Most are from the lists that scanners work through.
WORDS = rb"""
/../secret.txt /../../../../../../etc/passwd /.. /../ /sub/../../secret.txt /%2e%2e/secret.txt
/%2e%2e%2fsecret.txt /..%2fsecret.txt /.%2e/secret.txt /%252e%252e%252fsecret.txt /%c0%ae%c0%ae/secret.txt
/..%c0%afsecret.txt /%uff0e%uff0e/secret.txt /..%00/secret.txt /..;/secret.txt /sub/..;/..;/secret.txt
/..\secret.txt /..%5csecret.txt /....//secret.txt /.../secret.txt //../secret.txt /./../secret.txt
/sub/%2e%2e/%2e%2e/secret.txt /?/../../secret.txt /page.txt/../../secret.txt /page.txt?../secret.txt
/out /out/ /outside/secret.txt /outside/www/page.txt
/etc/passwd //etc/passwd /proc/self/environ /dev/zero /~root/ /CON /page.txt::$DATA /page.txt. /page.txt%20
/PAGE.TXT /page.txt~ /.git/config /.htaccess /WEB-INF/web.xml
/page.txt/ /page.txt/x /page.txt%00 /page.txt%00.html /page.txt%0d%0aX:%20y /% /%2 /%zz /%GG/page.txt
/page.txt#part /page.txt;x page.txt * ?page.txt #
/./page.txt //page.txt /sub//./below.txt /%70age.txt /sub/../page.txt /sub/%2e%2e/page.txt /sub /sub/ /sub/.
/sub/.. /a%20b.txt /a+b.txt /page.txt? /%2fpage.txt /sub%2fbelow.txt
http://x/page.txt HTTP://x/page.txt http://x http://x?a http://x/ http:///page.txt https://x/page.txt
ftp://x/page.txt http://x/../secret.txt http://me@x/page.txt x:80
"""
PATHS = [
    *WORDS.split(), b"", b"/page txt", b"/page\ttxt", b"/\x00", b"/\x7f", b"/\xff\xfe", b"/page.txt\x0b",
    b"/page.txt?" + b"x" * 4000, b"/\xef\xbc\x8e\xef\xbc\x8e/secret.txt", b"/" + b"a/" * 2000,
    b"/" + b"x" * 255, b"/" + b"x" * 6000, b"/" + b"x" * 60_000,
]  # fmt: skip
#: Found by nginx, and not here: steps up, inside too, links that lead out, and other schemes.
NOT_HERE = rb"""
/sub/../page.txt /sub/%2e%2e/page.txt /sub/.. /sub/. /out /outside/secret.txt /outside/www/page.txt
ftp://x/page.txt
""".split()


@pytest.fixture(scope="session")
def site(nginx: Nginx) -> Nginx:
    (nginx.root / "page.txt").write_bytes(b"0123456789")
    (nginx.root / "a b.txt").write_bytes(b"blank")
    (nginx.root / "sub").mkdir()
    (nginx.root / "sub" / "index.html").write_bytes(b"<p>index")
    (nginx.root / "sub" / "below.txt").write_bytes(b"below")
    (nginx.root.parent / "secret.txt").write_bytes(SECRET)
    (nginx.root / "out").symlink_to("../secret.txt")
    (nginx.root / "outside").symlink_to("..")
    return nginx


def ask(port: int, path: bytes) -> tuple[int, bytes]:
    """The status and the body; the status of a connection that is closed without an answer is 0."""
    said = b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        try:
            sock.sendall(b"GET %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path)
            while chunk := sock.recv(65536):
                said += chunk
        except ConnectionError:
            pass
    found = re.match(rb"HTTP/1\.1 (\d{3}) ", said)
    return int(found[1]) if found else 0, said.partition(b"\r\n\r\n")[2]


def test_hostile_paths(engine: str, site: Nginx, tmp_path: Path) -> None:
    """What is found is found by nginx as well, and is the same; all else is refused in order."""
    with serving("serve", str(site.root), "-p", "0", "--engine", engine, "--log") as running:
        for path in PATHS:
            status, body = ask(running.port, path)
            theirs, its_body = ask(site.http, path)
            assert SECRET not in body and b"root:" not in body, path
            if status == 200:
                assert (theirs, its_body) == (200, body), path
            else:
                assert 300 <= status < 500, path
                assert theirs != 200 or path in NOT_HERE, path
        assert ask(running.port, b"/page.txt") == (200, b"0123456789")
        ended, errors = running.end()
    assert ended == 0 and "Traceback" not in errors
    assert errors.isascii() and all(line.isprintable() for line in errors.splitlines())
