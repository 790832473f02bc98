"""A real S3 server with one bucket, for tests: versitygw, which tools/setup builds.

with S3(folder) as s3:
    Server(data, flags=s3.flags("team"), env=s3.env)
"""

from __future__ import annotations

import os
import pathlib
import socket
import subprocess
import time

SOURCE = pathlib.Path(os.environ.get("TIDEMILL_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
PROGRAM = os.environ.get("TIDEMILL_S3_SERVER", str(SOURCE / "build/tools/s3server/versitygw"))
START_S_MAX = 20.0


class S3:
    """The server; what its bucket holds are files beneath `bucket`."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.bucket = folder / "buckets" / "mill"
        self.bucket.mkdir(parents=True)
        self._log = folder / "s3.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def env(self) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": "tester",
            "AWS_SECRET_ACCESS_KEY": "of tests",
            "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{self.port}",
        }

    def flags(self, prefix: str) -> list[str]:
        return ["--blobs", f"s3://mill/{prefix}"]

    def __enter__(self) -> S3:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Starts and waits; on the same port after a stop."""
        for _ in range(3):  # another process may take the port that was free
            port = self.port or _free_port()
            argv = [PROGRAM, "--access", "tester", "--secret", "of tests", "--port", f"127.0.0.1:{port}", "--quiet"]
            with self._log.open("ab") as log:
                self._process = subprocess.Popen([*argv, "posix", str(self.bucket.parent)], stdout=log, stderr=log)
            if _answers(port, self._process):
                self.port = port
                return
            self.stop()
        raise RuntimeError(f"the S3 server did not start:\n{self._log.read_text()[-2000:]}")

    def stop(self) -> None:
        """SIGKILL."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _answers(port: int, process: subprocess.Popen[bytes]) -> bool:
    limit = time.monotonic() + START_S_MAX
    while time.monotonic() < limit and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return True
        except OSError:
            time.sleep(0.05)
    return False
