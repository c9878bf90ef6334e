"""Every rendered statement wraps the one expression of its pair."""

import pytest

from sync import net, statements
from sync.statements import Flow
from therapists.mirrors import DECLARATION

FLOWS = statements.flows(DECLARATION)


@pytest.fixture(params=FLOWS, ids=[f"{f.source.name}-{f.target.name}" for f in FLOWS])
def flow(request: pytest.FixtureRequest) -> Flow:
    found: Flow = request.param
    return found


def test_flows_cover_every_pair_once() -> None:
    covered = [pair for flow in FLOWS for pair in flow.pairs]
    assert len(covered) == len(set(covered))
    assert set(covered) == set(DECLARATION.pairs)


def test_flows_come_in_locking_order() -> None:
    order = [table.name for table in DECLARATION.tables]
    places = [order.index(flow.target.name) for flow in FLOWS]
    assert places == sorted(places)


def test_every_write_ends_in_is_distinct_from(flow: Flow) -> None:
    for pair in flow.pairs:
        assert statements.pair_differs(pair) in statements.update_people(flow)
        if not pair.is_shared and not pair.conversion.difference:
            assert statements.pair_differs(pair).endswith(f"IS DISTINCT FROM {pair.wanted}")


def test_writer_and_audit_use_the_same_condition(flow: Flow) -> None:
    assert statements.different_people(flow).endswith(statements.differs(flow))
    assert statements.shortfalls(flow, "true").endswith(statements.differs(flow))
    for pair in flow.pairs:
        assert statements.pair_differs(pair) in statements.differs(flow)
        assert statements.pair_differs(pair) in statements.update_people(flow)


def test_a_source_that_cannot_be_read_is_different_and_never_written(flow: Flow) -> None:
    for pair in (pair for pair in flow.pairs if pair.conversion.readable):
        condition = pair.conversion.reads(str(pair.source))
        assert f"{pair.copy.column} = CASE WHEN ({statements.pair_differs(pair)} AND {condition})" in (
            statements.update_people(flow)
        )
        assert "keepwell_list_differs" in statements.pair_differs(pair)


def test_every_write_of_ours_is_told_from_a_persons(flow: Flow) -> None:
    assert "net_revision = nextval('sync_revision')" in statements.update_people(flow)


def test_p2_an_avatar_is_written_over_a_lower_revision_only(flow: Flow) -> None:
    for pair in (p for p in flow.pairs if p.is_shared):
        assert f"copy.avatar_revision < {pair.source.table}.avatar_revision" in statements.pair_differs(pair)


def test_p2_of_two_places_with_one_revision_exactly_one_wins() -> None:
    shared = [pair for pair in DECLARATION.pairs if pair.is_shared]
    winners = {(p.source, p.copy) for p in shared if " = " in statements.pair_differs(p)}
    assert all(((a, b) in winners) != ((b, a) in winners) for a, b in ((p.source, p.copy) for p in shared))


def test_p3_rows_are_locked_without_waiting() -> None:
    for table in DECLARATION.tables:
        assert statements.lock_rows(table).endswith("FOR NO KEY UPDATE SKIP LOCKED")


def test_p3_every_block_of_the_net_asks_for_its_table_without_waiting() -> None:
    for function in net.functions(DECLARATION):
        assert function.body.count("LOCK TABLE") == function.body.count("MODE NOWAIT")
        for caught in (line for line in function.body.splitlines() if "EXCEPTION WHEN" in line):
            assert "query_canceled OR assert_failure OR OTHERS" in caught


def test_functions_that_run_as_their_owner_have_a_fixed_search_path() -> None:
    for function in net.functions(DECLARATION):
        assert ("SECURITY DEFINER" in function.options) == ("SET search_path" in function.options)


def test_copying_runs_before_debt_by_its_name() -> None:
    for table in DECLARATION.tables:
        assert table.trigger < "zz_sync_debt"
