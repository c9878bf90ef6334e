"""Avatars over HTTP, with headers that let nothing in them run."""

from django.core.files.storage import default_storage
from django.http import FileResponse, Http404, HttpRequest
from django.views.decorators.http import require_safe

YEAR = 365 * 24 * 3600


@require_safe
def avatar(request: HttpRequest, name: str) -> FileResponse:
    """Serve one avatar; the address pattern lets no other path through. A name is never used twice: keep it for ever."""
    try:
        file = default_storage.open(name)
    except FileNotFoundError as error:
        raise Http404 from error
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
