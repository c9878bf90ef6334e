"""What somebody pressed and what waits in their browser: the page alone, for only the browser knows what waits in it."""

from django.http import HttpRequest, HttpResponse

from therapists.pages.frame import own, shown


@own("GET")
def page(request: HttpRequest) -> HttpResponse:
    """Show the page; its script lists what waits."""
    return shown(request, "queue", "queue")
