"""The targets of `fetch`: from the command line and from files, lazily, and those of redirects."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence

from .asking import Ask
from .common import CommandError
from .lines import LONGEST, Lines
from .words import Word, parse_word

_COMMENT = re.compile(r"(?:^|\s)#.*", re.DOTALL)
_SECOND = re.compile(r"\s\S+://")


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
            raise CommandError(str(error)) from error
        self._named = sum(word.count for word in self._words)
        self._files = [Lines(file) for file in files]
        self._expanding: Iterator[Ask] = iter(())

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
            yield self._made("", text[:200], problem=f"{name}, line {number}: {error}")
            return
        yield from self._asks(word)

    def _asks(self, word: Word) -> Iterator[Ask]:
        path = word.path or self._path or ("/" if word.url is not None else None) if self._web else None
        single = word.count == 1
        for address in word.addresses():
            label = word.url if single and word.url is not None else address
            yield self._made(address, label, path)

    def _made(self, address: str, label: str, path: str | None = None, problem: str | None = None) -> Ask:
        self.given += 1
        return Ask(self.given - 1, address, label, path, problem)
