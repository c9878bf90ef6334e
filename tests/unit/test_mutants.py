"""The list of mutants: each still fits the code and names a test, and no promise is without one."""

import pytest

from tests.mutants import ROOT, Mutant, listed

MUTANTS = listed()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.breaks[:60])
def test_each_fits_the_code_and_names_a_test(mutant: Mutant) -> None:
    assert (ROOT / mutant.file).read_text().count(mutant.find) == 1, "STALE: it breaks nothing any more."
    assert mutant.find != mutant.replace
    path, *names = mutant.test.partition("[")[0].split("::")
    told = (ROOT / path).read_text()
    assert all(f"def {name}(" in told or f"class {name}" in told for name in names), mutant.test


def test_every_promise_has_one() -> None:
    assert {f"P{number}" for number in range(1, 11)} == {mutant.promise for mutant in MUTANTS}
