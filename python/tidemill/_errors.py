"""What can go wrong, as a tree.

TidemillError
├── WrongInput     the request can never work (400, 413)
├── Refused        nobody is signed in, or the right is missing (401, 403)
├── NotFound       the named thing does not exist (404)
├── Conflict       the name is taken, or somebody else was first (409)
├── GateNotMet     the thing is in a state that forbids this (409)
└── Unreachable    no answer, or the server is busy or going down (429, 503)
"""

from __future__ import annotations

from typing import Any


class TidemillError(Exception):
    """An answer that is not the wanted one. `reason` is a stable key, such as "datasets.rule_broken"."""

    def __init__(
        self,
        message: str,
        *,
        code: str = "internal",
        reason: str = "",
        remedy: str = "",
        status: int = 0,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{message} {remedy}".strip())
        self.message = message
        self.code = code
        self.reason = reason
        self.remedy = remedy
        self.status = status
        self.details = details or {}


class WrongInput(TidemillError):
    pass


class Refused(TidemillError):
    pass


class NotFound(TidemillError):
    pass


class Conflict(TidemillError):
    pass


class GateNotMet(TidemillError):
    pass


class Unreachable(TidemillError):
    pass


_BY_CODE = {
    "invalid_argument": WrongInput,
    "too_large": WrongInput,
    "unauthenticated": Refused,
    "permission_denied": Refused,
    "not_found": NotFound,
    "already_exists": Conflict,
    "conflict": Conflict,
    "failed_precondition": GateNotMet,
    "exhausted": Unreachable,
    "unavailable": Unreachable,
}


def error_from(status: int, answer: Any, text: str) -> TidemillError:
    """Returns the error that an answer with this status stands for; `answer` is its JSON, or None."""
    fields = answer.get("error") if isinstance(answer, dict) else None
    if isinstance(fields, str):  # the Open Inference Protocol answers {"error": "message", "reason": …}
        fields = {"message": fields, "reason": answer.get("reason", "")}
    if not isinstance(fields, dict):
        fields = {"message": f"The server answered {status}: {text[:200]}"}
    code = fields.get("code") or {
        400: "invalid_argument",
        401: "unauthenticated",
        403: "permission_denied",
        404: "not_found",
        409: "conflict",
        413: "too_large",
        429: "exhausted",
        503: "unavailable",
    }.get(status, "internal")
    kind = _BY_CODE.get(code, TidemillError)
    return kind(
        fields.get("message", ""),
        code=code,
        reason=fields.get("reason", ""),
        remedy=fields.get("remedy", ""),
        status=status,
        details=fields.get("details"),
    )
