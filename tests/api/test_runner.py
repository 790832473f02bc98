"""The runner itself: what it must not let pass."""

from __future__ import annotations

import pathlib

import pytest
from runner.match import Unknown, differences, lookup_path, substitute
from runner.parse import ParseError, Parser
from runner.run import events_fit


def parse(text: str):
    return Parser(pathlib.Path("x.test"), text).parse()


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": "*"}, {"a": None}),
        ("tm_*", "tm_123"),
        ("*[x]*", "tags[x]."),
        ([{"a": 1}, "..."], [{"a": 1, "b": 2}, {"c": 3}]),
        ([], []),
        ({"$near": [0.75, 0.01]}, 0.7549),
        ({"a": {"$absent": True}}, {"b": 1}),
        ({"$has": {"a": 1}}, [{"b": 2}, {"a": 1, "c": 3}]),
        ({"$not": "x"}, "y"),
        ({"$len": 2}, [1, 2]),
        (1, 1.0),
    ],
)
def test_what_fits(expected, got):
    assert differences(expected, got) == []


@pytest.mark.parametrize(
    ("expected", "got", "place"),
    [
        ({"a": 1}, {"a": 2}, "a"),
        ({"a": "*"}, {}, "a"),
        ({"a": {"b": [1, {"c": 2}]}}, {"a": {"b": [1, {"c": 3}]}}, "a.b[1].c"),
        ([], [1], "."),
        ([1, 2], [1], "."),
        ([1, 2, "..."], [1], "."),
        ({"$near": [0.75, 0.01]}, 0.77, "."),
        ({"$near": [0.75, 0.01]}, "0.75", "."),
        ({"a": {"$absent": True}}, {"a": None}, "a"),
        ({"$has": 3}, [1, 2], "."),
        ({"$unheard": 1}, 1, "."),
        (True, 1, "."),
        ("tm_*", "xtm_", "."),
        ({"a": 1}, [1], "."),
        (None, 0, "."),
    ],
)
def test_what_does_not_fit_is_named_by_its_place(expected, got, place):
    assert [line.split(":")[0] for line in differences(expected, got)] == [place]


def test_variables_keep_their_type_and_unknown_ones_are_named():
    assert substitute({"a": "$n", "b": "n=${n}!", "c": {"$min": "$n"}}, {"n": 3}) == {
        "a": 3,
        "b": "n=3!",
        "c": {"$min": 3},
    }
    with pytest.raises(Unknown, match=r"\$m"):
        substitute("x$m", {"n": 3})


def test_paths_lead_into_objects_and_lists():
    assert lookup_path({"runs": [{"id": 7}]}, "runs[0].id") == 7
    assert lookup_path([1, 2], "[-1]") == 2
    assert lookup_path(5, ".") == 5


@pytest.mark.parametrize(
    ("expected", "kinds", "fits"),
    [
        ([], [], True),
        ([], ["a"], False),
        (["a", "b"], ["a", "b"], True),
        (["a", "b"], ["b", "a"], False),
        (["a"], ["a", "a"], False),
        (["a", "..."], ["x", "a", "y"], True),
        (["b", "a", "..."], ["a", "b"], False),
        (["datasets.*"], ["datasets.created"], True),
    ],
)
def test_events_fit_in_order(expected, kinds, fits):
    assert events_fit(expected, kinds) is fits


def test_a_step_is_read_whole():
    file = parse(
        "server: --set a.b=1\nactors: admin, modeller\n== one\n# said\nPOST /x?y=1 as modeller\nheader A: b\n"
        '{"k":\n [1]}\n-> 201 within 2.5 s\n{"id": "*"}\n$id = id\nevents within 3 s: a.b, ...\n\nkill\nGET /y\n'
    )
    assert (file.flags, file.actors) == (["--set", "a.b=1"], ["admin", "modeller"])
    post, kill, get = file.cases[0].steps
    assert (post.method, post.path, post.actor, post.headers, post.body) == (
        "POST",
        "/x?y=1",
        "modeller",
        [("A", "b")],
        {"k": [1]},
    )
    assert (post.expected.status, post.expected.within_s, post.expected.captures) == ("201", 2.5, [("id", "id")])
    assert (post.expected.events, post.expected.events_within_s) == (["a.b", "..."], 3.0)
    assert (kill.command, get.expected) == ("kill", None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "== empty\n",
        "== a\nGET /x\n== a\nGET /y\n",
        "GET /x\n",
        "== a\n-> 200\n",
        "== a\nGET /x\n-> 200\n-> 201\n",
        '== a\nPOST /x\n{"a": \n-> 200\n',
        "== a\nGET /x\n-> 200\nevent: a\n",
        "== a\nPOST /x\n<<<\nnever closed\n",
    ],
)
def test_mistakes_in_a_file_are_refused(text):
    with pytest.raises(ParseError, match="x.test:"):
        parse(text)
