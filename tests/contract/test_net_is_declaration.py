"""Completeness: what is declared once is in the net, the audit, the repair, the staff's page and the API's status."""

from pathlib import Path

import pytest
from django.conf import settings

from sync import copying, drift, net, statements
from sync.differences import Comparison
from sync.mirrors import Pair, declaration
from tests import fakes
from tests.factories import Cast
from therapists.mirrors import DECLARATION

PAIRS = list(DECLARATION.pairs)
FROZEN = Path(settings.BASE_DIR) / "therapists" / "migrations" / "sql"
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(params=PAIRS, ids=[f"{pair.source}-{pair.copy}" for pair in PAIRS])
def pair(request: pytest.FixtureRequest) -> Pair:
    found: Pair = request.param
    return found


def flow_of(pair: Pair) -> statements.Flow:
    (flow,) = statements.flows(
        declaration(), source=pair.source.table, target=pair.copy.table, routine=pair.mirror.routine
    )
    return flow


def test_the_declaration_in_use_is_the_one_tested() -> None:
    assert declaration() is DECLARATION


def test_the_net_is_the_newest_frozen_sql() -> None:
    newest = max(FROZEN.glob("*.sql"))
    assert newest.read_text().strip() == net.install(declaration()).strip(), (
        f"{newest.name} is not what the declaration says: "
        "freeze `manage.py safety_net sql` into the SQL of a new migration."
    )


def test_a_pair_has_its_trigger(pair: Pair) -> None:
    triggers = {t.name: t for t in net.triggers(declaration()) if t.table == pair.source.table}
    column = f"OLD.{pair.source.column} IS DISTINCT FROM NEW.{pair.source.column}"
    trigger = triggers[declaration().table(pair.source.table).trigger]
    assert trigger.is_copying
    assert column in trigger.definition
    assert column in triggers["zz_sync_debt"].definition
    body = copying.routine(declaration(), pair.mirror.routine).body
    assert f"source = '{pair.source.table}'" in body
    assert f"{statements.COPY}.{pair.copy.column}" in body


def test_a_pair_has_its_audit_row(pair: Pair, cast: Cast) -> None:
    break_copy(pair, cast)
    (found,) = Comparison(DECLARATION, DECLARATION.targets).found_among([cast.ada.pk])
    assert (pair.copy.table, pair.mirror.fact) in {(probe.target, probe.fact) for probe in found.probes}


def test_a_pair_has_its_repair_statement(pair: Pair, cast: Cast) -> None:
    assert f"{pair.copy.column} = " in statements.update_people(flow_of(pair))
    break_copy(pair, cast)
    fakes.sql(
        "INSERT INTO sync_debt (person_id, targets, revision) VALUES (%s, ARRAY[%s], 0)", cast.ada.pk, pair.copy.table
    )
    fakes.settled()
    assert (cast.ada.pk, pair.copy.table) not in fakes.behind()


def test_a_pair_has_its_line_on_the_staffs_page(pair: Pair, cast: Cast) -> None:
    break_copy(pair, cast)
    entity = (cast.ada.pk, pair.copy.table)
    comparison = drift.compare([entity])[entity]
    assert not comparison.is_equal
    row = next(row for row in comparison.rows if row.fact == pair.mirror.fact)
    cell = next(cell for cell in row.cells if cell.place == pair.copy.table)
    assert cell.differs
    assert pair.mirror.fact in comparison.outlook


def test_a_pair_has_its_state_for_the_api(pair: Pair, cast: Cast) -> None:
    assert fakes.states(cast.ada.pk)[pair.copy.table] == "in_sync"
    fakes.sql(
        "INSERT INTO sync_debt (person_id, targets, revision) VALUES (%s, ARRAY[%s], 0)", cast.ada.pk, pair.copy.table
    )
    assert fakes.states(cast.ada.pk)[pair.copy.table] == "due"


def test_p10_every_fact_of_authority_is_a_copy_and_never_a_source() -> None:
    sources = {str(pair.source) for pair in PAIRS}
    assert not sources & {"users.is_verified", "therapist_profiles.verification_status"}


def break_copy(pair: Pair, cast: Cast) -> None:
    """Make Ada's copy differ from its source, unseen by the net."""
    key = declaration().table(pair.source.table).key
    other = {"experience_years": "33", "status": "'rejected'"}.get(pair.source.column, "'/another'")
    newer = ", avatar_revision = nextval('sync_revision')" if pair.is_shared else ""
    with fakes.asleep():
        fakes.sql(f"UPDATE {pair.source.table} SET {pair.source.column} = {other}{newer} WHERE {key} = %s", cast.ada.pk)
