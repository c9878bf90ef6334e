"""Items that need a person, their causes, bulk retries, alerts, and the history of what people and the engine did with them."""

from interventions.models.alerts import Alert, AlertDelivery, AlertReading, AlertState, AlertWatch, Digest
from interventions.models.causes import Cause, CauseState
from interventions.models.events import StreamEvent, StreamMark
from interventions.models.items import Intervention, RandomUUID, Resolution, State
from interventions.models.keys import KeyedRequest
from interventions.models.records import FailedRequest, History, HistoryQuerySet
from interventions.models.retry_runs import RetryOutcome, RetryRun, RetryRunItem, RetryState, RunRecord

__all__ = [
    "Alert",
    "AlertDelivery",
    "AlertReading",
    "AlertState",
    "AlertWatch",
    "Cause",
    "CauseState",
    "Digest",
    "FailedRequest",
    "History",
    "HistoryQuerySet",
    "Intervention",
    "KeyedRequest",
    "RandomUUID",
    "Resolution",
    "RetryOutcome",
    "RetryRun",
    "RetryRunItem",
    "RetryState",
    "RunRecord",
    "State",
    "StreamEvent",
    "StreamMark",
]
