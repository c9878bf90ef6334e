"""Specialization: a text as people type it becomes a list, churns nothing, and stays away from what it cannot read."""

from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from interventions.admin import reasons
from interventions.models import Intervention
from sync import drift
from sync.backoff import UNREADABLE, FailureClass, classify
from sync.models import Debt, Ledger
from tests import fakes
from tests.factories import Cast, therapists
from therapists.models import Enrollment, Profile, User

pytestmark = pytest.mark.django_db(transaction=True)
TARGET = "therapist_profiles"
BROKEN = '["CBT", "DBT"'
many = settings(
    max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
TEXTS = st.text(
    st.one_of(st.sampled_from(' ,;|\n\r\t/"[]{}\\\u00a0aAbBéÉ'), st.characters(exclude_characters="\0", codec="utf-8")),
    max_size=24,
)


def value(expression: str, *words: Any) -> Any:
    return fakes.sql(f"SELECT {expression}", *words)[0][0]


def decoded(text: str | None) -> list[str] | None:
    found: list[str] | None = value("keepwell_text_to_list(%s)", text)
    return found


def copied(person: User) -> list[str] | None:
    return Profile.objects.get(user=person).specialization


def typed(person: User, text: str | None) -> None:
    Enrollment.objects.filter(user=person).update(specialization=text)


class TestReading:
    @pytest.mark.parametrize(
        ("text", "names"),
        [
            ("CBT, DBT", ["CBT", "DBT"]),
            ("CBT;DBT|EMDR\nACT\r\nIPT", ["CBT", "DBT", "EMDR", "ACT", "IPT"]),
            ("CBT/DBT and grief", ["CBT/DBT and grief"]),
            ("  Couples \t therapy ,, ", ["Couples therapy"]),
            ("CBT, cbt, Cbt, DBT, CBT", ["CBT", "DBT"]),
            ("Été, e\u0301te\u0301, ÉTÉ", ["Été"]),
            ('["CBT", "Couples, families", null]', ["CBT", "Couples, families"]),
            (' [] ', []),
            ('{CBT,"Couples, families",NULL}', ["CBT", "Couples, families"]),
            ("{}", []),
            ('CBT, "Couples, families" ;"5"" rule"', ["CBT", "Couples, families", '5" rule']),
            ('"Gestalt" therapy, 5" rule', ['"Gestalt" therapy', '5" rule']),
            ("", []),
            (" ,; \u00a0", []),
            (None, None),
        ],
    )  # fmt: skip
    def test_gives_the_names_that_were_meant(self, text: str | None, names: list[str] | None) -> None:
        assert decoded(text) == names

    @pytest.mark.parametrize(
        "text",
        [BROKEN, "[1, 2]", '[["CBT"]]', "[CBT] and more", "{CBT,DBT", "{{a,b},{c,d}}", '{"a": 1}',
         '"Couples, families', 'CBT, "a, b" c', '["\\u0000"]', "[" * 100_000],
        ids=lambda text: text[:20],
    )  # fmt: skip
    def test_gives_null_and_no_error_for_what_it_cannot_read(self, text: str) -> None:
        assert decoded(text) is None

    @many
    @given(st.lists(TEXTS, max_size=6))
    @example(["a, b", 'say "x"', "[", "{}", "CBT/DBT"])
    def test_reads_back_every_list_that_it_wrote(self, names: list[str]) -> None:
        clean, again, twice = fakes.sql(
            "SELECT c, keepwell_text_to_list(keepwell_list_to_text(c)), keepwell_list_clean(c)"
            " FROM keepwell_list_clean(%s::text[]) AS c",
            names,
        )[0]
        assert again == clean == twice

    @many
    @given(TEXTS)
    @example('{a,"b, c"}')
    @example('["a", "b; c"]')
    def test_writes_every_text_that_it_read_so_that_it_reads_the_same(self, text: str) -> None:
        names, again = fakes.sql(
            "SELECT n, keepwell_text_to_list(keepwell_list_to_text(n)) FROM keepwell_text_to_list(%s) AS n", text
        )[0]
        assert again == names

    @many
    @given(st.one_of(st.none(), TEXTS), st.one_of(st.none(), st.lists(st.one_of(st.none(), TEXTS), max_size=4)))
    @example("a, b", ["a, b"])
    @example("a, b", [None, "a, b"])
    @example("a, b", ["B", "a"])
    @example("a;b |c\n d", ["a", "b", "c", "d"])
    @example("a;b |c\n d", ["a", "b", "c"])
    @example("a; b", ["a, b"])
    @example("a; b", ["a;b"])
    @example(" a;;b", [" a", "", "b"])
    @example("a; b", ["a", None, "b"])
    @example('a; "b"', ["a", '"b"'])
    @example("{a; b}", ["{a", "b}"])
    @example("[a; b]", ["[a", "b]"])
    @example("", [])
    @example("", None)
    @example(BROKEN, None)
    def test_the_short_cut_to_equal_says_what_the_long_way_says(
        self, text: str | None, names: list[Any] | None
    ) -> None:
        short, long = fakes.sql(
            "SELECT keepwell_list_differs(names, source), CASE WHEN source IS NULL THEN names IS NOT NULL"
            " ELSE keepwell_text_to_list(source) IS NULL OR keepwell_list_key(names)"
            " IS DISTINCT FROM keepwell_list_key(keepwell_text_to_list(source)) END"
            " FROM (SELECT %s::text[] AS names, %s::text AS source) AS given",
            names, text,
        )[0]  # fmt: skip
        assert short == long

    @many
    @given(st.lists(TEXTS, max_size=5), st.randoms(use_true_random=False))
    def test_order_case_and_spacing_make_no_difference(self, names: list[str], chance: Any) -> None:
        text = value("keepwell_list_to_text(%s::text[])", names)
        # Only ASCII: elsewhere a change of case may be another letter.
        shuffled = [f" {name.swapcase() if name.isascii() else name}  " for name in names]
        chance.shuffle(shuffled)
        assert value("keepwell_list_differs(%s::text[], %s)", shuffled, text) is False


class TestTheMirror:
    def test_p4_copies_at_the_commit(self, cast: Cast) -> None:
        typed(cast.ada, "CBT; Couples  therapy\nCBT")
        assert copied(cast.ada) == ["CBT", "Couples therapy"]
        assert not Debt.objects.filter(person_id=cast.ada.pk).exists()

    def test_p4_is_owed_and_caught_up_with_where_copying_is_off(self, cast: Cast, copying_off: None) -> None:
        typed(cast.ada, "CBT; DBT")
        assert fakes.silently_behind() == {(cast.ben.pk, TARGET)}
        fakes.settled()
        assert copied(cast.ada) == ["CBT", "DBT"]

    @pytest.mark.parametrize("text", ["dbt ;  Cbt", "{DBT,CBT}", "CBT, DBT, cbt"])
    def test_order_case_and_spacing_churn_nothing(self, cast: Cast, text: str) -> None:
        typed(cast.ada, "CBT, DBT")
        before = fakes.sql("SELECT xmin, net_revision FROM therapist_profiles WHERE user_id = %s", cast.ada.pk)
        typed(cast.ada, text)
        assert copied(cast.ada) == ["CBT", "DBT"]
        assert fakes.sql("SELECT xmin, net_revision FROM therapist_profiles WHERE user_id = %s", cast.ada.pk) == before
        assert not Debt.objects.filter(person_id=cast.ada.pk).exists()
        assert fakes.behind() == {(cast.ben.pk, TARGET), (cast.cleo.pk, TARGET)}

    def test_an_equal_list_keeps_its_spelling_while_another_fact_is_copied(self, cast: Cast) -> None:
        typed(cast.ada, "CBT, DBT")
        typed(cast.ada, "dbt, cbt")
        Enrollment.objects.filter(user=cast.ada).update(bio="New.")
        fakes.sql("INSERT INTO sync_debt (person_id, targets, revision) VALUES (%s, ARRAY[%s], 0)", cast.ada.pk, TARGET)
        fakes.settled()
        assert (Profile.objects.get(user=cast.ada).bio, copied(cast.ada)) == ("New.", ["CBT", "DBT"])

    def test_p4_a_list_written_directly_is_restored_and_kept(self, cast: Cast) -> None:
        typed(cast.ada, "CBT, DBT")
        Profile.objects.filter(user=cast.ada).update(specialization=["Astrology"])
        fakes.settled()
        assert copied(cast.ada) == ["CBT", "DBT"]
        assert fakes.sql("SELECT values ->> 'specialization' FROM sync_lost_value") == [('["Astrology"]',)]


class TestWhatCannotBeRead:
    def test_p7_leaves_the_copy_and_opens_an_item_with_a_suggestion(self, cast: Cast, layers: str) -> None:
        typed(cast.ada, "CBT")
        fakes.settled()
        typed(cast.ada, BROKEN)
        assert fakes.silently_behind() == {(cast.ben.pk, TARGET)}
        fakes.settled()
        item = Intervention.objects.get(person_id=cast.ada.pk)
        assert (item.code, item.resolved, copied(cast.ada)) == (UNREADABLE, False, ["CBT"])
        assert "such as: CBT, DBT" in reasons.reason(item.code).advice
        assert classify(UNREADABLE) is FailureClass.REFUSED
        assert BROKEN not in f"{item.error} {item.payload}"
        typed(cast.ada, "CBT, DBT")
        fakes.settled()
        item.refresh_from_db()
        assert (item.resolved, copied(cast.ada)) == (True, ["CBT", "DBT"])

    def test_p3_holds_no_other_fact_of_the_person_back(self, cast: Cast) -> None:
        Enrollment.objects.filter(user=cast.ada).update(specialization=BROKEN, bio="New.")
        assert Profile.objects.get(user=cast.ada).bio == "New."
        fakes.settled()
        Enrollment.objects.filter(user=cast.ada).update(bio="Newer.", phone="1")
        fakes.settled()
        row = Profile.objects.get(user=cast.ada)
        assert (row.bio, row.phone, row.specialization) == ("Newer.", "1", None)

    def test_p9_one_unreadable_row_stops_nobody_else(self, copying_off: None) -> None:
        people = therapists(40)
        Enrollment.objects.filter(user__in=people).update(specialization="CBT; DBT")
        typed(people[7], BROKEN)
        assert len(fakes.behind()) == 40
        fakes.settled()
        assert fakes.behind() == {(people[7].pk, TARGET)}
        assert Profile.objects.filter(specialization=["CBT", "DBT"]).count() == 39
        assert Intervention.objects.get().code == UNREADABLE
        assert Ledger.objects.get(owed_since__isnull=False).last_error_code == UNREADABLE

    def test_p8_is_never_shown_as_equal_and_pins_the_words_that_were_accepted(self, cast: Cast) -> None:
        entity = (cast.ada.pk, TARGET)
        typed(cast.ada, BROKEN)
        first = drift.compare([entity])[entity]
        assert not first.is_equal
        row = next(row for row in first.rows if row.fact == "specialization")
        assert [(cell.text, cell.differs) for cell in row.cells if cell.place != "users"] == [
            (BROKEN, False),
            (None, True),
        ]
        typed(cast.ada, "[")
        assert drift.compare([entity])[entity].digest != first.digest

    def test_is_drift_though_the_copy_was_never_written(self, cast: Cast) -> None:
        with fakes.asleep():
            typed(cast.ada, BROKEN)
        assert (cast.ada.pk, TARGET) in fakes.behind()
