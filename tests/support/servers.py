"""Real servers from the distribution, started on loopback with free ports, ended with the test run.

Each function is a context manager. A missing program skips the test where a person runs it, and fails
it where `CI` is set: there the programs are installed before.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.certificates import Authority, Certificate

# A server has this long to answer. Never slept through: it is polled for every POLL_INTERVAL seconds.
START_PATIENCE = 60.0
POLL_INTERVAL = 0.02
BIG_FILE = 100 * 1024 * 1024
HUGE_FILE = 256 * 1024 * 1024
_BLOCK = bytes(range(256)) * 256


def need(program: str, *folders: str) -> str:
    """The program's path, in one of `folders` if not on the usual path; without it the test is skipped, or
    fails in CI."""
    path = [os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", *folders]
    found = shutil.which(program, path=os.pathsep.join(path))
    if found is not None:
        return found
    message = f"{program} is not installed (Debian has it; .ci/run lists the packages)"
    if os.environ.get("CI"):
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port nobody uses now, below those the system gives away: until the server has bound it, no connection
    or listener of another run gets it."""
    for _ in range(1000):
        port = random.SystemRandom().randrange(12_000, 32_000)
        with socket.socket(socket.AF_INET, kind) as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    pytest.fail("no port is free", pytrace=False)


def can_connect(family: int, address: object) -> Callable[[], bool]:
    """A question for `started`: does somebody accept connections there?"""

    def ask() -> bool:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.settimeout(1)
            return probe.connect_ex(address) == 0  # type: ignore[arg-type]

    return ask


def answers(family: int, address: object, question: bytes, answer: bytes) -> Callable[[], bool]:
    """A question for `started`: does it answer `question` as it does when it is ready?"""

    def ask() -> bool:
        with socket.socket(family, socket.SOCK_STREAM) as probe, contextlib.suppress(OSError):
            probe.settimeout(1)
            probe.connect(address)  # type: ignore[arg-type]
            probe.sendall(question)
            return probe.recv(len(answer), socket.MSG_WAITALL) == answer
        return False

    return ask


@contextmanager
def started(
    command: Sequence[str],
    log: Path,
    *ready: Callable[[], bool],
    cwd: Path | None = None,
    user: str | None = None,
) -> Iterator[None]:
    """Runs `command`, as `user` if one is given, until the block ends; the block starts when every `ready`
    said True."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd=cwd, user=user
        )
    try:
        deadline = time.monotonic() + START_PATIENCE
        waiting = list(ready)
        while waiting:
            if process.poll() is not None:
                pytest.fail(
                    f"{command[0]} ended with {process.returncode}:\n{log.read_text()}", pytrace=False
                )
            if waiting[0]():
                del waiting[0]
            elif time.monotonic() > deadline:
                pytest.fail(f"{command[0]} does not answer:\n{log.read_text()}", pytrace=False)
            else:
                time.sleep(POLL_INTERVAL)
        yield
    finally:
        process.terminate()
        try:
            process.wait(START_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass(frozen=True)
class Nginx:
    """HTTP and HTTPS ports and what there is to fetch, which lies in the folder `root`.

    `/` is a page ending in `</html>`; `/big` has BIG_FILE bytes whose digest is `big_digest`;
    `/huge` has HUGE_FILE zeros; `/slow` is `/big` at 8 KiB a second; `/who` answers the address it was asked
    from.
    """

    http: int
    https: int
    root: Path
    page: bytes
    big_digest: str


@contextmanager
def nginx(folder: Path, ca: Authority) -> Iterator[Nginx]:
    import hashlib

    program = need("nginx")
    root = folder / "www"
    root.mkdir(parents=True)
    page = b"<html><body>" + b"evsockets " * 200 + b"</body></html>"
    (root / "index.html").write_bytes(page)
    digest = hashlib.sha256()
    with (root / "big").open("wb") as big:
        for _ in range(BIG_FILE // len(_BLOCK)):
            big.write(_BLOCK)
            digest.update(_BLOCK)
    with (root / "huge").open("wb") as huge:
        huge.truncate(HUGE_FILE)  # takes no room
    http, https = free_port(), free_port()
    leaf = ca.server
    config = folder / "nginx.conf"
    config.write_text(
        f"""
        worker_processes 1;
        daemon off;
        {"user root;" if os.geteuid() == 0 else ""}
        pid {folder}/nginx.pid;
        error_log stderr warn;
        events {{ worker_connections 4096; }}
        worker_rlimit_nofile 16384;
        http {{
            access_log off;
            default_type text/html;
            keepalive_timeout 60s;
            keepalive_requests 100000;
            client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
            fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi;
            scgi_temp_path {folder}/scgi;
            ssl_certificate {leaf.certificate};
            ssl_certificate_key {leaf.private_key};
            ssl_protocols TLSv1.2 TLSv1.3;
            server {{
                listen 127.0.0.1:{http} backlog=4096;
                listen 127.0.0.1:{https} ssl http2 backlog=4096;
                root {root};
                location /slow {{ alias {root}/big; limit_rate 8k; }}
                location /who {{ return 200 "$remote_addr:$remote_port"; }}
            }}
        }}
        """
    )
    command = [program, "-p", str(folder), "-c", str(config), "-e", "stderr"]
    ports = [can_connect(socket.AF_INET, ("127.0.0.1", port)) for port in (http, https)]
    with started(command, folder / "nginx.log", *ports):
        yield Nginx(http, https, root, page, digest.hexdigest())


@dataclass(frozen=True)
class Redis:
    port: int
    path: str


@contextmanager
def redis(folder: Path, *options: str) -> Iterator[Redis]:
    program = need("redis-server")
    port, path = free_port(), str(folder / "redis.sock")
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--unixsocket", path]
    command += ["--save", "", "--appendonly", "no", "--dir", str(folder), *options]
    # It listens before it answers: while it begins, and to one client after the other.
    ready = [
        answers(family, address, b"PING\r\n", b"+PONG\r\n")
        for family, address in ((socket.AF_INET, ("127.0.0.1", port)), (socket.AF_UNIX, path))
    ]
    with started(command, folder / "redis.log", *ready):
        yield Redis(port, path)


@contextmanager
def dnsmasq(folder: Path) -> Iterator[int]:
    """A DNS server over UDP and TCP that knows `evsockets.test` (192.0.2.7) and `*.many.test`."""
    program = need("dnsmasq")
    port = free_port()
    command = [program, "--keep-in-foreground", "--conf-file=/dev/null", f"--port={port}"]
    command += ["--listen-address=127.0.0.1", "--bind-interfaces", "--no-resolv", "--no-hosts"]
    command += ["--log-facility=-", "--user=root" if os.geteuid() == 0 else f"--user={os.getuid()}"]
    command += [f"--pid-file={folder}/dnsmasq.pid", "--host-record=evsockets.test,192.0.2.7,2001:db8::7"]
    command += ["--address=/many.test/192.0.2.9", "--txt-record=long.test," + ",".join(["x" * 200] * 4)]
    with started(command, folder / "dnsmasq.log", can_connect(socket.AF_INET, ("127.0.0.1", port))):
        yield port


@dataclass(frozen=True)
class Dovecot:
    """The ports of its protocols."""

    imap: int
    pop3: int


@contextmanager
def dovecot(folder: Path, ca: Authority) -> Iterator[Dovecot]:
    """An IMAP and POP3 server with STARTTLS; the user `tester` has the password `secret`."""
    program = need("dovecot")
    if os.geteuid() != 0:
        pytest.skip("dovecot is run as root here")
    port, pop3 = free_port(), free_port()
    leaf = ca.server
    # Its own users must be able to walk into the folder.
    for parent in (folder, *folder.parents):
        if parent.is_relative_to("/tmp") and parent != Path("/tmp"):
            parent.chmod(parent.stat().st_mode | 0o111)
    mail = folder / "mail"
    mail.mkdir()
    shutil.chown(mail, "nobody", "nogroup")
    config = folder / "dovecot.conf"
    config.write_text(
        f"""
        base_dir = {folder}/run
        state_dir = {folder}/state
        log_path = /dev/stderr
        protocols = imap pop3
        listen = 127.0.0.1
        ssl = required
        ssl_cert = <{leaf.certificate}
        ssl_key = <{leaf.private_key}
        mail_location = maildir:{mail}/%u
        mail_uid = nobody
        mail_gid = nogroup
        first_valid_uid = 1
        passdb {{
          driver = static
          args = password=secret
        }}
        userdb {{
          driver = static
          args = uid=nobody gid=nogroup home={mail}/%u
        }}
        service imap-login {{
          inet_listener imap {{
            port = {port}
          }}
          inet_listener imaps {{
            port = 0
          }}
          chroot =
        }}
        service pop3-login {{
          inet_listener pop3 {{
            port = {pop3}
          }}
          inet_listener pop3s {{
            port = 0
          }}
          chroot =
        }}
        service stats {{
          unix_listener stats-writer {{
            mode = 0666
          }}
        }}
        """
    )

    ready = [
        answers(socket.AF_INET, ("127.0.0.1", number), b"", greeting)
        for number, greeting in ((port, b"* OK"), (pop3, b"+OK"))
    ]
    with started([program, "-F", "-c", str(config)], folder / "dovecot.log", *ready):
        yield Dovecot(port, pop3)


@dataclass(frozen=True)
class Exim:
    """The port, and where the mail is put."""

    port: int
    mailbox: Path


@contextmanager
def exim(folder: Path, ca: Authority) -> Iterator[Exim]:
    """An SMTP server with STARTTLS, behind which the user `tester` logs in with the password `secret`."""
    program = need("exim4")
    if os.geteuid() != 0:
        pytest.skip("exim4 is run as root here")
    # In a folder of its own: pytest closes its own one to others whenever a run begins.
    with tempfile.TemporaryDirectory(prefix="evsockets-exim-") as spool:
        Path(spool).chmod(0o711)
        yield from _exim(program, folder, Path(spool), ca)


def _exim(program: str, folder: Path, spool: Path, ca: Authority) -> Iterator[Exim]:
    port = free_port()
    for name, source in (("leaf.pem", ca.server.certificate), ("leaf.key", ca.server.private_key)):
        shutil.copy(source, spool / name)
        shutil.chown(spool / name, "nobody", "nogroup")
    shutil.chown(spool, "nobody", "nogroup")
    config = spool / "exim.conf"
    config.write_text(
        f"""
        primary_hostname = localhost
        spool_directory = {spool}
        log_file_path = {spool}/%slog
        exim_user = nobody
        exim_group = nogroup
        never_users =
        daemon_smtp_ports = {port}
        local_interfaces = 127.0.0.1
        domainlist local_domains = localhost
        acl_smtp_rcpt = rcpt
        acl_smtp_data = accept
        host_lookup =
        rfc1413_query_timeout = 0s
        tls_advertise_hosts = *
        tls_certificate = {spool}/leaf.pem
        tls_privatekey = {spool}/leaf.key
        auth_advertise_hosts = ${{if def:tls_in_cipher{{*}}{{}}}}
        begin acl
        rcpt:
          deny message = log in first
               !authenticated = *
          accept domains = +local_domains
          deny message = relay not permitted
        begin routers
        local:
          driver = accept
          transport = file
        begin transports
        file:
          driver = appendfile
          file = {spool}/mail
          user = nobody
          group = nogroup
        begin authenticators
        plain:
          driver = plaintext
          public_name = PLAIN
          server_prompts = :
          server_condition = ${{if and{{{{eq{{$auth2}}{{tester}}}}{{eq{{$auth3}}{{secret}}}}}}}}
          server_set_id = $auth2
        """
    )
    ready = can_connect(socket.AF_INET, ("127.0.0.1", port))
    with started([program, "-C", str(config), "-bdf"], folder / "exim.log", ready):
        yield Exim(port, spool / "mail")


@contextmanager
def openssl_server(
    folder: Path, leaf: Certificate, *options: str, ca_file: str | None = None
) -> Iterator[int]:
    """`openssl s_server -rev`: answers each line turned round. Yields its port."""
    program = need("openssl")
    port = free_port()
    command = [program, "s_server", "-accept", f"127.0.0.1:{port}", "-rev", "-quiet"]
    command += ["-cert", leaf.certificate, "-cert_chain", leaf.certificate, "-key", leaf.private_key]
    if ca_file is not None:
        command += ["-CAfile", ca_file]
    command += options
    log = folder / f"s_server-{port}.log"
    with started(command, log, can_connect(socket.AF_INET, ("127.0.0.1", port))):
        yield port


@contextmanager
def socat_echo(folder: Path, kind: str, *, options: str = "") -> Iterator[str]:
    """An echo server by socat; `kind` is tcp, tcp6, unix, abstract or udp. Yields its evsockets address."""
    program = need("socat")
    options = options and "," + options
    port = free_port(socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
    path = str(folder / "echo.sock")
    ready: list[Callable[[], bool]] = []
    if kind == "tcp":
        listen, address = f"TCP4-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork", f"tcp://127.0.0.1:{port}"
        ready.append(can_connect(socket.AF_INET, ("127.0.0.1", port)))
    elif kind == "tcp6":
        listen, address = f"TCP6-LISTEN:{port},bind=[::1],reuseaddr,fork", f"tcp://[::1]:{port}"
        ready.append(can_connect(socket.AF_INET6, ("::1", port)))
    elif kind == "unix":
        listen, address = f"UNIX-LISTEN:{path},fork", f"unix://{path}"
        ready.append(can_connect(socket.AF_UNIX, path))
    elif kind == "abstract":
        name = f"evsockets-socat-{os.getpid()}-{port}"
        listen, address = f"ABSTRACT-LISTEN:{name},fork", f"unix://@{name}"
        ready.append(can_connect(socket.AF_UNIX, "\0" + name))
    elif kind == "udp":
        listen, address = f"UDP4-RECVFROM:{port},bind=127.0.0.1,reuseaddr,fork", f"udp://127.0.0.1:{port}"
        ready.append(_echoes_datagrams(port))
    else:
        raise ValueError(kind)
    # A pipe said to be writable takes 4096 bytes; a larger block could stop socat for good, both ways full.
    with started([program, "-b", "4096", listen + options, "PIPE"], folder / f"socat-{port}.log", *ready):
        yield address


def _echoes_datagrams(port: int) -> Callable[[], bool]:
    def ask() -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.settimeout(0.2)
            try:
                probe.sendto(b"?", ("127.0.0.1", port))
                return probe.recv(10) == b"?"
            except OSError:
                return False

    return ask
