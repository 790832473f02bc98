"""The command line as people use it: what it prints for them, and the spellings that come to mind first."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess

import pytest

from tests.support.server import BINARY, Server

PIPELINE = """
name: shout
steps:
  - {name: talk, run: [sh, code/talk.sh], timeout: 10s}
  - {name: after, run: [sh, code/talk.sh], needs: [talk], timeout: 10s}
"""
LAST_WORDS = "this is the very end of a long line that no table could ever hold " * 3 + "END"
EXIT_FAILED, EXIT_USAGE, EXIT_NOT_FOUND = 1, 2, 3


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("cli")
    with Server(folder / "data") as server:
        env = {k: v for k, v in os.environ.items() if not k.startswith("TIDEMILL_")} | {"TIDEMILL_URL": server.url}

        def run(*words: object, code: int = 0) -> subprocess.CompletedProcess[str]:
            argv = [str(BINARY), *map(str, words)]
            done = subprocess.run(argv, env=env, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == code, f"{argv}: {done.returncode}\n{done.stdout}\n{done.stderr}"
            return done

        run.folder = folder  # type: ignore[attr-defined]
        yield run


@pytest.fixture(scope="module")
def failed_run(cli) -> str:
    """The pipeline 'shout' with one failed run; returns what `run --wait` printed."""
    folder = cli.folder / "shout"
    folder.mkdir()
    (folder / "pipeline.yaml").write_text(PIPELINE)
    (folder / "talk.sh").write_text(f"echo '{LAST_WORDS}'; exit 3\n")
    cli("pipelines", "add", folder)
    return cli("pipelines", "run", "shout", "--wait", code=EXIT_FAILED).stdout


def test_a_failed_step_is_told_in_full_with_its_log(cli, failed_run):
    assert LAST_WORDS.strip() in failed_run
    (words,) = re.findall(r"Its log: tidemill (pipelines log \w+ talk)$", failed_run, re.M)
    assert LAST_WORDS in cli(*words.split()).stdout
    assert "Step 'talk', which it needs, has failed." in failed_run


def test_a_pipeline_is_named_where_one_would(cli, failed_run):
    by_place = cli("pipelines", "runs", "shout").stdout
    assert by_place == cli("pipelines", "runs", "--pipeline", "shout").stdout and "failed" in by_place
    assert cli("pipelines", "runs", "other").stdout == ""
    assert "Name one" in cli("pipelines", "runs", "shout", "--pipeline", "other", code=EXIT_USAGE).stderr
    shown = cli("pipelines", "show", "shout").stdout
    assert (
        re.search(r"^pipeline +shout$", shown, re.M)
        and "\n  name: shout\n" in shown
        and "tidemill pipelines runs shout" in shown
    )
    run = by_place.splitlines()[1].split()[0]
    assert LAST_WORDS.strip() in cli("pipelines", "show", run).stdout
    assert json.loads(cli("pipelines", "show", run, "--json").stdout)["state"] == "failed"
    assert "shoot" in cli("pipelines", "show", "shoot", code=EXIT_NOT_FOUND).stderr


def test_a_link_in_a_pipeline_folder_is_named_with_the_remedy(cli):
    folder = cli.folder / "linked"
    folder.mkdir()
    (folder / "pipeline.yaml").write_text(PIPELINE)
    (folder / "talk.sh").symlink_to("/etc/hostname")
    said = cli("pipelines", "add", folder, code=EXIT_USAGE).stderr
    assert f"'{folder}/talk.sh' is a symbolic link" in said and "cp -rL" in said
    (folder / "talk.sh").unlink()
    (folder / "more").symlink_to("/etc")
    assert f"'{folder}/more' is a symbolic link" in cli("pipelines", "add", folder, code=EXIT_USAGE).stderr


def test_a_file_that_is_there_already_adds_nothing(cli):
    data = cli.folder / "wine.csv"
    data.write_text("id,colour\n1,white\n2,red\n")
    cli("datasets", "create", "wine")
    assert "Version 1 of wine: 2 rows" in cli("datasets", "add", "wine", data).stdout
    assert (
        cli("datasets", "add", "wine", data).stdout == "Nothing was added: version 1 of wine holds this file already.\n"
    )
    assert json.loads(cli("datasets", "add", "wine", data, "--json").stdout)["number"] == 1
    shown = cli("datasets", "show", "wine", 1).stdout
    assert re.search(r"^schema\n  NAME    TYPE\n  id      integer\n  colour  text$", shown, re.M), shown
    assert "{" not in shown
    assert "the path must be a whole number from 1, not '0'" in cli("datasets", "show", "wine", 0, code=1).stderr


def test_a_rule_that_can_never_hold_is_refused_at_once(cli):
    rules = cli.folder / "rules.json"
    rules.write_text(
        '{"rules": [{"kind": "not_null", "column": "a"}, {"kind": "pattern", "column": "a", "pattern": "("}]}'
    )
    said = cli("datasets", "create", "odd", "--file", rules, code=EXIT_FAILED).stderr
    assert "rules[1]" in said and "'('" in said


def test_a_question_to_no_deployment_fails_as_every_verb_does(cli):
    question = cli.folder / "one.json"
    question.write_text('{"inputs": []}')
    said = cli("predictions", "send", "nowhere", question, code=EXIT_NOT_FOUND).stderr
    assert said.startswith("tidemill: ") and "{" not in said and "nowhere" in said
    assert len(said.splitlines()) == 2, "message and remedy"


def test_an_empty_list_is_none_and_no_heading(cli):
    done = cli("triggers", "list")
    assert (done.stdout, done.stderr) == ("", "(none)\n")


@pytest.mark.parametrize(
    ("flag", "value", "words"),
    [
        ("--port", "99999", "--port: '99999' is not a whole number from 0 to 65535"),
        ("--port", "http", "from 0 to 65535"),
        ("--python", "/nope", "--python: '/nope' is not a program that can be run"),
        ("--python", "/etc", "'/etc' is not a program"),
        ("--python", "no-such-python", "no program 'no-such-python' in PATH"),
    ],
)
def test_the_server_refuses_what_it_could_not_use(tmp_path: pathlib.Path, flag: str, value: str, words: str):
    argv = [str(BINARY), "server", "--data", str(tmp_path / "data"), flag, value]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == EXIT_USAGE and words in done.stderr, done.stderr
    assert not (tmp_path / "data").exists()
