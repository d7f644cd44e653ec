"""`evsockets serve DIRECTORY`: a directory's files and listings over HTTP/1.1."""

from __future__ import annotations

import argparse
from typing import Any

from .. import Configuration
from ..address import Address, bracketed, get_transports
from .common import CommandError
from .options import Parser, delay, origin, parsed, port
from .serving import Server, add_server_options, run_server, tls_context

#: What the schemes of URLs mean, as the first line of output has them.
_WEB = {"http": "tcp", "https": "tls"}
_DEFAULT = "tcp://127.0.0.1:8000"
_EPILOG = """
  evsockets serve . -p 8080 --log
  evsockets serve dist --spa --workers 4
  evsockets serve . --certificate chain.pem --key key.pem
"""


def register(commands: Any) -> None:
    """Add the command to the parser."""
    parser: Parser = commands.add_parser(
        "serve",
        help="serve a directory's files and listings over HTTP/1.1",
        description="GET and HEAD, single ranges, keep-alive, TLS; nothing outside the directory.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.command = "serve"
    parser.add_argument(
        "directory", metavar="DIRECTORY", nargs="?", default=".", help="whose files to serve (default: here)"
    )
    parser.add_argument(
        "--address",
        metavar="ADDRESS",
        help=f"where to listen: tcp://host:port, unix:///path, fd://3, or with --certificate tls://host:port "
        f"(default {_DEFAULT}; port 0 takes a free one)",
    )
    parser.add_argument(
        "-p", "--port", type=port, metavar="PORT", help="short for the default address with this port"
    )
    parser.add_argument(
        "--idle-timeout",
        type=delay,
        default=60.0,
        metavar="SECONDS",
        help="close a connection after this time between two requests (default 60)",
    )
    parser.add_argument(
        "--request-timeout",
        type=delay,
        default=30.0,
        metavar="SECONDS",
        help="time for a request's head, from its first byte on, and for the rest of a refused request "
        "(default 30); who sends less than 16 bytes a second has 10 seconds at most",
    )
    parser.add_argument(
        "--log",
        nargs="?",
        const="combined",
        choices=("combined", "json"),
        help="print a line for each answer to standard error, in the format of web servers (with the seconds "
        "it took at the end), or as JSON",
    )
    parser.add_argument("--hidden", action="store_true", help="serve names that begin with a dot, too")
    parser.add_argument(
        "--spa",
        action="store_true",
        help="answer a path that does not exist, and has no extension, with /index.html",
    )
    parser.add_argument(
        "--cors",
        nargs="?",
        const="*",
        type=origin,
        metavar="ORIGIN",
        help="let scripts of this origin (default: any) read the answers",
    )
    add_server_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal; 0 after an orderly end."""
    return run_server(arguments, make_server)


def make_server(arguments: argparse.Namespace, **worker: Any) -> Server:
    """The server of a command line: see `serving.Make`."""
    try:
        from .access_log import AccessLog
        from .directory import Directory
        from .file_answers import FileAnswers
        from .file_service import FileService
    except ImportError as error:
        raise CommandError(str(error)) from error
    try:
        directory = Directory(arguments.directory, hidden=arguments.hidden)
    except OSError as error:
        raise CommandError(_no_directory(arguments.directory)) from error
    address = _address(arguments)
    context = tls_context(arguments, address)
    service = FileService(
        FileAnswers(directory, spa=arguments.spa, cors=arguments.cors),
        AccessLog(arguments.log),
        idle_timeout=arguments.idle_timeout,
        request_timeout=arguments.request_timeout,
    )

    def banner(url: str) -> str:
        web = (
            url.replace("tcp://", "http://", 1)
            if url.startswith("tcp:")
            else f"https://{url.partition('://')[2]}"
        )
        shown = "" if url.startswith("unix") else f" as {web}/"
        return f"{url} serves {arguments.directory}{shown} on engine {server.executor.engine.name}"

    # A client's mistake, or a bug that it brings out, ends that client and nobody else.
    settings = Configuration(isolate_handler_errors=True)
    server = Server(arguments, address, service.accept, banner, settings, context, **worker)
    return server


def _address(arguments: argparse.Namespace) -> Address:
    """The address to listen on, from --address or --port."""
    if arguments.address is not None:
        if arguments.port is not None:
            raise CommandError("--port is short for an address; give it inside --address instead")
        return _given(arguments.address, "tcp" if arguments.certificate is None else "tls")
    default = _DEFAULT if arguments.certificate is None else _DEFAULT.replace("tcp:", "tls:")
    if arguments.port is not None:
        default = f"{default.rpartition(':')[0]}:{arguments.port}"
    return parsed(default, server=True)


def _given(text: str, usual: str) -> Address:
    """The address of --address; CommandError if it is none to listen on."""
    scheme, separator, target = text.partition("://")
    known = {*get_transports(), "fd"}
    if not separator and scheme.partition(":")[0].lower() not in known:
        raise CommandError(f"--address {text!r} has no scheme: write {_completed(text, usual)}")
    if separator and scheme.lower() in _WEB:
        text = f"{_WEB[scheme.lower()]}://{target.removesuffix('/')}"
    elif separator and scheme.lower() not in known:
        raise CommandError(f"--address {text!r}: serve listens on tcp://, tls://, unix:// and fd://")
    address = parsed(text, server=True)
    if address.is_datagram:
        raise CommandError(f"{address.text} is for datagrams; HTTP needs tcp://, tls:// or unix://")
    return address


def _completed(text: str, scheme: str) -> str:
    """The address that is meant by a path, a host, a port, or host:port."""
    if text.startswith(("/", ".", "@")):
        return f"unix://{text}"
    host, _, number = text.removesuffix("/").rpartition(":")
    if not number.isdigit() or (":" in host and "[" not in host):  # no port, or only colons of IPv6
        host, number = text.strip("/"), "8000"
        host = bracketed(host)
    return f"{scheme}://{host or '127.0.0.1'}:{number}"


def _no_directory(name: str) -> str:
    """Why nothing of this name is served."""
    from .habits import instead

    advice = instead(name, "serve") or "name one whose files to serve"
    return f"{name!r} is no directory; {advice}"
