"""Operators switch the net: copying off and on, everything off and on again, and always told the truth about it."""

from collections.abc import Iterator

import pytest

from sync import net, repair, tasks, triggers
from sync.mirrors import declaration
from sync.models import Debt
from tests import fakes
from tests.factories import Cast
from therapists.models import Enrollment, Profile

BIO = "Written while something was off."
# As the founding documents print them.
FOUNDING_ROLLBACK = """
DROP TRIGGER IF EXISTS sync_avatar_from_enrollments ON therapist_enrollments;
DROP TRIGGER IF EXISTS sync_avatar_from_users ON users;
DROP TRIGGER IF EXISTS sync_avatar_from_profiles ON therapist_profiles;
DROP FUNCTION IF EXISTS sync_avatar_across_tables();
DROP FUNCTION IF EXISTS sync_therapist_profile_data();
DROP FUNCTION IF EXISTS sync_verification_status();
"""


@pytest.fixture(autouse=True)
def _installed_again(transactional_db: None) -> Iterator[None]:
    yield
    triggers.install()
    triggers.enable()


def write(cast: Cast) -> None:
    """Write past Django, so that only the net and the workers can bring copies in line."""
    fakes.sql("UPDATE therapist_enrollments SET bio = %s, status = 'suspended' WHERE user_id = %s", BIO, cast.ada.pk)


def switches() -> tuple[str, str]:
    status = triggers.status()
    return status.debt, status.copying


def test_p4_everything_is_on_after_the_migrations(transactional_db: None) -> None:
    assert switches() == ("on", "on")
    assert triggers.status().is_verified


@pytest.mark.parametrize("statements", [FOUNDING_ROLLBACK, net.rollback], ids=["founding", "printed"])
def test_p4_the_rollback_switches_copying_off_and_nothing_else(cast: Cast, statements: object) -> None:
    fakes.sql(net.rollback(declaration()) if callable(statements) else str(statements))
    assert switches() == ("on", "off")
    write(cast)
    assert Profile.objects.get(user=cast.ada).bio != BIO
    assert {t for d in Debt.objects.filter(person_id=cast.ada.pk) for t in d.targets} == {"users", "therapist_profiles"}
    assert fakes.silently_behind() == {(cast.ben.pk, "therapist_profiles")}
    tasks.drain()
    profile = Profile.objects.get(user=cast.ada)
    cast.ada.refresh_from_db()
    assert (profile.bio, profile.verification_status, cast.ada.is_verified) == (BIO, "suspended", False)
    assert set(fakes.states(cast.ada.pk).values()) == {"in_sync"}


def test_p4_each_dropped_function_alone_owes_what_it_copied(cast: Cast) -> None:
    fakes.sql("DROP FUNCTION sync_verification_status()")
    assert switches() == ("on", "off")
    write(cast)
    assert fakes.silently_behind() == {(cast.ben.pk, "therapist_profiles")}
    fakes.settled()
    assert Profile.objects.get(user=cast.ada).verification_status == "suspended"


def test_p4_disabled_copying_is_enabled_again(cast: Cast) -> None:
    triggers.disable()
    assert switches() == ("on", "off")
    triggers.enable()
    assert switches() == ("on", "on")
    write(cast)
    assert Profile.objects.get(user=cast.ada).bio == BIO


def test_p4_an_uninstalled_net_is_a_gap_until_an_audit_has_run(cast: Cast) -> None:
    triggers.uninstall()
    assert switches() == ("off", "off")
    assert not triggers.status().is_verified
    write(cast)
    assert not Debt.objects.filter(person_id=cast.ada.pk).exists()
    repair.audit(owe=True)
    assert not triggers.status().is_verified, "an audit while the net is off proves nothing about what comes after"
    triggers.install()
    assert switches() == ("on", "on")
    assert not triggers.status().is_verified
    repair.audit(owe=True)
    assert triggers.status().is_verified
    fakes.settled()
    assert fakes.behind() == set()


def test_p4_a_changed_function_is_told_from_the_declared_one(transactional_db: None) -> None:
    fakes.sql(
        "CREATE OR REPLACE FUNCTION keepwell_debt_users() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RETURN NULL; END $$"
    )
    assert {p.name: p.state for p in triggers.status().parts if p.state != "installed"} == {
        "keepwell_debt_users": "differs"
    }
    assert switches() == ("off", "on")


def test_p4_a_dropped_trigger_is_missed(transactional_db: None) -> None:
    fakes.sql("DROP TRIGGER zz_sync_debt ON therapist_enrollments")
    assert [(p.name, p.state) for p in triggers.status().parts if p.state != "installed"] == [
        ("therapist_enrollments.zz_sync_debt", "missing")
    ]
    assert switches() == ("off", "on")


def test_p4_a_write_that_cannot_be_owed_fails_honestly(cast: Cast) -> None:
    """P1 outranks P3: where not even debt can be appended, nothing is saved."""
    triggers.disable()
    fakes.sql("ALTER TABLE sync_debt RENAME TO sync_debt_away")
    try:
        with pytest.raises(Exception, match="sync_debt"):
            write(cast)
    finally:
        fakes.sql("ALTER TABLE sync_debt_away RENAME TO sync_debt")
    assert Enrollment.objects.get(user=cast.ada).bio != BIO
