"""Defects that a second reader found, each by the scenario in which it was found."""

from collections.abc import Callable

import psycopg
import pytest
from django.db import transaction
from django.utils import timezone

from interventions import operations
from interventions.models import Intervention
from sync import delivery, identity, ledger, repair, triggers
from sync.models import Debt, Gap
from tests import fakes
from tests.factories import Cast, therapists
from therapists.models import Enrollment, Profile, User
from therapists.operations import remove_avatar

pytestmark = pytest.mark.django_db(transaction=True)


def accepted(person: User) -> Intervention:
    """Let somebody accept that a person's profile keeps its old bio."""
    items = Intervention.objects.filter(person_id=person.pk)
    operations.mark_resolved(items=items, by="user:1", note="Agreed.", may_accept=True, at=timezone.now())
    return items.get()


class TestHeldRows:
    def test_p9_a_held_item_does_not_stop_those_behind_it(
        self, second_connection: Callable[..., fakes.Connection]
    ) -> None:
        people = therapists(4)
        with fakes.refusing("therapist_profiles", "bio <> 'No'"):
            Enrollment.objects.filter(user=people[0]).update(bio="No")
            fakes.settled()
        holder = second_connection()
        holder.execute("BEGIN")
        holder.execute("SELECT FROM manual_intervention_log FOR UPDATE")
        ledger.owe(people=[person.pk for person in people], targets=["therapist_profiles"], reason="asked")
        delivery.drain()
        assert {debt.person_id for debt in Debt.objects.all()} == {people[0].pk}
        holder.execute("ROLLBACK")
        fakes.settled()
        assert not Debt.objects.exists()

    def test_p3_switching_the_net_never_makes_writers_queue_for_long(
        self, second_connection: Callable[..., fakes.Connection], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(triggers, "TRIES", 2)
        person = therapists(1)[0]
        holder = second_connection()
        holder.execute("BEGIN")
        holder.execute("UPDATE users SET full_name = 'Held' WHERE id = %s", [person.pk])
        with pytest.raises(triggers.NetBusy):
            triggers.disable()
        holder.execute("ROLLBACK")
        assert triggers.status().copying == "on"


class TestAcceptedDifference:
    def test_p8_stays_accepted_through_an_audit_and_a_wish_to_resync(self) -> None:
        person = therapists(1)[0]
        with fakes.refusing("therapist_profiles", "bio <> 'No'"):
            Enrollment.objects.filter(user=person).update(bio="No")
            fakes.settled()
            item = accepted(person)
            repair.audit(owe=True)
            ledger.owe(people=[person.pk], targets=["therapist_profiles"], reason="asked")
            fakes.settled()
            item.refresh_from_db()
            assert (item.state, item.resolution) == ("resolved", "accepted")
        repair.audit(owe=True)
        fakes.settled()
        assert Profile.objects.get(user=person).bio != "No", "the declined value was written all the same"

    def test_p8_comes_back_when_its_own_fact_changes(self) -> None:
        person = therapists(1)[0]
        with fakes.refusing("therapist_profiles", "bio NOT LIKE 'No%'"):
            Enrollment.objects.filter(user=person).update(bio="No")
            fakes.settled()
            item = accepted(person)
            Enrollment.objects.filter(user=person).update(bio="No, still")
            fakes.settled()
            item.refresh_from_db()
            assert item.state == "reopened"

    @pytest.mark.parametrize("is_copying", [True, False], ids=["copying", "workers alone"])
    def test_p8_another_facts_edit_neither_undoes_nor_reopens_it(self, is_copying: bool) -> None:
        person = therapists(1)[0]
        with fakes.refusing("therapist_profiles", "bio <> 'No'"):
            Enrollment.objects.filter(user=person).update(bio="No")
            fakes.settled()
            item = accepted(person)
        if not is_copying:
            triggers.disable()
        try:
            Enrollment.objects.filter(user=person).update(phone="+44 20 7946 0000", bio="No")
            fakes.settled()
        finally:
            triggers.enable()
        profile = Profile.objects.get(user=person)
        assert (profile.phone, profile.bio != "No") == ("+44 20 7946 0000", True)
        item.refresh_from_db()
        assert (item.state, item.resolution) == ("resolved", "accepted")
        assert fakes.states(person.pk)["therapist_profiles"] == "excluded"
        assert not Debt.objects.exists()


class TestLinking:
    def test_p1_a_row_and_a_person_that_could_not_see_each_other_come_together(self) -> None:
        with fakes.asleep():
            user = User.objects.create(email="new@example.org", full_name="New Person", user_type="therapist")
            Enrollment.objects.create(email=" NEW@example.org")
        fakes.settled()
        assert Enrollment.objects.get().user_id is None
        assert repair.owe_unlinked() == 1
        fakes.settled()
        assert Enrollment.objects.get().user_id == user.pk


class TestAvatar:
    def test_p2_a_removed_avatar_does_not_come_back_from_a_place_that_was_ahead(self) -> None:
        person = therapists(1)[0]
        with fakes.locked_row("therapist_enrollments", person.pk):
            User.objects.filter(pk=person.pk).update(avatar_url="/media/avatars/ahead.webp")
        with fakes.asleep():
            Enrollment.objects.filter(user=person).update(profile_image_url=None)
        remove_avatar(person_id=person.pk, by="user:1", at=timezone.now())
        fakes.settled()
        assert User.objects.get(pk=person.pk).avatar_url is None
        assert fakes.behind() == set()


class TestGap:
    def test_p4_a_net_that_was_asleep_is_on_record_until_an_audit(self) -> None:
        person = therapists(1)[0]
        fakes.sql("ALTER TABLE therapist_enrollments DISABLE TRIGGER USER")
        Enrollment.objects.filter(user=person).update(bio="Unseen.")
        triggers.install()
        assert not triggers.status().is_verified
        repair.audit(owe=True)
        fakes.settled()
        assert triggers.status().is_verified
        assert Profile.objects.get(user=person).bio == "Unseen."

    def test_p4_an_audit_does_not_vouch_for_a_gap_that_closed_while_it_ran(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        late = identity.unlinked

        def closing() -> list[int]:
            Gap.objects.create(closed_at=timezone.now())
            return late()

        monkeypatch.setattr(identity, "unlinked", closing)
        repair.audit(owe=True)
        assert not triggers.status().is_verified


class TestOtherPrograms:
    def test_p7_may_mark_resolved_with_rights_on_the_log_alone(self) -> None:
        operations.log_manual_intervention_needed(operation="import", entity_id="7", error="half")
        fakes.sql("DROP ROLE IF EXISTS founding_program")
        fakes.sql("CREATE ROLE founding_program; GRANT SELECT, UPDATE ON manual_intervention_log TO founding_program")
        try:
            with transaction.atomic():
                fakes.sql("SET LOCAL ROLE founding_program")
                fakes.sql("UPDATE manual_intervention_log SET resolved = true")
        finally:
            fakes.sql("DROP OWNED BY founding_program; DROP ROLE founding_program")
        assert Intervention.objects.get().state == "resolved"

    def test_p7_may_report_the_same_twice(self) -> None:
        for _ in range(2):
            fakes.sql("INSERT INTO manual_intervention_log (operation, entity_id, error) VALUES ('a', 'b', 'c')")
        assert Intervention.objects.count() == 2

    @pytest.mark.parametrize(
        "statement",
        [
            "DELETE FROM manual_intervention_log",
            "TRUNCATE manual_intervention_log",
            "DELETE FROM contract_interventions",
            "UPDATE contract_interventions SET operation = 'x'",
            "INSERT INTO contract_history (actor, action, object_type, object_id) VALUES ('user:1', 'x', 'y', 'z')",
        ],
    )
    def test_p7_cannot_make_an_item_or_its_history_vanish(self, statement: str) -> None:
        operations.log_manual_intervention_needed(operation="import", entity_id="7", error="half")
        with psycopg.connect(fakes.database_url()) as other, pytest.raises(psycopg.Error):
            other.execute(statement)
        assert Intervention.objects.count() == 1


class TestRights:
    def test_p3_one_persons_missing_right_blocks_nobody_else(self, cast: Cast, copying_off: None) -> None:
        fakes.settled()
        fakes.sql(
            "CREATE FUNCTION refuse_one() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" IF NEW.user_id = {cast.ada.pk} THEN RAISE EXCEPTION 'no' USING ERRCODE = '42501'; END IF; RETURN NEW; END $$;"
            "CREATE TRIGGER refuse_one BEFORE UPDATE ON therapist_profiles FOR EACH ROW EXECUTE FUNCTION refuse_one()"
        )
        try:
            Enrollment.objects.update(bio="For everybody.")
            fakes.settled()
            assert {i.person_id for i in Intervention.objects.filter(resolved=False)} == {cast.ada.pk}
        finally:
            fakes.sql("DROP TRIGGER refuse_one ON therapist_profiles; DROP FUNCTION refuse_one()")


def test_p9_an_audit_walks_rows_and_not_numbers() -> None:
    therapists(1)
    fakes.sql(
        "INSERT INTO users (id, email, password, is_superuser) VALUES (1000000000000, 'far@example.org', '', false)"
    )
    assert fakes.milliseconds(lambda: repair.audit(owe=False)) < 5000
