"""The engines and the picker that the documentation writes keep the contracts it teaches."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from evsockets.testing import EngineContract, PickerContract

ROOT = Path(__file__).parents[2]


def page(name: str) -> dict[str, Any]:
    """What the classes of a page's examples are, run without the conversation that shows them at work."""
    text = (ROOT / name).read_text(encoding="utf-8")
    blocks = re.findall(r"^```(?:python|py)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    for block in blocks:
        code = re.sub(r"^from my_package import .*\n", "", block, flags=re.MULTILINE)
        # The conversation begins after the class, with the first line at the margin that is no class.
        code = re.split(r"\n\n\n(?!class)", code)[0] + "\n"
        if "\nclass " in code:
            exec(compile(code, name, "exec"), names)
    return names


README = page("backends/README.md")
ENGINE = page("docs/howto/engine.md")
PICKER = page("docs/howto/picker.md")


class TestReadme(README["TestPlainPoll"]):  # type: ignore[misc]
    pass


class TestEngineHowto(ENGINE["TestPollEngine"]):  # type: ignore[misc]
    pass


class TestPickerHowto(PICKER["TestChunkPicker"]):  # type: ignore[misc]
    pass


def test_they_are_what_they_say() -> None:
    assert issubclass(TestReadme, EngineContract)
    assert issubclass(TestEngineHowto, EngineContract)
    assert issubclass(TestPickerHowto, PickerContract)
    assert TestReadme.make_engine(self=None).name == "plainpoll"
    assert TestEngineHowto.make_engine(self=None).name == "plain-poll"
