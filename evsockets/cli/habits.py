"""What those who know curl and nmap may write, and what is written to `fetch` instead."""

from __future__ import annotations

import re

_NOTHING = "nothing: "
_GET = "a program with evsockets.http: this asks by GET"
_CERTIFICATE = "a program with StreamContext(certificate=..., private_key=...)"
_HEADS = "--jsonl, which has the status and the headers"
_LOGIN = "it in the address of --proxy, as in http://user:password@host:port"
_PORTS = "ports in the address, as in tcp://host:22,80"
_FAMILY = "the numeric address, with --header 'Host: NAME', and --server-name NAME for tls:// and https://"
_SCAN = "--connect-only with tcp://"

#: By the option, what to write instead, or why nothing.
_INSTEAD = {
    # curl
    "-4": _FAMILY,
    "-6": _FAMILY,
    "-A": "--header 'User-Agent: ...'",
    "-b": "--header 'Cookie: ...'",
    "-d": _GET,
    "-e": "--header 'Referer: ...'",
    "-E": _CERTIFICATE,
    "-f": "--fail",
    "-F": f"{_PORTS}, or (if it was curl's) {_GET}",
    "-H": "--header",
    "-i": _HEADS,
    "-I": _HEADS,
    "-k": "--insecure",
    "-L": "--location",
    "-m": "--request-timeout",
    "-o": "--data >FILE",
    "-O": "--data >FILE",
    "-r": "--header 'Range: bytes=0-99'",
    "-s": "--quiet",
    "-S": f"{_NOTHING}why something failed is always said",
    "-T": _GET,
    "-u": "--header 'Authorization: Basic ...'",
    "-U": _LOGIN,
    "-v": "--jsonl, which has phases, TLS and headers",
    "-w": "--jsonl, and choose with jq",
    "-x": "--proxy",
    "-X": _GET,
    "-Z": f"{_NOTHING}all are asked at once",
    "--cacert": "--ca",
    "--cert": _CERTIFICATE,
    "--compressed": f"{_NOTHING}gzip and deflate are decoded",
    "--connect-timeout": "--connection-timeout",
    "--cookie": "--header 'Cookie: ...'",
    "--data-binary": _GET,
    "--data-raw": _GET,
    "--form": _GET,
    "--head": _HEADS,
    "--include": _HEADS,
    "--key": _CERTIFICATE,
    "--max-time": "--request-timeout",
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
    "--silent": "--quiet",
    "--socks5": "--proxy socks5://host:port",
    "--socks5-hostname": "--proxy socks5://host:port",
    "--unix-socket": "unix:///path as the address, with --http /path",
    "--url": "it as an ADDRESS",
    "--user": "--header 'Authorization: Basic ...'",
    "--user-agent": "--header 'User-Agent: ...'",
    "--verbose": "--jsonl, which has phases, TLS and headers",
    "--write-out": "--jsonl, and choose with jq",
    "--ipv4": _FAMILY,
    "--ipv6": _FAMILY,
    # nmap
    "-iL": "--from",
    "-n": f"{_NOTHING}only names that are given are looked up",
    "-oA": "--jsonl or --csv",
    "-oG": "--csv",
    "-oN": "--jsonl or --csv",
    "-oX": "--json",
    "-p": _PORTS,
    "-p-": "ports in the address, as in tcp://host:1-65535",
    "-Pn": f"{_NOTHING}nobody is pinged",
    "-sS": f"{_SCAN} (or, if it was curl's, --no-progress)",
    "-sT": _SCAN,
    "-sU": "--send with udp:// addresses",
    "-sV": r"--until '\n' --data, which shows what servers say first",
    "--exclude": "a list without them: grep -v ... list | evsockets fetch --from -",
    "--host-timeout": "--request-timeout",
    "--max-rate": "--limit",
    "--max-retries": "--retries",
    "--min-rate": "--limit",
    "--open": "--only complete",
    "--reason": f"{_NOTHING}why something failed is always said",
    "--top-ports": _PORTS,
    **dict.fromkeys([f"-T{speed}" for speed in range(6)], "--limit and --connection-timeout"),
}


def instead(word: str) -> str | None:
    """What to do about an option of curl or nmap, such as -k, -fsSL or -p22,80; None for what is none."""
    found = [_INSTEAD.get(word)]
    if found == [None] and re.fullmatch(r"-[A-Za-z]\d\S*", word):  # with its value in one word
        found = [_INSTEAD.get(word[:2])]
    elif found == [None] and re.fullmatch(r"-[A-Za-z]{2,}", word):  # several in one word
        found = [_INSTEAD.get(f"-{letter}") for letter in word[1:]]
    known = [one for one in dict.fromkeys(found) if one is not None]
    if None in found or not known:
        return None
    written = [one for one in known if not one.startswith(_NOTHING)] or known[:1]
    return f"instead of {word} write {', '.join(written)}"
