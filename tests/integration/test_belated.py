"""What a trigger could not append because its table was out of reach: set down in the same transaction, appended later."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from sync import belated, deletion, identity, vitals
from sync.models import Belated, LostValue, Tombstone
from tests import fakes
from tests.factories import Cast, UserFactory
from therapists.models import EmailAlias, Enrollment, User

pytestmark = pytest.mark.django_db(transaction=True)
Settle = Callable[..., int]
TURNS, MORE_MS = 7, 10.0
TABLES = ("user_aliases", "sync_tombstone", "sync_lost_value")


def change_address(person: int, number: int = 0) -> None:
    fakes.sql("UPDATE users SET email = %s WHERE id = %s", f"ada{number}@new.example", person)


def delete(person: int) -> None:
    fakes.sql("DELETE FROM therapist_enrollments WHERE user_id = %s", person)


def drift(person: int, number: int = 0) -> None:
    fakes.sql("UPDATE therapist_profiles SET bio = %s WHERE user_id = %s", f"Written past {number}.", person)


def test_p7_an_alias_is_kept_though_its_table_is_locked(cast: Cast) -> None:
    before = timezone.now()
    with fakes.locked_table("user_aliases"):
        change_address(cast.ada.pk)
        after = timezone.now()
        fakes.sweep()  # nobody waits for the lock, and nothing is given up for it
    assert User.objects.get(pk=cast.ada.pk).email == "ada0@new.example"
    fakes.sweep()
    (alias,) = EmailAlias.objects.all()
    assert (alias.person_id, alias.email, alias.email_norm) == (cast.ada.pk, *["ada.quist@example.org"] * 2)
    assert before <= alias.valid_to <= after
    assert identity.find_by_address("Ada.Quist@example.org") == cast.ada.pk
    assert not Belated.objects.exists()


def test_p7_a_tombstone_is_kept_though_its_table_is_locked(cast: Cast, settled: Settle) -> None:
    with fakes.locked_table("sync_tombstone"):
        delete(cast.ada.pk)
        settled()
        belated.take_in()
    assert User.objects.get(pk=cast.ada.pk).is_verified
    fakes.sweep()
    (tombstone,) = Tombstone.objects.all()
    assert (tombstone.person_id, tombstone.target) == (cast.ada.pk, "therapist_enrollments")
    assert (tombstone.kind, tombstone.applied_at is not None) == ("deleted", True)
    assert not User.objects.get(pk=cast.ada.pk).is_verified
    assert not Belated.objects.exists()


def test_p7_a_lost_value_is_kept_though_its_table_is_locked(cast: Cast, settled: Settle) -> None:
    with fakes.locked_table("sync_lost_value"):
        drift(cast.ada.pk)
        settled()
    fakes.sweep()
    (lost,) = LostValue.objects.all()
    assert (lost.person_id, lost.target, lost.values) == (cast.ada.pk, "therapist_profiles", {"bio": "Written past 0."})
    assert lost.written_by


@pytest.mark.parametrize("mode", ["ACCESS EXCLUSIVE", "SHARE"])
@pytest.mark.parametrize("table", TABLES)
def test_p3_a_write_waits_for_none_of_these_tables(cast: Cast, table: str, mode: str) -> None:
    def write(number: int) -> float:
        if table == "sync_tombstone":
            fakes.sql(
                "INSERT INTO therapist_enrollments (user_id, email, updated_at) VALUES (%s, 'e@x.org', now())", free
            )
            return fakes.milliseconds(lambda: delete(free))
        if table == "sync_lost_value":
            return fakes.milliseconds(lambda: drift(cast.ben.pk, number))
        return fakes.milliseconds(lambda: change_address(cast.ada.pk, number))

    free = UserFactory.create().pk
    bare = min(write(number) for number in range(TURNS))
    with fakes.locked_table(table, mode):
        locked = min(write(number) for number in range(TURNS, 2 * TURNS))
    assert locked <= bare + MORE_MS


def test_p1_what_is_rolled_back_leaves_nothing_to_append(cast: Cast, second_connection: Any) -> None:
    with fakes.locked_table("user_aliases"):
        own = second_connection()
        own.execute("BEGIN")
        own.execute("UPDATE users SET email = 'never@new.example' WHERE id = %s", [cast.ada.pk])
        own.execute("ROLLBACK")
    fakes.sweep()
    assert not EmailAlias.objects.exists()


def test_p10_nobody_is_linked_while_a_tombstone_still_waits(cast: Cast, settled: Settle) -> None:
    with fakes.locked_table("sync_tombstone", "SHARE"):  # read by everybody, written by nobody
        fakes.sql("DELETE FROM users WHERE id = %s", cast.ada.pk)
        other = UserFactory.create(email="ada.quist@example.org")
        settled()
        fakes.sweep()
        identity.link([other.pk])
        assert identity.unlinked() == []
        assert not Enrollment.objects.filter(user=other).exists()
    fakes.sweep()
    identity.link([other.pk])
    assert not Enrollment.objects.filter(user=other).exists()
    assert not Belated.objects.exists()


def test_p7_one_table_out_of_reach_holds_up_no_other(cast: Cast) -> None:
    with fakes.locked_table("user_aliases"), fakes.locked_table("sync_tombstone"):
        change_address(cast.ada.pk)
        delete(cast.ben.pk)
    with fakes.locked_table("user_aliases"):
        belated.take_in()
        assert Tombstone.objects.count() == 1
    belated.take_in()
    assert EmailAlias.objects.count() == 1


def test_p9_more_than_one_stride_is_taken_in_at_once(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(belated, "STRIDE", 2)
    with fakes.locked_table("user_aliases"):
        for number in range(5):
            change_address(cast.ada.pk, number)
    belated.take_in()
    spelled = EmailAlias.objects.order_by("pk").values_list("email", flat=True)
    assert list(spelled) == ["ada.quist@example.org", *(f"ada{number}@new.example" for number in range(4))]


def test_it_is_told_how_many_wait_and_since_when(cast: Cast, settled: Settle) -> None:
    with fakes.locked_table("user_aliases"):
        change_address(cast.ada.pk)
    settled()
    fakes.sql("UPDATE sync_belated SET at = at - interval '1 hour'")
    told = {part.name: part for part in vitals.everything()}["owed"].figures
    assert told["belated_rows"] == 1
    assert told["oldest_seconds"] >= dt.timedelta(hours=1).total_seconds()


def test_a_deletion_that_waited_counts_when_it_happened(cast: Cast) -> None:
    with fakes.locked_table("sync_tombstone"):
        delete(cast.ada.pk)
    fakes.sql("UPDATE sync_belated SET values = values || jsonb_build_object('at', now() - interval '91 days')")
    belated.take_in()
    deletion.retire(at=timezone.now())
    deletion.prune(at=timezone.now())
    assert not Tombstone.objects.exists()
