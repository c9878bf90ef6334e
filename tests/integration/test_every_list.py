"""Every list of the desk, its tabs and filters: a page costs the same however much is on record."""

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse

from tests import bench_desk, measuring
from tests.bench_desk import Visit

# A page has 25 lines or more: one query for each of them is more than this. The front page asks for each number on its own.
MOST_QUERIES, MOST_ON_FRONT = 24, 32
FRONT = "/admin/"
# Charts have a bar for each hour in which something happened.
BARS = 24


def addresses(client: Client) -> dict[str, str]:
    """Give what the benchmark opens, and every list that the admin has, in the navigation or not."""
    names = [f"admin:{m._meta.app_label}_{m._meta.model_name}_changelist" for m in admin.site._registry]
    return bench_desk.pages(client) | {reverse(name): reverse(name) for name in names}


def costs(client: Client) -> dict[str, Visit]:
    return {name: bench_desk.visited(client, address, 1) for name, address in addresses(client).items()}


@pytest.mark.slow
def test_no_list_asks_or_reads_more_when_more_is_on_record(transactional_db: None) -> None:
    measuring.crowd(2_200)
    with bench_desk.signed_in() as client:
        bench_desk.fill(1_200, open_items=1_080)
        few = costs(client)
        bench_desk.fill(2_400, open_items=2_160)
        many = costs(client)

    assert len(few) > 30
    assert few.keys() == many.keys()
    assert {n: (few[n].queries, many[n].queries) for n in few if many[n].queries != few[n].queries} == {}
    assert {n: (few[n].rows, many[n].rows) for n in few if many[n].rows > few[n].rows + BARS} == {}
    assert {n: v.queries for n, v in many.items() if v.queries > (MOST_ON_FRONT if n == FRONT else MOST_QUERIES)} == {}


def test_every_list_of_ours_is_named_after_what_it_lists(transactional_db: None) -> None:
    with bench_desk.signed_in() as client:
        lists = {
            m: reverse(f"admin:{m._meta.app_label}_{m._meta.model_name}_changelist")
            for m in admin.site._registry
            if m is not Group
        }
        titles = {model: client.get(address).context["title"] for model, address in lists.items()}

    assert {
        m.__name__: t for m, t in titles.items() if t.casefold() != str(m._meta.verbose_name_plural).casefold()
    } == {}
