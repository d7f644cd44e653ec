"""What users of other programs may write to `fetch` and `serve`, and what to write instead."""

from __future__ import annotations

import re

_NOTHING = "nothing: "
_GET = "a program with evsockets.http: this asks by GET"
_HTTP = f"{_NOTHING}HTTP/1.1 is spoken"
_COOKIES = f"{_NOTHING}cookies are not kept (--header 'Cookie: ...' sends some)"
_SCRIPTS = "--starttls, --certificates or --send: scripts are left to a program"
_CERTIFICATE = "a program with StreamContext(certificate=..., private_key=...)"
_HEADS = "--jsonl, which has the status and the headers"
_USER = "--header 'Authorization: Basic ...'"
_LOGIN = "it in the address of --proxy, as in http://user:password@host:port"
_PORTS = "ports in the address, as in tcp://host:22,80"
_FAMILY = "the numeric address, with --header 'Host: NAME', and --server-name NAME for tls:// and https://"
_SCAN = "--connect-only with tcp://"

#: By the option of curl, httpx and nmap, what to write to `fetch` instead, or why nothing.
_FETCH = {
    # curl
    "-0": _HTTP,
    "-4": _FAMILY,
    "-6": _FAMILY,
    "-A": "--header 'User-Agent: ...'",
    "-b": "--header 'Cookie: ...'",
    "-c": _COOKIES,
    "-d": _GET,
    "-e": "--header 'Referer: ...'",
    "-E": _CERTIFICATE,
    "-f": "--fail",
    "-F": f"{_PORTS}, or (if it was curl's) {_GET}",
    "-g": f"{_NOTHING}braces and brackets stand for themselves",
    "-G": "the query in the URL, as in 'https://host/path?name=value'",
    "-H": "--header",
    "-i": _HEADS,
    "-I": _HEADS,
    "-k": "--insecure",
    "-K": "--from FILE for addresses; options are read from the command line only",
    "-L": "--location",
    "-m": "--request-timeout",
    "-N": "--jsonl, which prints each result as it comes",
    "-o": "--data >FILE",
    "-O": "--data >FILE",
    "-r": "--header 'Range: bytes=0-99'",
    "-s": "--data --quiet",
    "-S": f"{_NOTHING}why something failed is always said",
    "-T": _GET,
    "-u": _USER,
    "-U": _LOGIN,
    "-v": "--jsonl, which has phases, TLS and headers",
    "-w": "--jsonl, and choose with jq",
    "-x": "--proxy",
    "-X": _GET,
    "-Z": f"{_NOTHING}all are asked at once",
    "--cacert": "--ca",
    "--cert": _CERTIFICATE,
    "--ciphers": "a program with StreamContext(ciphers=...)",
    "--compressed": f"{_NOTHING}gzip and deflate are decoded",
    "--connect-timeout": "--connection-timeout",
    "--config": "--from FILE for addresses; options are read from the command line only",
    "--cookie-jar": _COOKIES,
    "--cookie": "--header 'Cookie: ...'",
    "--data-binary": _GET,
    "--data-raw": _GET,
    "--data-urlencode": _GET,
    "--fail-with-body": "--fail --data",
    "--form": _GET,
    "--get": "the query in the URL, as in 'https://host/path?name=value'",
    "--globoff": f"{_NOTHING}braces and brackets stand for themselves",
    "--head": _HEADS,
    **dict.fromkeys(["--http1.0", "--http1.1", "--http2", "--http2-prior-knowledge", "--http3"], _HTTP),
    "--include": _HEADS,
    "--interface": "a program with Configuration(bind_to=...)",
    "--key": _CERTIFICATE,
    "--limit-rate": f"{_NOTHING}bytes come as fast as they can (--limit bounds the connections at a time)",
    "--max-redirs": f"{_NOTHING}--location follows 10 redirects at most",
    "--max-time": "--request-timeout",
    "--no-buffer": "--jsonl, which prints each result as it comes",
    "--noproxy": f"{_NOTHING}without --proxy there is none, whatever the environment says",
    "--output": "--data >FILE",
    "--parallel": f"{_NOTHING}all are asked at once",
    "--parallel-max": "--limit",
    "--proxy-user": _LOGIN,
    "--range": "--header 'Range: bytes=0-99'",
    "--request": _GET,
    "--resolve": "tls://ADDRESS:443 --server-name NAME --header 'Host: NAME' --http /path",
    "--connect-to": "tls://ADDRESS:443 --server-name NAME --header 'Host: NAME' --http /path",
    "--retry": "--retries",
    "--retry-delay": "--backoff",
    "--silent": "--data --quiet",
    "--socks5": "--proxy socks5://host:port",
    "--socks5-hostname": "--proxy socks5://host:port",
    "--tlsv1.2": "tlsv1.2://host:443 --http /path",
    "--tlsv1.3": "tlsv1.3://host:443 --http /path",
    "--unix-socket": "unix:///path as the address, with --http /path",
    "--url": "it as an ADDRESS",
    "--user": _USER,
    "--user-agent": "--header 'User-Agent: ...'",
    "--verbose": "--jsonl, which has phases, TLS and headers",
    "--write-out": "--jsonl, and choose with jq",
    "--ipv4": _FAMILY,
    "--ipv6": _FAMILY,
    # httpx
    "--auth": _USER,
    "--cookies": "--header 'Cookie: ...'",
    "--download": "--data >FILE",
    "--follow-redirects": "--location",
    "--headers": "--header",
    "--method": _GET,
    "--no-verify": "--insecure",
    "--timeout": "--request-timeout (a whole request), --connection-timeout or --io-timeout (a pause)",
    # nmap
    "-iL": "--from",
    "-n": f"{_NOTHING}only names that are given are looked up",
    "-oA": "--jsonl or --csv",
    "-oG": "--csv",
    "-oJ": "--json",
    "-oN": "--jsonl or --csv",
    "-oX": "--json",
    "-p": _PORTS,
    "-p-": "ports in the address, as in tcp://host:1-65535",
    "-Pn": f"{_NOTHING}nobody is pinged",
    "-sC": _SCRIPTS,
    "-sS": f"{_SCAN} (or, if it was curl's, --no-progress)",
    "-sT": _SCAN,
    "-sU": "--send with udp:// addresses",
    "-sV": r"--until '\n' --io-timeout 3 --data, which shows what servers say first",
    "--exclude": "a list without them: grep -v ... list | evsockets fetch --from -",
    "--host-timeout": "--request-timeout",
    "--max-rate": "--limit",
    "--max-retries": "--retries",
    "--min-rate": "--limit",
    "--open": "--only complete",
    "--reason": f"{_NOTHING}why something failed is always said",
    "--script": _SCRIPTS,
    "--top-ports": _PORTS,
    **dict.fromkeys([f"-T{speed}" for speed in range(6)], "--limit and --connection-timeout"),
}

_PROXY = "is left to a proxy in front, such as nginx or Caddy"
_LISTEN = "--address tcp://HOST:PORT"
_PLACE = "the directory as a word of its own: evsockets serve DIRECTORY"
_CHAIN = "--certificate chain.pem --key key.pem"
_GZIP = f"{_NOTHING}compression {_PROXY}"
_AUTH = f"{_NOTHING}who may read {_PROXY}"
_INDEX = f"{_NOTHING}a directory's index.html is shown, and a listing where there is none"
_SILENT = f"{_NOTHING}only the address is printed, unless --log is given"
_DAEMON = f"{_NOTHING}a manager such as systemd starts it, or & behind the command"
_FRESH = f"{_NOTHING}each answer has the file as it is then"

#: By the option of http.server, nginx, uvicorn and caddy, what to write to `serve` instead, or why nothing.
_SERVE = {
    **dict.fromkeys(["-a", "-b", "-l", "--bind", "--host", "--interface", "--listen"], _LISTEN),
    **dict.fromkeys(["-d", "-r", "--dir", "--directory", "--root"], _PLACE),
    **dict.fromkeys(["-D", "--daemon", "--daemonize"], _DAEMON),
    **dict.fromkeys(["-q", "--quiet", "--silent", "--no-access-log"], _SILENT),
    **dict.fromkeys(["-v", "--access-log", "--log-level", "--verbose"], "--log"),
    **dict.fromkeys(["-z", "--compress", "--gzip", "--precompressed"], _GZIP),
    **dict.fromkeys(["--auth", "--basic-auth", "--password", "--user"], _AUTH),
    **dict.fromkeys(["--autoindex", "--browse", "--index"], _INDEX),
    **dict.fromkeys(["--cert", "--ssl", "--ssl-certfile", "--tls", "--tls-cert"], _CHAIN),
    **dict.fromkeys(["--ssl-keyfile", "--tls-key"], "--key"),
    **dict.fromkeys(["--reload", "--watch"], _FRESH),
    "-c": f"{_NOTHING}all settings are options",
    "-s": "a signal: SIGHUP reads the certificate again, or replaces the workers; SIGTERM ends",
    "-w": "--workers",
    "--cgi": f"{_NOTHING}files are served, and no programs run",
    "--config": f"{_NOTHING}all settings are options",
    "--dotfiles": "--hidden",
    "--fd": "--address fd://3",
    "--http2": f"{_NOTHING}HTTP/2 {_PROXY}",
    "--limit-concurrency": "--limit",
    "--protocol": f"{_NOTHING}HTTP/1.1 is spoken",
    "--proxy": f"{_NOTHING}files are served, and no requests passed on",
    "--timeout-graceful-shutdown": "--drain",
    "--timeout-keep-alive": "--idle-timeout",
    "--uds": "--address unix:///path",
}

_INSTEAD = {"fetch": _FETCH, "serve": _SERVE}

#: What the commands may be called.
_COMMANDS = {
    "fetch": "ask connect curl download get head http https httpx nmap ping probe request scan tls url wget",
    "serve": "caddy file-server files http.server httpd listen nginx server static www",
}
#: A body as curl's --data and --json take it.
_BODY = re.compile(r"\{.*|\[(?![0-9A-Fa-f:.%]*[\]/]).*|@.*|[^/:=]+=.*", re.DOTALL)


def command_for(word: str) -> str | None:
    """The command that is meant by the name of another, or by a URL in its place; None if unknown."""
    if re.match(r"[a-z][a-z0-9+.-]*://", word, re.IGNORECASE):
        return "fetch"
    return next((name for name, others in _COMMANDS.items() if word.lower() in others.split()), None)


def instead(word: str, command: str = "fetch") -> str | None:
    """What to write to `command` instead of an option of another program, such as -k, -fsSL or -p22,80, or
    instead of a value where there is none; None for what is unknown."""
    if not word.startswith("-"):
        return _instead_of_value(word, command)
    table = _INSTEAD.get(command, {})
    found = [table.get(word)]
    if found == [None] and re.fullmatch(r"-[A-Za-z]\d\S*", word):  # with its value in one word
        found = [table.get(word[:2])]
    elif found == [None] and re.fullmatch(r"-[A-Za-z]{2,}", word):  # several in one word
        found = [table.get(f"-{letter}") for letter in word[1:]]
    known = [one for one in dict.fromkeys(found) if one is not None]
    if None in found or not known:
        return None
    written = [one for one in known if not one.startswith(_NOTHING)] or known[:1]
    return f"instead of {word} write {', '.join(written)}"


def _instead_of_value(word: str, command: str) -> str | None:
    if command == "fetch" and _BODY.fullmatch(word):
        return f"--data and --json take no value, they print what came: to send a body write {_GET}"
    if command == "serve" and re.fullmatch(":?[0-9]{1,5}", word):
        return f"instead of {word} write --port {word.lstrip(':')}"
    if command == "serve" and re.fullmatch(r"[^/\s]+:[0-9]{1,5}", word):
        return f"instead of {word} write --address tcp://{word}"
    return None
