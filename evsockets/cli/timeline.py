"""`--timeline FILE`: the phases of each request, as a picture or a trace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import Timeline
from .asking import Ask
from .common import CommandError

if TYPE_CHECKING:
    from ..core.channel import Channel

HELP = "draw the phases of each: .svg, or .json for Perfetto"


class RequestsTimeline(Timeline):
    """Calls each socket by the label of its request, and knows the file it is for; without one it does
    nothing. A CommandError says that the file cannot be written: better known before the run than after it.
    """

    __slots__ = ("_path",)

    def __init__(self, path: str | None) -> None:
        super().__init__()
        self._path = path
        if path is not None:
            if not path.lower().endswith((".svg", ".json")):
                raise CommandError(f"--timeline: {path} is no picture and no trace: name it .svg or .json")
            try:
                open(path, "ab").close()
            except OSError as error:
                raise self._cannot_write(error) from error

    def _label(self, channel: Channel) -> str:
        mine = channel.metadata.user_context
        return mine.label if isinstance(mine, Ask) else super()._label(channel)

    def save(self) -> None:
        """Write the file."""
        if self._path is not None:
            try:
                (self.trace if self._path.lower().endswith(".json") else self.svg)(self._path)
            except OSError as error:
                raise self._cannot_write(error) from error

    def _cannot_write(self, error: OSError) -> CommandError:
        return CommandError(f"--timeline: cannot write {self._path}: {error.strerror}; give another place")
