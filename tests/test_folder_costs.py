"""`make test` says what each folder of tests cost."""

import re

import pytest
from folder_costs import folder_of


def test_a_folder_is_named_no_deeper_than_below_tests():
    assert folder_of("tests/test_cli.py::test_it") == "tests"
    assert folder_of("tests/prior/test_data.py::test_it[a/b::c]") == "tests/prior"
    assert folder_of("tests/shape/tets/test_grid.py::test_it") == "tests/shape"
    assert folder_of("test_alone.py::test_it") == "."


def test_each_folder_is_summed_with_what_its_fixtures_take(pytester: pytest.Pytester):
    slow, skipped = pytester.mkpydir("tests") / "slow", "import pytest\n\n@pytest.mark.skip(reason='no')\ndef test_two():\n    pass\n"
    slow.mkdir()
    (slow / "test_slow.py").write_text(
        "import time\nimport pytest\n\n@pytest.fixture\ndef wait():\n    time.sleep(0.2)\n    yield\n    time.sleep(0.2)\n\n"
        "def test_one(wait):\n    time.sleep(0.2)\n\n" + skipped.replace("import pytest\n", "")
    )
    (slow.parent / "test_fast.py").write_text("def test_it():\n    pass\n")
    result = pytester.runpytest_inprocess("-p", "folder_costs", "--import-mode=importlib", "-q")
    rows = [re.fullmatch(r" *([\d.]+) s +(\d+) tests  (.+)", line) for line in result.outlines]
    found = {row[3]: (float(row[1]), int(row[2])) for row in rows if row}
    assert list(found) == ["tests/slow", "tests", "in all"]
    assert found["tests/slow"][0] >= 0.6
    assert [count for _, count in found.values()] == [2, 1, 3]


def test_nothing_is_printed_where_no_test_ran(pytester: pytest.Pytester):
    pytester.makepyfile("")
    result = pytester.runpytest_inprocess("-p", "folder_costs", "--import-mode=importlib")
    result.stdout.no_fnmatch_line("*seconds by folder*")
