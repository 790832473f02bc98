"""Just enough C++ reading for the checks: comments and strings blanked out, includes, function bodies."""

from __future__ import annotations

import dataclasses
import re

_TOKEN = re.compile(
    r'R"(?P<tag>[^()\\ ]{0,16})\((?P<raw>.*?)\)(?P=tag)"'  # raw string
    r'|"(?P<text>(?:\\.|[^"\\\n])*)"'
    r"|(?<![0-9A-Za-z_])'(?:\\.|[^'\\\n])+'"  # a character, not the separator of 1'000
    r"|//(?:\\\n|[^\n])*"
    r"|/\*.*?\*/",
    re.DOTALL,
)
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+"([^"]+)"', re.MULTILINE)
_TYPE_HEAD = re.compile(r"\b(?:class|struct|union|enum|enum\s+class|namespace)\s+[\w:]+(?:\s+final)?\s*(?::[^()]*)?$")
_NOT_A_FUNCTION = re.compile(
    r"^\s*(?:\[\[.*?\]\]\s*)?(?:export\s+|inline\s+)?(?:namespace|enum|union|class|struct|extern\s*$)\b"
)
_ACCESS = re.compile(r"\s*(?:(?:public|private|protected)\s*:\s*)*")
_LAMBDA = re.compile(r"\[[^\[\]]*\]\s*(?:\([^()]*\))?\s*(?:mutable\s*)?(?:->\s*[\w:<>,&* ]+)?\s*$")


@dataclasses.dataclass(frozen=True)
class Literal:
    line: int
    text: str
    start: int  # offsets in the file
    end: int


@dataclasses.dataclass(frozen=True)
class Function:
    name: str
    line: int
    lines: int


def blank(text: str, keep_strings: bool = False) -> str:
    """The text with comments, and unless kept string contents, as spaces; same length, same lines."""

    def replace(match: re.Match[str]) -> str:
        found = match.group(0)
        if found.startswith(("//", "/*")):
            return re.sub(r"[^\n]", " ", found)
        if keep_strings or len(found) < 2:
            return found
        return found[0] + re.sub(r"[^\n]", " ", found[1:-1]) + found[-1]

    return _TOKEN.sub(replace, text)


def literals(text: str) -> list[Literal]:
    """All string literals, in order."""
    found = []
    for match in _TOKEN.finditer(text):
        content = match.group("raw") if match.group("raw") is not None else match.group("text")
        if content is not None:
            line = text.count("\n", 0, match.start()) + 1
            found.append(Literal(line, content, match.start(), match.end()))
    return found


def includes(text: str) -> list[tuple[int, str]]:
    """The quoted includes with their lines."""
    code = blank(text, keep_strings=True)
    return [(code.count("\n", 0, m.start(1)) + 1, m.group(1)) for m in _INCLUDE.finditer(code)]


def functions(text: str) -> list[Function]:
    """The function definitions with a body, from the first line of the signature to the closing brace."""
    code = _without_preprocessor(blank(text))
    found: list[Function] = []
    scopes: list[tuple[str, int, str]] = []  # (kind, offset of the signature, name)
    since = 0  # where the text that introduces the next brace starts
    for match in re.finditer(r"[{};]", code):
        at, char = match.start(), match.group(0)
        inside_body = any(kind == "function" for kind, _, _ in scopes)
        head = code[since:at]
        if char == "{":
            if not inside_body and _is_initialiser(head, code, at):
                scopes.append(("initialiser", since, ""))
                continue  # the head goes on after it: a constructor's member list
            kind = "block" if inside_body else _kind_of(head)
            scopes.append((kind, since, _name_of(head)))
            since = at + 1
        elif char == "}" and scopes:
            kind, start, name = scopes.pop()
            if kind == "initialiser":
                since = start
                continue
            if kind == "function":
                first = _ACCESS.match(code, start).end()  # type: ignore[union-attr]  # matches the empty text too
                line = code.count("\n", 0, first) + 1
                found.append(Function(name, line, code.count("\n", 0, at) + 2 - line))
            since = at + 1
        elif char == ";" and not (scopes and scopes[-1][0] == "initialiser"):
            since = at + 1
    return found


def _without_preprocessor(code: str) -> str:
    return re.sub(r"^[ \t]*#(?:\\\n|[^\n])*", lambda m: re.sub(r"[^\n]", " ", m.group(0)), code, flags=re.MULTILINE)


def _is_initialiser(head: str, code: str, at: int) -> bool:
    # `X::X(int a) : a_{a}, b_{b} {`: a brace right behind a name, in the member list of a constructor; or one inside
    # parentheses: `void f(Options o = {})`.
    if head.count("(") > head.count(")"):
        return True
    return bool(re.search(r"\)\s*(?:noexcept\s*)?:(?!:)", head)) and bool(re.match(r"[\w>]", code[at - 1]))


def _kind_of(head: str) -> str:
    head = re.sub(r"\b(?:public|private|protected)\s*:(?!:)", " ", head)
    if _NOT_A_FUNCTION.match(re.sub(r"^\s*template\s*<.*?>\s*(?=class|struct|union)", "", head, flags=re.DOTALL)):
        return "scope"
    if _TYPE_HEAD.search(head):  # behind a macro without a semicolon
        return "scope"
    if "(" not in head or re.search(r"(?<![=!<>])=(?!=)(?!\s*(?:default|delete))[^()]*$", head) or _LAMBDA.search(head):
        return "value"
    return "function"


def _name_of(head: str) -> str:
    match = re.search(r"([~\w:]+|operator\s*\S+?)\s*\(([^()]*)", head)
    if not match:
        return ""
    name = match.group(1).strip(":")
    if name in ("TEST", "TEST_F", "TEST_P", "TYPED_TEST", "RC_GTEST_PROP"):
        return ".".join(part.strip() for part in match.group(2).split(",")[:2])
    return name
