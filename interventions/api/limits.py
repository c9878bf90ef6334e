"""How many calls a minute one caller may make: counted in Redis, and nobody is held up where Redis is not there."""

import logging
import time
from functools import cache
from typing import Any

from django.conf import settings
from django.utils.crypto import salted_hmac
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from interventions.origins import origin_of

logger = logging.getLogger(__name__)

WINDOW = 60
# Together less than 50 ms; an answer that takes longer on this network is no answer.
CONNECT_SECONDS, ANSWER_SECONDS = 0.02, 0.025
# So long nobody asks again whom Redis did not answer.
REST_SECONDS = 1.0


class Counter:
    """Counts in one Redis, for all processes together."""

    def __init__(self, url: str) -> None:
        self._server = Redis.from_url(
            url, socket_connect_timeout=CONNECT_SECONDS, socket_timeout=ANSWER_SECONDS, retry=Retry(NoBackoff(), 0)
        )
        self._rests_until = 0.0

    def count(self, key: str) -> int | None:
        """Count one more under this key, for two windows; give how many that makes, or None where nobody counts."""
        if time.monotonic() < self._rests_until:
            return None
        try:
            with self._server.pipeline(transaction=False) as pipe:
                pipe.incr(key)
                pipe.expire(key, 2 * WINDOW)
                return int(pipe.execute()[0])
        except (RedisError, OSError) as error:
            self._rests_until = time.monotonic() + REST_SECONDS
            logger.warning("api.limit.not_counted", extra={"reason": type(error).__name__})
            return None


class CallerLimit(BaseThrottle):
    """
    API_CALLS_PER_MINUTE for each person, and for each IP address that calls without one.

    It keeps an application that went wild from taking the place of others. Passwords are guarded by the lockout, which
    does not depend on Redis.
    """

    def allow_request(self, request: Request, view: Any) -> bool:
        """Tell whether the call may go on."""
        most = settings.API_CALLS_PER_MINUTE
        if not most:
            return True
        window = int(time.time()) // WINDOW
        made = counter(settings.REDIS_URL).count(f"keepwell:calls:{window}:{_caller(request)}")
        return made is None or made <= most

    def wait(self) -> float:
        """Tell in how many seconds the count begins anew."""
        return WINDOW - time.time() % WINDOW


@cache
def counter(url: str) -> Counter:
    """Give this process's counter."""
    return Counter(url)


def _caller(request: Request) -> str:
    if request.user.is_authenticated:
        return f"user:{request.user.pk}"
    # Redis holds no personal data.
    return salted_hmac("keepwell.calls", origin_of(request._request) or "").hexdigest()[:16]
