"""The targets of `fetch`: from the command line and from files, lazily, and those of redirects."""

from __future__ import annotations

import argparse
import re
from collections import deque
from collections.abc import Iterator, Sequence

from ..address import parse_address
from .asking import Ask
from .common import CommandError
from .lines import LONGEST, Lines
from .words import Word, parse_word

_COMMENT = re.compile(r"(?:^|\s)#.*", re.DOTALL)
_SECOND = re.compile(r"\s\S+://")
#: A byte that is no UTF-8, as the repr of the text with it has it.
_STRAY = re.compile(r"\\udc([89a-f][0-9a-f])")
#: Options for HTTP, and for TLS, and what each needs.
_HTTP = ("header", "location", "fail")
_FOR_HTTP = (
    "is for HTTP: give a URL or --http PATH, without --send, --connect-only, --until, --length and --starttls"
)
_TLS = ("certificates", "server_name", "insecure", "ca")
_FOR_TLS = "is for TLS: give an https:// URL, a tls:// address, or --starttls"


class Targets:
    """An Ask for each address of `words`, then of the lines of `files` ("-": standard input).

    `web`: whether to send HTTP requests to URLs, and to other addresses if there is a default `path`. `most`:
    a word that stands for more addresses is refused. A wrong word raises a CommandError, a wrong line gives
    an Ask with a problem. `again` are Asks that come first.
    """

    def __init__(
        self, words: Sequence[str], files: Sequence[str], path: str | None, *, web: bool, most: int
    ) -> None:
        self.again: deque[Ask] = deque()
        self.given = 0
        self._path = path
        self._web = web
        self._most = most
        try:
            self._words = deque(parse_word(word, most) for word in words)
        except ValueError as error:
            raise CommandError(_why(error)) from error
        self._named = sum(word.count for word in self._words)
        self._files = [Lines(file) for file in files]
        self._expanding: Iterator[Ask] = iter(())

    def check(self, arguments: argparse.Namespace) -> None:
        """A CommandError if no word can use an option, or a word needs another. What the lines of files, and
        redirects, can use is not known yet."""
        addresses = [parse_address(next(word.addresses())) for word in self._words]
        listed = bool(self._files)
        http = self._web and (listed or bool(self._path) or any(word.url for word in self._words))
        tls = listed or bool(arguments.starttls) or any(address.is_tls for address in addresses)
        tls = tls or (http and arguments.location)
        for names, used, cure in ((_HTTP, http, _FOR_HTTP), (_TLS, tls, _FOR_TLS)):
            idle = next((name for name in names if getattr(arguments, name)), None)
            if idle is not None and not used:
                raise CommandError(f"--{idle.replace('_', '-')} {cure}")
        asks = arguments.send is not None or arguments.connect_only or self._path is not None
        for word, address in zip(self._words, addresses, strict=True):
            if arguments.starttls and not (address.is_stream and not address.is_tls):
                raise CommandError(
                    f"--starttls needs tcp:// or unix:// instead of {word.url or address.text}"
                )
            if address.is_datagram and not asks:
                raise CommandError(f"{address.text} needs --send TEXT: nobody answers before something came")

    @property
    def ended(self) -> bool:
        """Whether there are no more. Waits for the next line of a pipe."""
        if self.again:
            return False
        ask = self._next(wait=True)
        if ask is not None:
            self.again.append(ask)
        return ask is None

    def add(self, address: str, label: str) -> None:
        """One more."""
        self.again.append(self._made(address, label))

    def estimate(self) -> float | None:
        """The estimated number of targets; None if unknown."""
        size = sum(file.size or 0 for file in self._files)
        taken = sum(file.taken for file in self._files)
        if any(file.size is None and not file.ended for file in self._files):
            return None
        if not self._files or taken >= size:
            return max(self._named, self.given)
        lines = self.given - self._named
        return self._named + lines * size / taken if lines > 0 else None

    def pull(self) -> Iterator[Ask]:
        """Each target, until there are no more, or a pipe has none at present, so that it does not delay
        targets in progress."""
        while (ask := self.again.popleft() if self.again else self._next(wait=False)) is not None:
            yield ask

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()

    def _next(self, wait: bool) -> Ask | None:
        while True:
            ask = next(self._expanding, None)
            if ask is not None:
                return ask
            if self._words:
                self._expanding = self._asks(self._words.popleft())
                continue
            file = next((each for each in self._files if not each.exhausted), None)
            line = None if file is None else file.take(wait=wait)
            if file is None or (line is None and not file.exhausted):
                return None
            if line is not None:
                self._expanding = self._line(file.name, *line)

    def _line(self, name: str, number: int, line: str) -> Iterator[Ask]:
        """What a line stands for; one that is wrong is an outcome, too."""
        text = _COMMENT.sub("", line).strip()
        if not text:
            return
        try:
            if len(line) >= LONGEST:
                raise ValueError(f"the line has more than {LONGEST} bytes: give an address a line")
            if _SECOND.search(text):
                raise ValueError(f"{text!r} is more than one address: give one a line")
            word = parse_word(text, self._most)
        except ValueError as error:
            label = text[:200].encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            yield self._made("", label, problem=f"{name}, line {number}: {_why(error)}")
            return
        yield from self._asks(word)

    def _asks(self, word: Word) -> Iterator[Ask]:
        path = word.path or self._path or ("/" if word.url is not None else None) if self._web else None
        single = word.count == 1
        for address in word.addresses():
            label = address if word.url is None else word.url if single else word.url_for(address)
            yield self._made(address, label, path)

    def _made(self, address: str, label: str, path: str | None = None, problem: str | None = None) -> Ask:
        self.given += 1
        return Ask(self.given - 1, address, label, path, problem)


def _why(error: ValueError) -> str:
    """What it says, with bytes that are no UTF-8 as themselves."""
    return _STRAY.sub(r"\\x\1", str(error))
