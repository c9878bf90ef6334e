"""History, for reading."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from interventions.models import History


@admin.register(History)
class HistoryAdmin(ModelAdmin):
    """Who did what, when; the database refuses every change of it."""

    list_display = ("at", "actor", "action", "object_type", "object_id", "from_state", "to_state")
    list_display_links = None
    list_filter = ("action",)
    list_per_page = 50
    search_fields = ("object_id", "actor", "request_id")
    ordering = ("-id",)
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody adds a line by hand."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody changes a line."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody deletes a line."""
        return False
