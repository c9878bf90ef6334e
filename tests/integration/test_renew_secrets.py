"""A key of directories' secrets is changed without anybody's doing but the change: what it sealed is sealed anew."""

from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from interventions.models import History
from sync import endpoints, secrets, tasks
from sync.integrations import listing
from sync.integrations.base import Lane
from sync.models import Endpoint

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def words(settings: Any) -> tuple[str, str]:
    """The newer and the older secret of a directory, both sealed by the first key, which is the second one by now."""
    settings.ENDPOINT_KEYS = ["first"]
    added, older = endpoints.add_endpoint(
        name="North", url="https://n.example/", read_url="", by="t", at=timezone.now()
    )
    _, newer = endpoints.rotate_secret(endpoint_id=added.pk, by="t", at=timezone.now())
    settings.ENDPOINT_KEYS = ["second", "first"]
    return newer, older


def lane() -> Lane:
    return listing.lane_of(Endpoint.objects.get())


def test_beat_seals_them_anew_and_the_old_key_can_go(words: tuple[str, str], settings: Any) -> None:
    digest = lane().digest
    tasks.renew_secrets()
    settings.ENDPOINT_KEYS = ["second"]
    assert lane().secrets == words
    assert lane().digest == digest, "what is sent there is signed as before, and nothing blocked is tried for it"
    assert History.objects.filter(action="endpoint_secret_resealed", actor="system").count() == 1


def test_again_is_nothing(words: tuple[str, str]) -> None:
    assert endpoints.renew_secrets() == endpoints.Renewed(2, ())
    sealed = Endpoint.objects.values_list("secret", "older_secret").get()
    assert endpoints.renew_secrets() == endpoints.Renewed(0, ())
    assert Endpoint.objects.values_list("secret", "older_secret").get() == sealed


def test_the_command_names_whose_secret_no_key_opens_and_leaves_it(words: tuple[str, str], settings: Any) -> None:
    other, _ = endpoints.add_endpoint(name="South", url="https://s.example/", read_url="", by="t", at=timezone.now())
    settings.ENDPOINT_KEYS = ["third", "second"]
    before = Endpoint.objects.get(name="North")
    output = StringIO()
    with pytest.raises(CommandError, match="North") as refusal:
        call_command("renew_secrets", stdout=output)
    assert (refusal.value.returncode, "South" in str(refusal.value)) == (1, False)
    assert "1 sealed anew" in output.getvalue()
    after = Endpoint.objects.get(name="North")
    assert (after.secret, after.older_secret) == (before.secret, before.older_secret)
    settings.ENDPOINT_KEYS = ["third"]
    assert secrets.opened(Endpoint.objects.get(pk=other.pk).secret)
