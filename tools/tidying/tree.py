"""The source tree as the checks see it: files, rooms, and what src/ORDER and the CMake files say of them."""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
import re
from collections.abc import Iterator

from . import cxx

SKIPPED_FOLDERS = {".git", "node_modules", "dist", "coverage", "__pycache__", ".pytest_cache", ".ruff_cache"}


def is_test(path: str) -> bool:
    return path.endswith(("_test.cc", "_fuzz.cc", "_test.h"))


@dataclasses.dataclass(frozen=True)
class Finding:
    """One broken rule: where, what, and what to do."""

    path: str
    line: int
    message: str
    remedy: str

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}" if self.line else self.path
        return f"{where}: {self.message}\n    -> {self.remedy}"


@dataclasses.dataclass(frozen=True)
class Room:
    path: str  # "flow/runs"
    rank: int  # its line in ORDER
    deps: tuple[str, ...]
    test_deps: tuple[str, ...]
    public: tuple[str, ...]  # headers for other rooms beyond the usual three
    tested_by: tuple[str, ...]  # where its tests are if not beside the code
    exists: bool

    @property
    def noun(self) -> str:
        return self.path.rsplit("/", 1)[-1]


class Tree:
    """Reads files once. Paths are relative to the root, with slashes."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        self._texts: dict[str, str] = {}

    @functools.cached_property
    def files(self) -> list[str]:
        found = []
        for folder, folders, names in os.walk(self.root):
            folders[:] = sorted(
                f
                for f in folders
                if f not in SKIPPED_FOLDERS and not (folder == str(self.root) and f.startswith("build"))
            )
            here = pathlib.Path(folder).relative_to(self.root)
            found += [(here / name).as_posix() for name in sorted(names)]
        return found

    def exists(self, path: str) -> bool:
        return (self.root / path).exists()

    def text(self, path: str) -> str:
        if path not in self._texts:
            self._texts[path] = (self.root / path).read_text(encoding="utf-8", errors="replace")
        return self._texts[path]

    def select(self, *suffixes: str, under: str = "") -> Iterator[str]:
        return (f for f in self.files if f.endswith(suffixes) and f.startswith(under))

    @functools.cached_property
    def sources(self) -> list[str]:
        return list(self.select(".cc", ".h", under="src/"))

    @functools.cached_property
    def test_headers(self) -> set[str]:
        """Headers that only tests include: they are for every room's tests, and may need the tests' definitions."""
        users: dict[str, list[str]] = {}
        for path in self.sources:
            for _, name in cxx.includes(self.text(path)):
                users.setdefault(f"src/{name}", []).append(path)
        found = {path for path, by in users.items() if path.endswith(".h") and all(is_test(user) for user in by)}
        while True:  # and what only those include
            more = {p for p, by in users.items() if all(is_test(u) or u in found for u in by)} - found
            if not more:
                return {path for path in found if not self.exists(path.removesuffix(".h") + ".cc")}
            found |= more

    @functools.cached_property
    def rooms(self) -> dict[str, Room]:
        lines = self.text("src/ORDER").splitlines() if self.exists("src/ORDER") else []
        names = [line.strip() for line in lines if re.match(r"[a-z]", line)]
        return {name: self._room(name, rank) for rank, name in enumerate(names)}

    def _room(self, name: str, rank: int) -> Room:
        path = f"src/{name}/CMakeLists.txt"
        words = _cmake_arguments(self.text(path), "tidemill_room") if self.exists(path) else {}
        lists = (words.get(key, ()) for key in ("DEPS", "TEST_DEPS", "PUBLIC", "TESTED_BY"))
        return Room(name, rank, *lists, exists=any(f.startswith(f"src/{name}/") for f in self.files))

    def room_of(self, path: str) -> Room | None:
        """The room that a file, or an include written from src, lies in; the longest name wins."""
        inner = path.removeprefix("src/")
        names = [name for name in self.rooms if inner.startswith(name + "/")]
        return self.rooms[max(names, key=len)] if names else None


def _cmake_arguments(text: str, function: str) -> dict[str, tuple[str, ...]]:
    match = re.search(function + r"\s*\(([^)]*)\)", re.sub(r"#[^\n]*", "", text))
    arguments: dict[str, list[str]] = {}
    keyword = ""
    for word in match.group(1).split()[1:] if match else []:
        if word.isupper() or re.fullmatch(r"[A-Z_]+", word):
            keyword = word
            arguments.setdefault(keyword, [])
        else:
            arguments.setdefault(keyword, []).append(word)
    return {key: tuple(words) for key, words in arguments.items()}
