"""Compares an answer with what a case expects: a subset, with wildcards."""

from __future__ import annotations

import fnmatch
import json
import re
from typing import Any

VARIABLE = re.compile(r"\$\{([A-Za-z_]\w*)\}|\$([A-Za-z_]\w*)")
MORE = "..."


class Unknown(Exception):
    """A variable that nothing has captured."""


def substitute(value: Any, variables: dict[str, Any], escape: Any = str) -> Any:
    """Returns `value` with $name and ${name} replaced; a text that is nothing but $name keeps the variable's type."""
    if isinstance(value, dict):
        return {key: substitute(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [substitute(item, variables) for item in value]
    if not isinstance(value, str):
        return value

    def lookup(match: re.Match[str]) -> Any:
        name = match[1] or match[2]
        if name not in variables:
            raise Unknown(
                f"${name} was never captured (did an earlier case fail?); known: {', '.join(variables) or '-'}"
            )
        return variables[name]

    whole = VARIABLE.fullmatch(value)
    if whole:
        return lookup(whole)
    return VARIABLE.sub(lambda match: escape(lookup(match)), value)


def lookup_path(value: Any, path: str) -> Any:
    """Returns what "runs[0].id", "text", "header.x-request-id"-like dotted paths lead to; "." is the whole."""
    if path == ".":
        return value
    for part in re.findall(r"[^.\[\]]+|\[-?\d+\]", path):
        value = value[int(part[1:-1])] if part.startswith("[") else value[part]
    return value


def operator_difference(name: str, operand: Any, got: Any) -> str | None:
    if name == "$near":
        fits = isinstance(got, int | float) and abs(got - operand[0]) <= operand[1]
    elif name in ("$min", "$max"):
        fits = isinstance(got, int | float) and (got >= operand if name == "$min" else got <= operand)
    elif name == "$len":
        fits = isinstance(got, list | str | dict) and len(got) == operand
    elif name == "$has":
        fits = isinstance(got, list) and any(not differences(operand, item) for item in got)
    elif name == "$not":
        fits = bool(differences(operand, got))
    elif name == "$type":
        fits = type(got).__name__ == {"number": "float", "string": "str", "object": "dict", "array": "list"}.get(
            operand, operand
        )
    else:
        return f"unknown operator {name}"
    return None if fits else f"expected {name} {json.dumps(operand, ensure_ascii=False)}, got {shown(got)}"


def shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 400 else text[:400] + " …"


def is_operator(expected: Any) -> bool:
    return isinstance(expected, dict) and len(expected) == 1 and next(iter(expected)).startswith("$")


def differences(expected: Any, got: Any, path: str = "") -> list[str]:
    """Returns one line for each place where `got` lacks what `expected` asks for; none when it fits."""
    here = path or "."
    if expected == "*":
        return []
    if is_operator(expected):
        ((name, operand),) = expected.items()
        trouble = operator_difference(name, operand, got)
        return [f"{here}: {trouble}"] if trouble else []
    if isinstance(expected, dict):
        if not isinstance(got, dict):
            return [f"{here}: expected an object, got {shown(got)}"]
        return [line for key, value in expected.items() for line in field_differences(key, value, got, path)]
    if isinstance(expected, list):
        return list_differences(expected, got, path, here)
    if isinstance(expected, str) and isinstance(got, str) and "*" in expected:
        pattern = expected.replace("[", "[[]").replace("?", "[?]")
        return [] if fnmatch.fnmatchcase(got, pattern) else [f"{here}: expected {shown(expected)}, got {shown(got)}"]
    same = expected == got and isinstance(expected, bool) == isinstance(got, bool)
    return [] if same else [f"{here}: expected {shown(expected)}, got {shown(got)}"]


def field_differences(key: str, value: Any, got: dict[str, Any], path: str) -> list[str]:
    inner = f"{path}.{key}" if path else key
    if is_operator(value) and "$absent" in value:
        return [f"{inner}: expected to be absent, got {shown(got[key])}"] if key in got else []
    if key not in got:
        return [f"{inner}: missing; the object has {', '.join(got) or 'no field'}"]
    return differences(value, got[key], inner)


def list_differences(expected: list[Any], got: Any, path: str, here: str) -> list[str]:
    if not isinstance(got, list):
        return [f"{here}: expected a list, got {shown(got)}"]
    open_ended = bool(expected) and expected[-1] == MORE
    wanted = expected[:-1] if open_ended else expected
    lines = [
        line for i, item in enumerate(wanted) if i < len(got) for line in differences(item, got[i], f"{path}[{i}]")
    ]
    if len(got) < len(wanted) or (len(got) > len(wanted) and not open_ended):
        lines.append(
            f"{here}: expected {len(wanted)}{' or more' if open_ended else ''} items, got {len(got)}: {shown(got)}"
        )
    return lines
