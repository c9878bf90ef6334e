"""The engine: keeps declared copies equal, whatever the project calls its facts."""

from django.apps import AppConfig


class SyncConfig(AppConfig):
    """Connects receivers and offers itself to the desk of interventions."""

    name = "sync"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connect what needs every app to be loaded."""
        from sync import checks, operations, receivers

        checks.register()
        operations.register()
        receivers.connect()
