"""What comes from outside is pinned, and comes only through the package clients."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPS = ROOT / "tools/deps"
LOCKS = sorted(DEPS.glob("python-*.txt"))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_python_package_has_an_exact_version_and_a_hash(lock):
    text = re.sub(r"#[^\n]*", "", lock.read_text()).replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip()]
    assert lines
    for line in lines:
        assert re.match(r"[A-Za-z0-9._-]+(\[[a-z,]+\])?==[^ ;]+", line), line
        assert "--hash=sha256:" in line, line


@pytest.mark.parametrize("name", ["demo", "bench"])
def test_what_is_asked_for_is_locked(name):
    asked = {
        re.split(r"[\[<>=;# ]", line, maxsplit=1)[0].lower()
        for line in (DEPS / f"python-{name}.in").read_text().splitlines()
        if line and not line.startswith("#")
    }
    locked = set(
        re.findall(r"^([a-z0-9._-]+)(?:\[[a-z,]+\])?==", (DEPS / f"python-{name}.txt").read_text(), re.MULTILINE)
    )
    assert asked <= locked


def test_library_and_python_use_the_same_onnx_runtime():
    versions = {
        re.search(r"^onnxruntime==(\S+)", (DEPS / f"python-{name}.txt").read_text(), re.MULTILINE).group(1)
        for name in ("native", "demo", "bench")
    }
    assert len(versions) == 1
    assert f"libonnxruntime.so.{versions.pop()}" in (DEPS / "natives.sha256").read_text()


def test_web_packages_have_hashes():
    for path in [DEPS / "package-lock.json", ROOT / "web/package-lock.json"]:
        if path.exists():
            packages = json.loads(path.read_text())["packages"]
            assert [name for name, entry in packages.items() if name and "integrity" not in entry] == []


@pytest.mark.parametrize(
    "path",
    [*(path for path in DEPS.rglob("*") if path.is_file()), ROOT / "tools/setup", ROOT / "tools/build"],
    ids=lambda path: path.name,
)
def test_no_address_stands_in_the_tree(path):
    assert not re.search(r"[a-z]+://|\"resolved\"|--(?:extra-)?index-url", path.read_text())


def test_the_native_libraries_are_what_the_sums_say():
    folder = ROOT / "build/deps"
    if not folder.exists():
        pytest.skip("tools/setup has not run here")
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", str(DEPS / "natives.sha256")],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_an_unknown_part_is_refused_with_the_known_ones():
    done = subprocess.run([str(ROOT / "tools/setup"), "nonsense"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "unknown part: nonsense" in done.stderr
    assert "apt natives python web s3server bench" in done.stderr
