"""What may not stand in the text: banned calls, pasted SQL, leftovers, long lines."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator

from . import cxx
from .tree import Finding, Tree

LINE_CHARS_MAX = 120

# (pattern, how the paths start or end where it is allowed, what to use instead)
_SHELL = "jobs/executor.h: argv, never a shell string"
BANNED: list[tuple[str, tuple[str, ...], str]] = [
    (r"(?<![\w.>:])(?:std::)?system\s*\(", (), _SHELL),
    (r"\bpopen\s*\(", (), _SHELL),
    (
        r"(?<![\w.>])(?:::)?(?:v?fork|posix_spawnp?|exec[lv][pe]{0,2})\s*\(",
        ("src/jobs/", "src/cli/", "_test.cc", "_test.h"),
        _SHELL,
    ),
    (r"\b(?:strcpy|strcat|sprintf|vsprintf|gets|strncpy|strncat)\s*\(", (), "std::string, fmt::format"),
    (r"\b(?:std::)?s?rand\s*\(", (), "a seeded std::mt19937_64, or for secrets libsodium's randombytes_buf"),
    (
        r"\bstd::(?:basic_)?regex\b",
        (),
        "a scan by hand: std::regex recurses per character, long input ends the process",
    ),
    (r"\b(?:atoi|atol|atof|strto(?:d|l|ul|ll|ull))\s*\(", (), "std::from_chars, which reports errors"),
    (r"\bstd::sto(?:i|l|ll|ul|ull|f|d)\s*\(", ("_test.cc",), "std::from_chars, which does not throw"),
    (r"(?<![\w_])(?:std::)?(?:localtime|gmtime|asctime|ctime|strtok)\s*\(", (), "the _r variant, or base/clock.h"),
    (r"\bsystem_clock::now\s*\(", ("src/base/", "_test.cc"), "the Clock that was handed in: time is injected"),
    (r"\b(?:tmpnam|mktemp|tempnam)\s*\(", (), "base/files.h"),
    (r"\.detach\s*\(\s*\)", (), "std::jthread, and join it"),
    (
        r"\b(?:setenv|putenv|unsetenv)\s*\(",
        ("_test.cc",),
        "an explicit environment for the child: ours is shared by threads",
    ),
    (r"(?<![\w_])assert\s*\(", (), "fail(Code::kInternal, ...): assert is gone in the release build"),
    (r"#\s*include\s*<iostream>", ("src/cli/", "src/server/"), "base/log.h"),
]

_SQL_START = re.compile(r"\s*(?:SELECT|INSERT|UPDATE|DELETE|REPLACE|CREATE|DROP|ALTER|COPY|WITH)\s", re.IGNORECASE)
_SQL_WORD = re.compile(
    r"\s*(?:SELECT .* FROM|INSERT (?:OR \w+ )?INTO|UPDATE \w+ SET|DELETE FROM|COPY \(|WITH \w+ AS)\b",
    re.IGNORECASE | re.DOTALL,
)
_SQL_REASON = re.compile(r"//\s*sql:\s*\S")
_ALLOWED = re.compile(r"//\s*allowed:\s*\S")
_LEFTOVER = re.compile(r"\b(?:FIXME|XXX|TODO|HACK)\b|^(?:<{7}|>{7}) ", re.MULTILINE)
_CODE = (".cc", ".h", ".py", ".ts", ".tsx", ".cmake", ".mjs", ".sql", ".sh", ".css", "CMakeLists.txt", ".test")


def banned_calls(tree: Tree) -> Iterator[Finding]:
    """Calls that are unsafe or bypass the one place made for them; a real exception says why: // allowed: reason."""
    for path in tree.sources:
        lines, raw = cxx.blank(tree.text(path)).splitlines(), tree.text(path).splitlines()
        for pattern, allowed, instead in BANNED:
            if path.startswith(allowed) or path.endswith(allowed):
                continue
            for number, line in enumerate(lines, 1):
                match = re.search(pattern, line)
                if match and not any(_ALLOWED.search(near) for near in raw[max(0, number - 2) : number]):
                    yield Finding(path, number, f"{match.group(0).strip().rstrip('( ')} is banned", f"Use {instead}.")


def pasted_sql(tree: Tree) -> Iterator[Finding]:
    """SQL is a constant with bound values. Where a name must be pasted (a file, a column), say why: // sql: reason."""
    for path in tree.select(".cc", ".h", under="src/"):
        text = tree.text(path)
        lines = text.splitlines()
        for literal in cxx.literals(text):
            if not (_SQL_START.match(literal.text) and _SQL_WORD.match(literal.text)):
                continue
            before = text[max(0, literal.start - 40) : literal.start]
            after = text[literal.end : literal.end + 40]
            if not (re.search(r"format(?:_to)?\s*\([^;\"]*$", before) or re.match(r"\s*\+", after)):
                continue
            if any(_SQL_REASON.search(line) for line in lines[max(0, literal.line - 4) : literal.line]):
                continue
            yield Finding(
                path,
                literal.line,
                "SQL is put together from pieces",
                "Make it a named Query constant and bind the values; a name that cannot be bound is quoted "
                "by one function, with '// sql: why' above.",
            )


def leftovers(tree: Tree) -> Iterator[Finding]:
    """No notes to oneself and no conflict markers stay."""
    for path in tree.select(*_CODE, ".md", ".yaml", ".yml"):
        if path.startswith("tools/tidying/") or path.startswith("tools/tests/"):
            continue
        for match in _LEFTOVER.finditer(tree.text(path)):
            line = tree.text(path).count("\n", 0, match.start()) + 1
            yield Finding(path, line, f"{match.group(0).strip()} was left behind", "Do it now, or drop the note.")


def long_lines(tree: Tree) -> Iterator[Finding]:
    """No line of code is longer than 120 characters."""
    for path in tree.select(*_CODE):
        if path.startswith("web/src/api/") or path.endswith(".test"):  # generated; JSON as data
            continue
        for number, line in enumerate(tree.text(path).splitlines(), 1):
            if len(line) > LINE_CHARS_MAX and "http" not in line:
                yield Finding(
                    path,
                    number,
                    f"has {len(line)} characters, {LINE_CHARS_MAX} are allowed",
                    "Break it; for C++: clang-format -i.",
                )


def formatted(tree: Tree) -> Iterator[Finding]:
    """C++ is formatted by clang-format with the rules of .clang-format."""
    if shutil.which("clang-format") is None:
        yield Finding(".clang-format", 0, "clang-format is missing", "tools/setup apt")
        return
    if not tree.sources:
        return
    command = ["clang-format", "--dry-run", "--ferror-limit=1", *(str(tree.root / path) for path in tree.sources)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    told: set[str] = set()
    for match in re.finditer(
        r"^(.+?):(\d+):\d+: (?:warning|error): code should be clang-formatted", done.stderr, re.MULTILINE
    ):
        path = match.group(1).removeprefix(f"{tree.root}/")
        if path not in told:
            told.add(path)
            yield Finding(path, int(match.group(2)), "is not formatted", "tools/format, or tools/format --all")
