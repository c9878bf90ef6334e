"""The engine: keeps declared copies equal, whatever the project calls its facts."""

from django.apps import AppConfig


class SyncConfig(AppConfig):
    """Connects receivers and offers itself to the desk of interventions."""

    name = "sync"
    verbose_name = "Desk"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connect what needs every app to be loaded."""
        from django.urls import reverse

        from interventions.handlers import register_page
        from sync import alerts, checks, deletion, operations, receivers

        checks.register()
        operations.register()
        alerts.register()
        receivers.connect()
        register_page(deletion.MASS, lambda hold: reverse("admin:sync_hold_change", args=[hold]))
