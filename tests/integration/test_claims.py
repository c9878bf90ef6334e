"""Taking up what is owed reads what it takes, however much others are owed."""

import pytest
from django.db import transaction

from sync import claims, reconcile
from tests import fakes

OWED, PEOPLE = 6_000, 300
OWE = (
    "INSERT INTO sync_debt (person_id, targets, revision, code)"
    " SELECT n, '{therapist_profiles}', n, 'uncopied' FROM generate_series(1, %s) AS n"
)


def _read() -> int:
    """Give how many rows of debt this session has read since it last told the statistics."""
    ((read,),) = fakes.sql(
        "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'sync_debt'"
    )
    return int(read)


@pytest.mark.parametrize("was_vacuumed_while_empty", [False, True])
def test_p9_a_batch_does_not_read_what_everybody_is_owed(
    transactional_db: None, was_vacuumed_while_empty: bool
) -> None:
    # As after one large statement: the planner knows the table as it was before.
    if was_vacuumed_while_empty:
        fakes.sql(OWE, PEOPLE)
        fakes.sql("DELETE FROM sync_debt")
        fakes.sql("VACUUM (TRUNCATE off) sync_debt")
    fakes.sql(OWE, OWED)

    with transaction.atomic():
        reconcile.set_bounds(5000)
        before = _read()
        claim = claims.claim_debt(limit=4 * PEOPLE, people=range(1, PEOPLE + 1))
        read = _read() - before

    assert claim.people == list(range(1, PEOPLE + 1))
    assert read <= 3 * PEOPLE
