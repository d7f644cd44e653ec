"""The engine that backends/README.md writes keeps the contract it teaches."""

from __future__ import annotations

import re
from pathlib import Path

_README = Path(__file__).parents[2] / "backends" / "README.md"
_EXAMPLES = dict(
    re.findall(
        r"<!-- example: (\w+) -->\n```python\n(.*?)```", _README.read_text(encoding="utf-8"), re.DOTALL
    )
)

for _name in ("engine", "contract"):
    exec(compile(_EXAMPLES[_name], f"{_README.name} ({_name})", "exec"))


def test_both_examples_were_run() -> None:
    assert {"PlainPollEngine", "TestPlainPoll"} <= set(globals())
