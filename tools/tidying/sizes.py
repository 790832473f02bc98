"""Lengths of functions and files, with a ratchet: what is over the limit today may only get shorter."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator

from . import cxx
from .tree import Finding, Tree

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 500
BASELINE = "tools/tidying/baseline.json"


def lengths(tree: Tree) -> dict[str, int]:
    """'path' and 'path::function' with their lines, where over the limit."""
    found: dict[str, int] = {}
    for path in tree.select(".cc", ".h", under="src/"):
        _add(found, path, [(f.name, f.lines) for f in cxx.functions(tree.text(path))])
        lines = tree.text(path).count("\n")
        if lines > FILE_LINES_MAX and not path.endswith("_test.cc"):
            found[path] = lines
    for path in _python_files(tree):
        _add(found, path, _python_functions(tree.text(path)))
    return found


def ratchet(tree: Tree) -> Iterator[Finding]:
    """Functions have at most 70 lines, files 500; the exceptions of the baseline only shrink."""
    baseline: dict[str, int] = json.loads(tree.text(BASELINE)) if tree.exists(BASELINE) else {}
    now = lengths(tree)
    for key, lines in now.items():
        path, _, name = key.partition("::")
        what, limit = (f"{name}()", FUNCTION_LINES_MAX) if name else ("the file", FILE_LINES_MAX)
        if lines > baseline.get(key, limit):
            yield Finding(
                path,
                0,
                f"{what} has {lines} lines, {baseline.get(key, limit)} are allowed",
                "Split it by what it does.",
            )
    for key, lines in baseline.items():
        if now.get(key, 0) < lines:
            yield Finding(
                BASELINE, 0, f"{key} is shorter than {lines} lines now", "Keep the gain: tools/tidy --lower-baseline"
            )


def lower_baseline(tree: Tree) -> None:
    """Writes the lengths of today where they are below the baseline; never adds or raises one."""
    baseline: dict[str, int] = json.loads(tree.text(BASELINE)) if tree.exists(BASELINE) else {}
    now = lengths(tree)
    lowered = {key: min(lines, now[key]) for key, lines in sorted(baseline.items()) if key in now}
    (tree.root / BASELINE).write_text(json.dumps(lowered, indent=2) + "\n", encoding="utf-8")


def _add(found: dict[str, int], path: str, functions: list[tuple[str, int]]) -> None:
    for name, lines in functions:
        if lines > FUNCTION_LINES_MAX:
            found[f"{path}::{name}"] = max(lines, found.get(f"{path}::{name}", 0))


def _python_files(tree: Tree) -> Iterator[str]:
    for path in tree.files:
        if path.endswith(".py") or path in ("tools/tidy", "tools/run_tests"):
            yield path


def _python_functions(text: str) -> list[tuple[str, int]]:
    try:
        nodes = ast.walk(ast.parse(text))
    except SyntaxError:
        return []  # its own tests say so
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [(n.name, (n.end_lineno or n.lineno) - n.lineno + 1) for n in nodes if isinstance(n, kinds)]
