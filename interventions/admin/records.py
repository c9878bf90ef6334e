"""Pages of rows that stand on record: other parts write them, and no form adds, edits or deletes one."""

from typing import Any

from django.http import HttpRequest


class OnRecord:
    """Refuses every form of the admin; stands before ModelAdmin."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody adds a row by hand."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody edits a row by a form."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody deletes a row."""
        return False
