"""The therapists' app: what is known about a therapist, and how it is declared to be kept equal."""

from django.apps import AppConfig


class TherapistsConfig(AppConfig):
    """Registers the declaration with the engine."""

    name = "therapists"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Tell `sync` what is a copy of what; this is all it ever hears of therapists."""
        from sync.mirrors import register
        from therapists.mirrors import DECLARATION

        register(DECLARATION)
