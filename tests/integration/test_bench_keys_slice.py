"""A slice of `make bench-keys`: what is measured has one effect for each key, and the bench finds out where it has not."""

import pytest
from django.conf import settings
from django.test import Client

from tests import bench_keys as bench


def test_p5_the_bench_counts_one_effect_for_each_key(transactional_db: None) -> None:
    costs, client = bench.overhead(2), Client()
    client.force_login(bench.lead_with_work())
    send = bench.in_process(client.cookies[settings.SESSION_COOKIE_NAME].value)

    replies = bench.bursts([send] * 8, 2)

    assert sum(not reply.is_replayed for reply in replies) == 2
    assert len(replies) == 16
    assert len(bench.figures(costs, replies, replies, 0)) == 4
    with pytest.raises(AssertionError, match="several ways"):
        bench.bursts([send, lambda key: send(f"{key}-other")], 1)
