"""Avatars over HTTP, with headers that let nothing in them run."""

import logging

from django.core.files.storage import default_storage
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from interventions.api.problems import RETRY_SECONDS

logger = logging.getLogger(__name__)
YEAR = 365 * 24 * 3600


@require_safe
def avatar(request: HttpRequest, name: str) -> FileResponse | HttpResponse:
    """
    Serve one avatar; the address pattern lets no other path through. A name is never used twice: keep it for ever.

    503 where what keeps it does not answer: that is no word about the picture.
    """
    try:
        file = default_storage.open(name)
    except FileNotFoundError as error:
        raise Http404 from error
    except OSError as error:
        logger.error("api.media.unavailable", extra={"errno": error.errno})
        return HttpResponse(status=503, headers={"Retry-After": str(RETRY_SECONDS), "Cache-Control": "no-store"})
    return FileResponse(
        file,
        content_type="image/webp",
        headers={
            "Cache-Control": f"public, max-age={YEAR}, immutable",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; sandbox",
            "Cross-Origin-Resource-Policy": "same-origin",
        },
    )
