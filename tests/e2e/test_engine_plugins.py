"""Engines as installed distributions: found by their metadata, the broken ones named, the others usable."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from support.command import environment, run_command, run_python

BROKEN = {
    "unimportable": ("import a_library_nobody_has", "No module named 'a_library_nobody_has'"),
    "leaving": ("raise SystemExit('needs a newer kernel')", "needs a newer kernel"),
    "syntax": ("def (", "SyntaxError"),
    "empty": ("", "Plugin"),
    "lacking": (
        "class Plugin:\n    def watch(self, fd, interest, token): ...\n    def close(self): ...",
        "lacks poll",
    ),
    "future": ("class Plugin(SelectorsEngine): contract = 99", "contract 99"),
    "absent": (
        "class Plugin(SelectorsEngine):\n"
        "    @classmethod\n"
        "    def available(cls):\n"
        "        return 'libquick is not here; apt install libquick'",
        "apt install libquick",
    ),
}
WORKING = "class Plugin(SelectorsEngine):\n    name = 'working'"
HEADER = "from evsockets.engines import Engine, SelectorsEngine\n"
HINTS = ("unimportable", "leaving", "syntax", "empty", "lacking", "future")


@pytest.fixture
def site(tmp_path: Path) -> str:
    """A directory of installed distributions, one of which works; the value of PYTHONPATH with it."""
    codes = {name: code for name, (code, _) in BROKEN.items()} | {"working": WORKING}
    for name, code in codes.items():
        (tmp_path / f"plugin_{name}.py").write_text(HEADER + code + "\n")
        info = tmp_path / f"evsockets_{name}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: evsockets-{name}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[evsockets.engines]\n{name} = plugin_{name}:Plugin\n")
    return os.pathsep.join([str(tmp_path), environment()["PYTHONPATH"]])


def test_the_list_names_what_is_broken_and_why(site: str) -> None:
    done = run_command("engines", "--json", PYTHONPATH=site)
    assert done.returncode == 0, done.stderr
    found = {entry["name"]: entry for entry in json.loads(done.stdout)["engines"]}
    for name, (_, complaint) in BROKEN.items():
        assert not found[name]["usable"] and complaint in found[name]["problem"], name
        assert f"evsockets-{name}" in found[name]["problem"] and found[name]["version"] == "1.2"
    for name in HINTS:
        assert f"remove the distribution evsockets-{name}" in found[name]["problem"]
    assert found["working"]["usable"] and found["working:poll"]["usable"] and found["selectors"]["usable"]
    assert found["working"]["version"] == "1.2"


def test_the_table_says_the_same(site: str) -> None:
    done = run_command("engines", PYTHONPATH=site, COLUMNS="300")
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    assert "not usable" in rows["future"] and "contract 99" in rows["future"]
    assert " usable " in rows["working"] and "1.2" in rows["working"]


def test_asked_for_by_name_each_says_why_and_the_rest_goes_on(site: str) -> None:
    code = f"""
        from evsockets import EngineUnavailableError, RequestExecutor
        for name, complaint in {[(name, complaint) for name, (_, complaint) in BROKEN.items()]!r}:
            try:
                RequestExecutor(name)
            except EngineUnavailableError as error:
                assert complaint in str(error) and "evsockets-" + name in str(error), error
            else:
                raise AssertionError(name)
        for name in ("working", "working:poll", "selectors"):
            with RequestExecutor(name) as executor:
                executor.execute_request()
        print("ok")
    """
    result = run_python(code, PYTHONPATH=site)
    assert result.stdout.strip() == "ok", result.stdout + result.stderr


def test_the_environment_may_name_one(site: str) -> None:
    code = "from evsockets import RequestExecutor; print(RequestExecutor().engine.name)"
    answer = run_python(code, PYTHONPATH=site, EVSOCKETS_ENGINE="working")
    assert (answer.returncode, answer.stdout.strip()) == (0, "working"), answer.stderr
    answer = run_python(code, PYTHONPATH=site, EVSOCKETS_ENGINE="future")
    assert answer.returncode == 1
    assert "EVSOCKETS_ENGINE" in answer.stderr and "evsockets-future" in answer.stderr
