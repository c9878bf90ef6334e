"""The desk in the admin: inbox, item, resolving with proof, history."""

from interventions import reasons
from interventions.admin.history import HistoryAdmin
from interventions.admin.inbox import InterventionAdmin

__all__ = ["HistoryAdmin", "InterventionAdmin", "reasons"]
