"""Directions between rooms, and what belongs to a room."""

from __future__ import annotations

import re
from collections.abc import Iterator

from . import cxx
from .tree import Finding, Room, Tree, is_test

_NO_EXCEPTION = (
    "Move the code, or let the downstream room tell by an event: "
    "if ORDER seems to need an exception, the missing thing is an event."
)


def order(tree: Tree) -> Iterator[Finding]:
    """Every room of src stands in ORDER once, and what ORDER names exists."""
    lines = [line.strip() for line in tree.text("src/ORDER").splitlines() if re.match(r"[a-z]", line)]
    for number, line in enumerate(lines, 1):
        if line in lines[: number - 1]:
            yield Finding("src/ORDER", number, f"{line} stands twice", "Keep one line.")
        elif not tree.rooms[line].exists:
            yield Finding("src/ORDER", number, f"there is no room src/{line}", "Write it, or take the line out.")
    for path in tree.sources:
        if tree.room_of(path) is None:
            yield Finding(
                path, 0, "lies in no room of src/ORDER", "Move it into a room, or add its folder to src/ORDER."
            )
    for room in tree.rooms.values():
        if room.exists and not tree.exists(f"src/{room.path}/CMakeLists.txt"):
            yield Finding(
                f"src/{room.path}", 0, "has no CMakeLists.txt", f"Write: tidemill_room({room.path} DEPS base ...)"
            )


def dependencies(tree: Tree) -> Iterator[Finding]:
    """DEPS name only rooms above in ORDER, and only what is included. No cycle can pass: ORDER is a line."""
    for room in tree.rooms.values():
        path = f"src/{room.path}/CMakeLists.txt"
        used = {target.path for _, _, target in _cross_includes(tree, room)}
        for dep in room.deps + room.test_deps:
            target = tree.rooms.get(dep)
            if target is None:
                yield Finding(path, 0, f"depends on {dep}, which is no room of src/ORDER", "Correct the name.")
            elif target.rank >= room.rank and dep in room.deps:
                yield Finding(
                    path, 0, f"{room.path} depends on {dep}, which stands below it in src/ORDER", _NO_EXCEPTION
                )
            elif dep not in used and dep in room.deps:
                yield Finding(
                    path, 0, f"{room.path} names {dep} in its dependencies but includes nothing of it", "Take it out."
                )


def includes(tree: Tree) -> Iterator[Finding]:
    """Includes are written from src and lie within the declared dependencies."""
    told: set[tuple[Room, Room, bool]] = set()  # once is enough
    for room in tree.rooms.values():
        for path, line, target in _cross_includes(tree, room):
            allowed = room.deps + (room.test_deps if is_test(path) else ())
            told_before = (room, target, is_test(path)) in told
            if target.path in allowed or told_before or not tree.exists(f"src/{room.path}/CMakeLists.txt"):
                continue
            told.add((room, target, is_test(path)))
            if target.rank > room.rank and not is_test(path):
                yield Finding(
                    path, line, f"{room.path} includes {target.path}, which stands below it in src/ORDER", _NO_EXCEPTION
                )
            else:
                key = "TEST_DEPS" if is_test(path) else "DEPS"
                yield Finding(
                    path,
                    line,
                    f"{room.path} includes {target.path} without depending on it",
                    f"Add {target.path} to {key} in src/{room.path}/CMakeLists.txt, or do without.",
                )
    for path in tree.sources:
        for line, name in cxx.includes(tree.text(path)):
            if not name.endswith(".sql.h") and not tree.exists(f"src/{name}"):
                yield Finding(
                    path, line, f'"{name}" is not a file of src', 'Write includes from src, such as "base/result.h".'
                )


def private_headers(tree: Tree) -> Iterator[Finding]:
    """Of a flow room others see only types.h, events.h, <noun>.h and what its CMakeLists.txt calls PUBLIC."""
    for room in tree.rooms.values():
        for path, line, target in _cross_includes(tree, room):
            include = _include_at(tree, path, line)
            name = include.rsplit("/", 1)[-1]
            if is_test(path) and f"src/{include}" in tree.test_headers:
                continue
            public = {"types.h", "events.h", f"{target.noun}.h", *target.public}
            if target.path.startswith("flow/") and name not in public:
                yield Finding(
                    path,
                    line,
                    f"{name} is private to {target.path}",
                    f"Use {target.noun}.h; if {name} is a noun of its own for others, "
                    f"say PUBLIC {name} in its CMakeLists.txt.",
                )


def beast(tree: Tree) -> Iterator[Finding]:
    """Boost.Beast, which takes 15 s a file to compile, stays in api/http."""
    pattern = re.compile(r"#\s*include\s*<boost/beast")
    for path in tree.sources:
        if path.startswith("src/api/http/"):
            continue
        for number, text in enumerate(tree.text(path).splitlines(), 1):
            if pattern.search(text):
                yield Finding(
                    path, number, "includes Boost.Beast", "Use the plain Request and Response of api/http/message.h."
                )


def kit(tree: Tree) -> Iterator[Finding]:
    """Every room has its README.md and tests; a flow room its types.h and <noun>.h."""
    for room in tree.rooms.values():
        if not room.exists:
            continue
        here = f"src/{room.path}"
        if not tree.exists(f"{here}/README.md"):
            yield Finding(
                here, 0, "has no README.md", "Write a page: purpose, invariants, tables owned, events emitted."
            )
        outside = room.tested_by and all(tree.exists(folder) for folder in room.tested_by)
        if not outside and not any(f.endswith("_test.cc") for f in _files_of(tree, room)):
            remedy = (
                "Add <subject>_test.cc beside the code, or name in TESTED_BY the folder that tests it from outside."
            )
            yield Finding(here, 0, "has no test", remedy)
        for name in ("types.h", f"{room.noun}.h") if room.path.startswith("flow/") else ():
            if not tree.exists(f"{here}/{name}"):
                yield Finding(
                    here,
                    0,
                    f"has no {name}",
                    "types.h: plain structs and ids; <noun>.h: the room's API, without JSON and HTTP.",
                )


def nouns(tree: Tree) -> Iterator[Finding]:
    """The nouns of flow are spelled the same in every place where they belong."""
    places = ("src/api/rest/{}.cc", "src/cli/{}.cc", "docs/reference/{}.md", "tests/api/{}.test")
    for room in tree.rooms.values():
        for place in places if room.path.startswith("flow/") else ():
            path = place.format(room.noun)
            if not tree.exists(path):
                yield Finding(
                    path,
                    0,
                    f"is missing: the noun {room.noun} belongs there too",
                    "Write it; who knows the noun knows every path.",
                )


def orphans(tree: Tree) -> Iterator[Finding]:
    """Every header is included by somebody."""
    included = {name for path in tree.sources for _, name in cxx.includes(tree.text(path))}
    for path in tree.select(".h", under="src/"):
        if path.removeprefix("src/") not in included:
            yield Finding(path, 0, "is included by nobody", "Use it or delete it.")


def first_include(tree: Tree) -> Iterator[Finding]:
    """x.cc includes x.h before anything else, which proves that x.h compiles alone."""
    for path in tree.select(".cc", under="src/"):
        header = path.removesuffix(".cc") + ".h"
        if not tree.exists(header):
            continue
        match = re.search(
            r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', cxx.blank(tree.text(path), keep_strings=True), re.MULTILINE
        )
        if not match or match.group(1) != header.removeprefix("src/"):
            yield Finding(
                path, 0, f'does not include "{header.removeprefix("src/")}" first', "Put its own header first."
            )


def _files_of(tree: Tree, room: Room) -> list[str]:
    return [path for path in tree.sources if tree.room_of(path) == room]


def _include_at(tree: Tree, path: str, line: int) -> str:
    return next(name for number, name in cxx.includes(tree.text(path)) if number == line)


def _cross_includes(tree: Tree, room: Room) -> Iterator[tuple[str, int, Room]]:
    for path in _files_of(tree, room):
        for line, name in cxx.includes(tree.text(path)):
            target = tree.room_of(name)
            if target is not None and target != room:
                yield path, line, target
