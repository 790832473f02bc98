"""Every header compiles alone."""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import os
import pathlib
import subprocess
from collections.abc import Iterator

from . import cxx
from .tree import Finding, Tree

CACHE = "build/.tidy-headers.json"


def compile_alone(tree: Tree) -> Iterator[Finding]:
    """Headers that no .cc of the same name includes first are compiled; results are kept by content."""
    compiler = os.environ.get("CXX", "g++")
    cache = _read_cache(tree)
    alone = (path for path in tree.select(".h", under="src/") if path not in tree.test_headers)
    wanted = {path: _digest(tree, path) for path in alone if not _proved(tree, path)}
    todo = [path for path, digest in wanted.items() if digest not in cache]
    with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        for path, error in zip(todo, pool.map(lambda path: _compile(tree, compiler, path), todo), strict=True):
            if error:
                yield Finding(path, 0, f"does not compile alone: {error}", "Include what it uses.")
            else:
                cache.add(wanted[path])
    (tree.root / CACHE).parent.mkdir(exist_ok=True)
    (tree.root / CACHE).write_text(json.dumps(sorted(cache & set(wanted.values()))), encoding="utf-8")


def _proved(tree: Tree, path: str) -> bool:
    source = path.removesuffix(".h") + ".cc"
    if not tree.exists(source):
        return False
    first = next(iter(cxx.includes(tree.text(source))), (0, ""))
    return first[1] == path.removeprefix("src/")


def _digest(tree: Tree, path: str) -> str:
    """Hash over the header and all of ours that it includes, directly or not."""
    seen: set[str] = set()
    todo = [path]
    while todo:
        current = todo.pop()
        if current in seen or not tree.exists(current):
            continue
        seen.add(current)
        todo += [f"src/{name}" for _, name in cxx.includes(tree.text(current))]
    digest = hashlib.sha256()
    for name in sorted(seen):
        digest.update(name.encode() + b"\0" + tree.text(name).encode() + b"\0")
    return digest.hexdigest()


def _compile(tree: Tree, compiler: str, path: str) -> str:
    """Returns the first error, or ''."""
    deps = pathlib.Path(os.environ.get("TIDEMILL_DEPS") or tree.root / "build/deps")
    folders = [tree.root / "src", tree.root / "build/generated", deps / "include"]
    command = [compiler, "-std=c++23", "-fsyntax-only", "-x", "c++", "-w", *(f"-I{folder}" for folder in folders), "-"]
    code = f'#include "{path.removeprefix("src/")}"\n'
    done = subprocess.run(command, input=code, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return ""
    errors = [line for line in done.stderr.splitlines() if "error:" in line]
    return errors[0] if errors else f"{compiler} ended with {done.returncode}"


def _read_cache(tree: Tree) -> set[str]:
    try:
        return set(json.loads((tree.root / CACHE).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return set()
