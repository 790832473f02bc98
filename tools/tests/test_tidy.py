"""Each check of tools/tidy finds what it is for, and only that."""

from __future__ import annotations

import json
import pathlib
import shutil
import subprocess
import sys

import pytest
from tidying import cxx, headers, rooms, sizes, text
from tidying.tree import Tree

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def make(tmp_path):
    """Writes a small clean tree, then the files given over it; None deletes one."""

    def build(files: dict[str, str | None] | None = None) -> Tree:
        clean: dict[str, str | None] = {
            "src/ORDER": "base\nflow/runs\nflow/models\n",
            "src/base/CMakeLists.txt": "tidemill_room(base)\n",
            "src/base/README.md": "base\n",
            "src/base/text.h": "#pragma once\nint length();\n",
            "src/base/text.cc": '#include "base/text.h"\nint length() { return 1; }\n',
            "src/base/text_test.cc": '#include "base/text.h"\n',
        }
        for room, deps in (("runs", "base"), ("models", "base flow/runs")):
            here = f"src/flow/{room}"
            clean |= {
                f"{here}/CMakeLists.txt": f"tidemill_room(flow/{room} DEPS {deps})\n",
                f"{here}/README.md": room,
                f"{here}/types.h": "#pragma once\n",
                f"{here}/{room}.h": f'#pragma once\n#include "base/text.h"\n#include "flow/{room}/types.h"\n',
                f"{here}/{room}_test.cc": f'#include "flow/{room}/{room}.h"\n',
            }
        clean["src/flow/models/models.cc"] = '#include "flow/models/models.h"\n\n#include "flow/runs/runs.h"\n'
        for path, content in (clean | (files or {})).items():
            if content is not None:
                (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / path).write_text(content)
        return Tree(tmp_path)

    return build


def found(check, tree: Tree) -> list[str]:
    return [f"{f.path}: {f.message}" for f in check(tree)]


CLEAN = (
    rooms.order,
    rooms.dependencies,
    rooms.includes,
    rooms.private_headers,
    rooms.beast,
    rooms.kit,
    rooms.orphans,
    rooms.first_include,
    sizes.ratchet,
    text.banned_calls,
    text.pasted_sql,
    text.leftovers,
    text.long_lines,
)


@pytest.mark.parametrize("check", CLEAN, ids=lambda check: check.__name__)
def test_a_clean_tree_has_no_finding(make, check):
    assert found(check, make()) == []


@pytest.mark.parametrize(
    ("check", "path", "content", "message"),
    [
        (rooms.order, "src/ORDER", "base\nflow/runs\nflow/models\nbase\n", "stands twice"),
        (rooms.order, "src/ORDER", "base\nflow/runs\nflow/models\nflow/ghosts\n", "no room src/flow/ghosts"),
        (rooms.order, "src/lost/a.cc", "int a;\n", "lies in no room"),
        (rooms.order, "src/flow/runs/CMakeLists.txt", None, "has no CMakeLists.txt"),
        (
            rooms.dependencies,
            "src/flow/runs/CMakeLists.txt",
            "tidemill_room(flow/runs DEPS base flow/models)",
            "stands below it",
        ),
        (rooms.dependencies, "src/base/CMakeLists.txt", "tidemill_room(base DEPS base2)", "no room of src/ORDER"),
        (
            rooms.dependencies,
            "src/flow/models/models.cc",
            '#include "flow/models/models.h"\n',
            "includes nothing of it",
        ),
        (rooms.includes, "src/flow/runs/a.cc", '#include "flow/models/types.h"\n', "stands below it"),
        (
            rooms.includes,
            "src/flow/models/CMakeLists.txt",
            "tidemill_room(flow/models DEPS base)",
            "without depending on it",
        ),
        (rooms.includes, "src/base/a.cc", '#include "text.h"\n', "is not a file of src"),
        (
            rooms.private_headers,
            "src/flow/models/b.cc",
            '#include "flow/runs/store.h"\n',
            "store.h is private to flow/runs",
        ),
        (rooms.beast, "src/base/a.cc", "#include <boost/beast/http.hpp>\n", "includes Boost.Beast"),
        (rooms.kit, "src/base/README.md", None, "has no README.md"),
        (rooms.kit, "src/flow/runs/runs_test.cc", None, "has no test"),
        (rooms.kit, "src/flow/runs/types.h", None, "has no types.h"),
        (rooms.orphans, "src/base/lonely.h", "#pragma once\n", "is included by nobody"),
        (rooms.first_include, "src/base/text.cc", '#include <string>\n\n#include "base/text.h"\n', "first"),
        (text.banned_calls, "src/base/a.cc", 'void f() { system("ls"); }\n', "system is banned"),
        (text.banned_calls, "src/base/a.cc", "auto f() { return std::system(x); }\n", "std::system is banned"),
        (text.banned_calls, "src/base/a.cc", "FILE* f = popen(x, y);\n", "popen is banned"),
        (text.banned_calls, "src/base/a.cc", "int x = std::stoi(s);\n", "std::stoi is banned"),
        (text.banned_calls, "src/base/a.cc", "std::regex pattern;\n", "std::regex is banned"),
        (
            text.banned_calls,
            "src/flow/runs/a.cc",
            "auto t = std::chrono::system_clock::now();\n",
            "system_clock::now is banned",
        ),
        (text.pasted_sql, "src/base/a.cc", 'auto q = "SELECT a FROM t WHERE b=" + name;\n', "put together"),
        (text.pasted_sql, "src/base/a.cc", 'auto q = fmt::format("DELETE FROM t WHERE b={}", name);\n', "put together"),
        (text.leftovers, "src/base/a.cc", "// TODO: later\n", "TODO was left behind"),
        (text.leftovers, "README.md", "<<<<<<< HEAD\n", "was left behind"),
        (text.long_lines, "src/base/a.cc", "// " + "x" * 118 + "\n", "has 121 characters"),
    ],
)
def test_each_check_finds_what_it_is_for(make, check, path, content, message):
    findings = found(check, make({path: content}))
    assert len(findings) == 1, findings
    assert message in findings[0]


@pytest.mark.parametrize(
    ("check", "path", "content"),
    [
        (text.banned_calls, "src/base/a.cc", '// system("ls")\nauto s = "popen(x)"; auto t = R"(system(x))";\n'),
        (text.banned_calls, "src/base/a.cc", "void f(System& s) { s.system(1); file_system (2); my_strand(3); }\n"),
        (text.banned_calls, "src/base/clock.cc", "auto t = std::chrono::system_clock::now();\n"),
        (text.banned_calls, "src/jobs/a.cc", "int p = fork();\n"),
        (text.banned_calls, "src/base/a.cc", "thread.detach();  // allowed: it ends with the process\n"),
        (text.banned_calls, "src/base/a_test.cc", "int x = std::stoi(s);\n"),
        (text.pasted_sql, "src/base/a.cc", 'constexpr Query kGet{"runs.get", "SELECT a FROM t WHERE b = ?1"};\n'),
        (text.pasted_sql, "src/base/a.cc", 'auto m = "Select a file" + name;\n'),
        (
            text.pasted_sql,
            "src/base/a.cc",
            '// sql: quoted by identifier()\nauto q = "SELECT a FROM " + identifier(t);\n',
        ),
        (text.long_lines, "src/base/a.cc", "// " + "x" * 117 + "\n"),
        (text.leftovers, "src/base/a.cc", "int todo_count; // the XXXL size\n"),
        (rooms.private_headers, "src/flow/models/b.cc", '#include "flow/runs/types.h"\n'),
        (rooms.beast, "src/api/http/a.cc", "#include <boost/beast/http.hpp>\n"),
    ],
)
def test_what_is_allowed_is_not_found(make, check, path, content):
    assert found(check, make({path: content})) == []


def test_a_test_may_include_rooms_below_when_it_says_so(make):
    files = {"src/base/text_test.cc": '#include "flow/runs/runs.h"\n'}
    assert len(found(rooms.includes, make(files))) == 1
    files["src/base/CMakeLists.txt"] = "tidemill_room(base TEST_DEPS flow/runs)\n"
    assert found(rooms.includes, make(files)) == []
    assert found(rooms.dependencies, make(files)) == []


def test_a_header_called_public_may_be_included(make):
    files = {
        "src/flow/runs/curves.h": "#pragma once\n",
        "src/flow/models/b.cc": '#include "flow/runs/curves.h"\n',
        "src/flow/runs/CMakeLists.txt": "tidemill_room(flow/runs DEPS base PUBLIC curves.h)\n",
    }
    assert found(rooms.private_headers, make(files)) == []


def test_a_header_for_tests_only_is_for_the_tests_of_every_room(make):
    files = {
        "src/flow/runs/fixture.h": "#pragma once\nDEFINED_BY_THE_TEST x;\n",
        "src/flow/models/models_test.cc": '#include "flow/models/models.h"\n#include "flow/runs/fixture.h"\n',
    }
    tree = make(files)
    assert found(rooms.private_headers, tree) == []
    assert found(headers.compile_alone, tree) == []
    files["src/flow/models/b.cc"] = '#include "flow/runs/fixture.h"\n'
    assert len(found(rooms.private_headers, make(files))) == 2


def test_unformatted_code_is_found(make):
    style = {".clang-format": "BasedOnStyle: Google\n"}
    assert found(text.formatted, make(style)) == []
    assert len(found(text.formatted, make(style | {"src/base/a.cc": "int  a;\nint  b;\n"}))) == 1


def test_a_room_may_be_tested_from_outside(make):
    files = {"src/base/text_test.cc": None, "src/base/CMakeLists.txt": "tidemill_room(base TESTED_BY tests/words)\n"}
    assert len(found(rooms.kit, make(files))) == 1  # the folder is not there
    files["tests/words/test_words.py"] = "\n"
    assert found(rooms.kit, make(files)) == []


def test_nouns_are_wanted_in_every_place(make):
    missing = found(rooms.nouns, make({"src/api/rest/runs.cc": "", "docs/reference/models.md": ""}))
    assert len(missing) == 6
    assert any(line.startswith("tests/api/runs.test") for line in missing)


# ---------------------------------------------------------------- reading C++

SAMPLE = """\
#include <x>
#define BIG(a) { a
namespace tidemill::runs {
struct Point { int x = 0; int y{1}; };
class Store {
 public:
  explicit Store(int a) : a_{a}, b_(f({1, 2})) {
    start();
  }
  bool operator==(const Store&) const = default;
  int get() const noexcept { return a_; }
};
BOOST_DESCRIBE_STRUCT(Point, (), (x, y))
class Access final : public Base {
  void check();
};
constexpr std::array<int, 2> kTable = {
    1,
    2,
};
const auto kHandler = [](int x) {
  return x;
};
template <class T>
Result<T> parse(std::string_view text,
                int limit) {
  const char* s = "}{";  // }
  for (int i = 0; i < 3; ++i) {
    if (i) { go([&] { return '}'; }); }
  }
}
TEST(Store, Counts) {
  EXPECT_EQ(1'000, 1000);
}
}  // namespace
"""


def test_functions_are_found_with_their_lengths():
    assert [(f.name, f.line, f.lines) for f in cxx.functions(SAMPLE)] == [
        ("Store", 7, 3),
        ("get", 11, 1),
        ("parse", 24, 8),
        ("Store.Counts", 32, 3),
    ]


def test_blanking_keeps_lines_and_offsets():
    blanked = cxx.blank(SAMPLE)
    assert len(blanked) == len(SAMPLE)
    assert blanked.count("\n") == SAMPLE.count("\n")
    assert "}{" not in blanked


def test_raw_strings_and_escapes_are_literals():
    code = 'auto a = R"sql(SELECT "x")sql"; auto b = "q\\"r"; char c = \'"\'; // "no"\n'
    assert [literal.text for literal in cxx.literals(code)] == ['SELECT "x"', 'q\\"r']


# ---------------------------------------------------------------- the ratchet


def function_of(lines: int) -> str:
    return "int f() {\n" + "  go();\n" * (lines - 2) + "}\n"


def test_a_function_at_the_limit_passes_and_one_past_it_fails(make):
    assert found(sizes.ratchet, make({"src/base/a.cc": function_of(70)})) == []
    (finding,) = found(sizes.ratchet, make({"src/base/a.cc": function_of(71)}))
    assert "f() has 71 lines, 70 are allowed" in finding


def test_the_baseline_allows_no_more_than_it_says_and_only_shrinks(make):
    baseline = json.dumps({"src/base/a.cc::f": 80})
    assert found(sizes.ratchet, make({sizes.BASELINE: baseline, "src/base/a.cc": function_of(80)})) == []
    assert len(found(sizes.ratchet, make({sizes.BASELINE: baseline, "src/base/a.cc": function_of(81)}))) == 1
    tree = make({sizes.BASELINE: baseline, "src/base/a.cc": function_of(75)})
    (finding,) = found(sizes.ratchet, tree)
    assert "is shorter" in finding
    sizes.lower_baseline(tree)
    assert json.loads((tree.root / sizes.BASELINE).read_text()) == {"src/base/a.cc::f": 75}


def test_lowering_never_raises_and_drops_what_is_gone(make):
    tree = make(
        {sizes.BASELINE: json.dumps({"src/base/a.cc::f": 72, "src/gone.cc::g": 90}), "src/base/a.cc": function_of(75)}
    )
    sizes.lower_baseline(tree)
    assert json.loads((tree.root / sizes.BASELINE).read_text()) == {"src/base/a.cc::f": 72}


def test_python_functions_are_measured_too(make):
    code = "def long():\n" + "    go()\n" * 70
    assert "long() has 71 lines" in found(sizes.ratchet, make({"python/a.py": code}))[0]


# ---------------------------------------------------------------- headers


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_a_header_that_needs_another_is_found_once_and_remembered(make):
    tree = make(
        {"src/base/needy.h": "#pragma once\nstd::string name();\n", "src/base/fine.h": "#pragma once\nint f();\n"}
    )
    (finding,) = found(headers.compile_alone, tree)
    assert finding.startswith("src/base/needy.h: does not compile alone")
    remembered = json.loads((tree.root / headers.CACHE).read_text())
    (tree.root / "src/base/needy.h").write_text("#pragma once\n#include <string>\nstd::string name();\n")
    assert found(headers.compile_alone, Tree(tree.root)) == []
    assert len(json.loads((tree.root / headers.CACHE).read_text())) == len(remembered) + 1


# ---------------------------------------------------------------- the program


def test_the_program_prints_the_remedy_and_fails(make):
    tree = make({"src/base/lonely.h": "#pragma once\n"})
    command = [sys.executable, str(ROOT / "tools/tidy"), "--root", str(tree.root), "orphans", "beast"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "-> Use it or delete it." in done.stdout
    assert done.stdout.endswith("tidy: 1 findings in 1 of 2 checks\n")


def test_an_unknown_check_is_a_usage_error():
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools/tidy"), "nonsense"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "unknown check nonsense" in done.stderr
