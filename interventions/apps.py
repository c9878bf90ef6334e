"""The desk: items that need a person. Knows nobody; whoever can retry registers a handler."""

from django.apps import AppConfig
from django.conf import settings


class InterventionsConfig(AppConfig):
    """Adds the desk's checks, watches transactions, and switches failpoints on where the settings allow them."""

    name = "interventions"
    verbose_name = "Desk"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connect what needs every app to be loaded."""
        from interventions import checks, commits, failpoints

        commits.guard()
        checks.register()
        failpoints.allow(settings.FAILPOINTS_FILE if settings.ALLOW_FAILPOINTS else None)
