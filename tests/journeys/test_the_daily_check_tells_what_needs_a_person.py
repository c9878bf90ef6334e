"""Every morning cron asks: is anything open? The answer is an exit code, and never "fine" when nobody could look."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from sync import tasks
from tests import fakes
from tests.factories import Cast
from therapists.models import Enrollment


def check(*words: str) -> tuple[int, str]:
    out = StringIO()
    try:
        call_command("check_interventions", *words, stdout=out)
    except CommandError as error:
        return error.returncode, out.getvalue() + str(error)
    return 0, out.getvalue()


def test_nothing_open_is_fine(cast: Cast, layers: str) -> None:
    tasks.audit()
    tasks.sweep()
    code, said = check()
    assert (code, said.split("\n")[0]) == (0, "0 open interventions")
    assert fakes.behind() == set(), "the nightly audit mended Ben's drift"


def test_what_is_open_is_named_until_it_is_mended(cast: Cast, layers: str) -> None:
    with fakes.refusing("therapist_profiles", "bio <> 'refused'"):
        Enrollment.objects.filter(user=cast.ada).update(bio="refused")
        tasks.sweep()
        code, said = check("--json")
        assert code == 1
        told = json.loads(said[: said.rindex("}") + 1])
        assert told["open"] == 1
        assert told["items"][0]["person_id"] == cast.ada.pk
        assert cast.ada.email not in said
        assert check("--max", "1")[0] == 0
    tasks.sweep()
    assert check()[0] == 0


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_what_cannot_be_read_is_not_fine(cast: Cast, words: tuple[str, ...]) -> None:
    fakes.sql("ALTER TABLE manual_intervention_log RENAME TO log_away")
    try:
        assert check(*words)[0] == 2
    finally:
        fakes.sql("ALTER TABLE log_away RENAME TO manual_intervention_log")
