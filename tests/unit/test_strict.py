"""P6: what is strict has no second best, and whoever declares one is told when the program starts."""

import os
import subprocess
import sys

import pytest
from django.core.exceptions import ImproperlyConfigured

from sync.fallback import with_graceful_degradation
from sync.strict import NotDegradable, SecondBest, Strict, allow, may, reasons
from tests.processes import PROJECT
from therapists.bookings import BOOKING
from therapists.credits import grant_credits

EVERY_KIND = list(SecondBest)


class TestTheDeclaration:
    @pytest.mark.parametrize("kind", EVERY_KIND)
    @pytest.mark.parametrize("name", ["booking", "credit", "decision", "permission", "sign-in"])
    def test_p6_nothing_may_stand_in_for_a_strict_operation(self, name: str, kind: SecondBest) -> None:
        assert name in reasons()
        with pytest.raises(ImproperlyConfigured, match=f"{name} is strict: it must not be declared {kind}"):
            allow(name, kind)
        assert not may(name, kind)

    def test_p6_what_has_a_second_best_does_not_become_strict(self) -> None:
        allow("greeting", SecondBest.CACHED, SecondBest.QUEUED)
        with pytest.raises(ImproperlyConfigured, match="greeting is strict: it must not be declared cached or queued"):
            Strict("greeting", because="Somebody came later.")
        assert "greeting" not in reasons()

    def test_p6_the_program_does_not_start(self) -> None:
        declared = (
            "import django, sync.strict as strict; strict.allow('booking', strict.SecondBest.QUEUED); django.setup()"
        )
        ended = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", declared], cwd=PROJECT, capture_output=True, text=True, check=False,
            env=os.environ | {"DJANGO_SETTINGS_MODULE": "config.settings"},
        )  # fmt: skip
        assert ended.returncode == 1
        said = ended.stderr.strip().splitlines()[-1]
        assert said.endswith("The operation booking is strict: it must not be declared queued.")


class TestAtRunTime:
    def test_p6_a_strict_operation_is_never_passed_over_under_whatever_name(self) -> None:
        ran = []
        allow("unrelated", SecondBest.DEGRADED)
        confirm = BOOKING.exact(lambda: ran.append(1))
        with pytest.raises(NotDegradable, match="booking is strict, and was called within unrelated"):
            with_graceful_degradation(confirm, name="unrelated")
        with pytest.raises(NotDegradable):
            with_graceful_degradation(lambda: grant_credits(person_id=1, amount=1, by="x", at=None), name="unrelated")  # type: ignore[arg-type]
        assert ran == []

    def test_p6_what_nobody_declared_has_no_second_best(self) -> None:
        ran = []
        with pytest.raises(NotDegradable, match="Nobody declared that surprise may be degraded"):
            with_graceful_degradation(lambda: ran.append(1), name="surprise")
        assert ran == []

    def test_is_itself_again_after_a_second_best(self) -> None:
        allow("unrelated", SecondBest.DEGRADED)
        assert with_graceful_degradation(lambda: 7, name="unrelated").value == 7
