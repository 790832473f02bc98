"""What the demo prints: steps, a progress bar, a table."""

from __future__ import annotations

import sys
import time


class Console:
    """Writes for people; a bar only where there is a terminal, else a line every tenth of the way."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._tty = sys.stdout.isatty()
        self._tenth = -1

    def seconds(self) -> float:
        return time.monotonic() - self._begun

    def step(self, title: str, detail: str = "") -> None:
        self.clear()
        print(f"[{self.seconds():6.1f} s] {title}" + (f": {detail}" if detail else ""), flush=True)

    def clear(self) -> None:
        if self._tty:
            print("\r\x1b[K", end="")

    def bar(self, share: float, text: str) -> None:
        if self._tty:
            full = int(share * 30)
            print(
                f"\r\x1b[K[{self.seconds():6.1f} s] {'█' * full}{'░' * (30 - full)} {share:4.0%} {text}",
                end="",
                flush=True,
            )
        elif int(share * 10) != self._tenth:
            self._tenth = int(share * 10)
            print(f"[{self.seconds():6.1f} s] {share:4.0%} {text}", flush=True)

    def table(self, headings: list[str], rows: list[list[str]]) -> None:
        self.clear()
        widths = [max(len(str(row[i])) for row in [headings, *rows]) for i in range(len(headings))]
        for row in [headings, *rows]:
            print("  " + "  ".join(str(cell).ljust(width) for cell, width in zip(row, widths)).rstrip())
