"""The declarations (.pxd) say of each class what its source (.py) says: the same base, fields and methods."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "evsockets"
DECLARATIONS = sorted(PACKAGE.rglob("*.pxd"))

# What is in no slot of a class without __slots__, and may be declared all the same.
OF_EVERY_CLASS = {"__dict__", "__weakref__"}

Parameters = list[str]  # names, with a `=` after one that has a default


@dataclass
class Declared:
    """What one file says of a class, or of the module's own names and functions."""

    base: str | None = None
    fields: set[str] = field(default_factory=set)
    slotted: bool = True
    methods: dict[str, Parameters] = field(default_factory=dict)


def lines_of(text: str) -> Iterator[str]:
    """The lines of a declaration, without comments and empty ones, continued ones joined."""
    held = ""
    for line in text.splitlines():
        line = held + re.sub(r"\s*#.*", "", line).rstrip()
        if line.endswith("\\") or line.count("(") > line.count(")"):
            held = line.rstrip("\\") + " "
            continue
        held = ""
        if line.strip():
            yield line


def declared(text: str) -> dict[str, Declared]:
    """The classes of a .pxd by name; what belongs to the module under the name ""."""
    found = {"": Declared()}
    current = found[""]
    for line in lines_of(text):
        if not line.startswith(" "):
            current = found[""]
        statement = line.strip()
        if statement.startswith("@") or re.match(r"(from \S+ )?c?import\b|pass$|cdef class \w+$", statement):
            continue
        if re.fullmatch(r'cdef extern from \*:|ctypedef bint \w+ "unsigned char"', statement):
            continue  # a truth value of one byte
        if match := re.fullmatch(r"cdef class (\w+)(?:\(([\w.]*)\))?(?: \[.*\])?:(?: pass)?", statement):
            current = found[match[1]] = Declared(match[2] or None)
        elif match := re.match(r"c(?:p)?def\b[^(]*?(\w+)\((.*)\)[^()]*$", statement):
            given = [part.strip() for part in match[2].split(",") if part.strip()]
            current.methods[match[1]] = [
                re.sub(r"\s*=.*", "", part).split()[-1].strip("*&") + ("=" if "=" in part else "")
                for part in given
            ]
        elif match := re.fullmatch(r"cdef ([^:]+)", statement):
            current.fields |= {part.split()[-1].strip("*") for part in match[1].split(",")}
        else:
            raise AssertionError(f"this test does not understand: {statement}")
    return found


def parameters(function: ast.FunctionDef) -> Parameters:
    given = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
    without = len(given) - len(function.args.defaults)
    return [name if number < without else f"{name}=" for number, name in enumerate(given)]


def slots_of(node: ast.ClassDef) -> set[str] | None:
    for statement in node.body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__slots__":
            value = ast.literal_eval(statement.value)
            return {value} if isinstance(value, str) else set(value)
    return None


def set_by(function: ast.FunctionDef) -> set[str]:
    """The attributes of its first argument that a function sets."""
    this = function.args.args[0].arg
    return {
        node.attr
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
        if isinstance(node.value, ast.Name) and node.value.id == this
    }


def set_from_the_start(methods: dict[str, ast.FunctionDef]) -> set[str]:
    """The attributes that `__init__` sets, and the methods of its own class that it calls."""
    if "__init__" not in methods:
        return set()
    begun = methods["__init__"]
    called = {
        node.func.attr
        for node in ast.walk(begun)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        if isinstance(node.func.value, ast.Name) and node.func.value.id == begun.args.args[0].arg
    }
    return set_by(begun).union(*(set_by(methods[name]) for name in called & methods.keys()))


def sourced(text: str) -> dict[str, Declared]:
    """The same of a .py."""
    tree = ast.parse(text)
    functions = {node.name: parameters(node) for node in tree.body if isinstance(node, ast.FunctionDef)}
    own = {
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    found = {"": Declared(None, own, methods=functions)}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            methods = {inner.name: inner for inner in node.body if isinstance(inner, ast.FunctionDef)}
            slots = slots_of(node)
            fields = slots
            if fields is None:
                fields = set_from_the_start(methods)
            bases = [ast.unparse(base) for base in node.bases]
            found[node.name] = Declared(
                bases[0] if bases else None,
                fields,
                slots is not None,
                {name: parameters(method) for name, method in methods.items()},
            )
    return found


def differences(declaration: str, source: str) -> Iterator[str]:
    """What a .pxd and its .py do not say alike."""
    written = sourced(source)
    for name, here in declared(declaration).items():
        if name not in written:
            yield f"{name}: the source has no such class"
            continue
        there = written[name]
        if name and here.base != there.base:
            yield f"{name}: the base is declared as {here.base}, and is {there.base}"
        ours = here.fields if there.slotted else here.fields - OF_EVERY_CLASS
        theirs = there.fields if name else here.fields & there.fields  # a module's need not be declared
        yield from (f"{name}.{one}: declared, and no field of the source" for one in sorted(ours - theirs))
        yield from (f"{name}.{one}: a field that is not declared" for one in sorted(theirs - ours))
        for heir, what in written.items():
            hidden = here.fields & set(what.methods) if name and what.base == name else ()
            yield from (f"{heir}.{one}: a method over a field of {name}" for one in sorted(hidden))
        for method, arguments in here.methods.items():
            if method not in there.methods:
                yield f"{name}.{method}(): declared, and not in the source"
            elif arguments != there.methods[method]:
                yield f"{name}.{method}(): declared with {arguments}, has {there.methods[method]}"


@pytest.mark.parametrize("path", DECLARATIONS, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_declarations_are_what_the_sources_say(path: Path) -> None:
    source = path.with_suffix(".py")
    if not source.exists():
        assert path.with_suffix(".pyx").exists(), f"{path.name} declares nothing"
        return
    assert list(differences(path.read_text(), source.read_text())) == []


def whole_modules(path: Path) -> dict[str, Path]:
    """The modules that a .pxd cimports as a whole, by name, and where what is declared of them stands."""
    found = {}
    cimported = r"^from evsockets\.?(\S*) cimport (.+)$"
    for package, names in re.findall(cimported, path.read_text(), re.MULTILINE):
        for name in names.split(", "):
            declaration = PACKAGE.joinpath(*package.split("."), f"{name}.pxd")
            if declaration.exists():
                found[name] = declaration
    return found


@pytest.mark.parametrize("path", DECLARATIONS, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_of_a_module_cimported_as_a_whole_declared_functions_are_called_and_nothing_else(path: Path) -> None:
    """Anything else is a NameError when it is reached, in the compiled build only."""
    modules = whole_modules(path)
    source = path.with_suffix(".py")
    if not source.exists():
        return
    tree = ast.parse(source.read_text())
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            known = declared(modules[node.value.id].read_text())[""].methods
            name = ast.unparse(node)
            assert id(node) in called, f"{path.name} cimports the module of {name}, which is handed on"
            assert node.attr in known, f"{path.name} cimports the module of {name}, which is not declared"


DECLARATION = """
cimport cython
from evsockets.made_up cimport Base

cdef object READ
cdef double now()  # a function of the module

@cython.final
cdef class Point(Base):
    cdef public double x, y
    cdef object __weakref__
    @cython.locals(other=Point)
    cpdef Point moved(self, double x,
                      double y=*)
    cdef bint _is_left(self, Point other) except -1

cdef class Plain:
    cdef public list kept
    cdef dict __dict__
"""
SOURCE = """
READ = 1
def now(): ...

class Point(Base):
    __slots__ = ("x", "y", "__weakref__")
    def __init__(self, x, y): ...
    def moved(self, x, y=0.0): ...
    def _is_left(self, other): ...
    def shown(self): ...

class Plain:
    def __init__(self):
        self.kept: list = []
"""


def test_a_declaration_that_agrees() -> None:
    assert list(differences(DECLARATION, SOURCE)) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("pxd", "double x, y\n", "double x, y, z\n", "Point.z: declared, and no field of the source"),
        ("py", '"x", "y",', '"x", "y", "z",', "Point.z: a field that is not declared"),
        ("py", "kept: list = []", "kept = self.more = []", "Plain.more: a field that is not declared"),
        ("pxd", "public list kept", "public list kept, more", "Plain.more: declared, and no field"),
        ("py", '"__weakref__"', "", "Point.__weakref__: declared, and no field of the source"),
        ("py", "def moved(self, x, y=0.0)", "def move(self)", "Point.moved(): declared, and not in the"),
        ("py", "y=0.0", "y", "Point.moved(): declared with ['self', 'x', 'y='], has ['self', 'x', 'y']"),
        ("pxd", "_is_left(self, Point other)", "_is_left(self)", "Point._is_left(): declared with ['self']"),
        ("py", "Point(Base)", "Point(Other)", "Point: the base is declared as Base, and is Other"),
        ("py", "class Plain:", "class Heir(Point):\n    def x(self): ...\nclass Plain:", "Heir.x: a method"),
        ("py", "class Plain", "class Plainer", "Plain: the source has no such class"),
        ("py", "READ = 1", "", ".READ: declared, and no field of the source"),
        ("py", "def now()", "def then()", ".now(): declared, and not in the source"),
    ],
)
def test_what_one_of_the_two_says_alone(file: str, old: str, new: str, says: str) -> None:
    texts = {"pxd": DECLARATION, "py": SOURCE}
    assert old in texts[file]
    texts[file] = texts[file].replace(old, new)
    (found,) = differences(texts["pxd"], texts["py"])
    assert found.startswith(says)


def test_a_line_that_is_not_understood_is_no_silent_pass() -> None:
    with pytest.raises(AssertionError, match="does not understand: ctypedef int count"):
        declared("ctypedef int count\n")
