"""no_sandbox.py mounts,landlock COMMAND...: runs it as where these cannot be had (seccomp(2), x86-64)."""

from __future__ import annotations

import ctypes
import os
import struct
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, FILTER = 38, 22, 2
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
ALLOW, REFUSE = 0x7FFF0000, 0x00050001  # SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO with EPERM
CALLS = {"mounts": 165, "landlock": 444}  # mount, landlock_create_ruleset


def refuse(calls: list[int]) -> None:
    lines = [(LOAD, 0, 0, 0)]
    for at, call in enumerate(calls):
        lines.append((JUMP_IF_EQUAL, len(calls) - at, 0, call))
    lines += [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, REFUSE)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in lines))
    program = ctypes.create_string_buffer(struct.pack("HP", len(lines), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in [(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, FILTER, ctypes.byref(program), 0, 0)]:
        if libc.prctl(*arguments) != 0:
            raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    refuse([CALLS[way] for way in sys.argv[1].split(",")])
    os.execv(sys.argv[2], sys.argv[2:])
