"""The desk's addresses under /api/v1/."""

from django.urls import URLPattern, path

from interventions.api.attention import ITEM_DECISIONS
from interventions.api.causes import CAUSE_DECISIONS, CauseRetryView, CausesView, CauseView
from interventions.api.envelope import ReadStanding
from interventions.api.events import EventsView
from interventions.api.outcomes import OutcomeView
from interventions.api.runs import RunsView, RunSwitchView, RunView
from interventions.api.views import ItemsView, ItemView, ResolveView, RetryView


def patterns(read_standing: ReadStanding) -> list[URLPattern]:
    """Give the addresses; `read_standing` tells after a write how the person's copies stand."""
    return [
        path("interventions/", ItemsView.as_view(), name="interventions"),
        path("interventions/<uuid:pk>/", ItemView.as_view(), name="intervention"),
        path(
            "interventions/<uuid:pk>/retry/", RetryView.as_view(read_standing=read_standing), name="intervention-retry"
        ),
        path(
            "interventions/<uuid:pk>/resolve/",
            ResolveView.as_view(read_standing=read_standing),
            name="intervention-resolve",
        ),
        *[
            path(
                f"interventions/<uuid:pk>/{word}/",
                view.as_view(read_standing=read_standing),
                name=f"intervention-{word}",
            )
            for word, view in ITEM_DECISIONS.items()
        ],
        path("causes/", CausesView.as_view(), name="causes"),
        path("causes/<uuid:pk>/", CauseView.as_view(), name="cause"),
        path("causes/<uuid:pk>/retry/", CauseRetryView.as_view(), name="cause-retry"),
        *[
            path(f"causes/<uuid:pk>/{word}/", view.as_view(), name=f"cause-{word}")
            for word, view in CAUSE_DECISIONS.items()
        ],
        path("events/", EventsView.as_view(), name="events"),
        path("operations/<path:key>/", OutcomeView.as_view(), name="operation"),
        path("runs/", RunsView.as_view(), name="retry-runs"),
        path("runs/<uuid:pk>/", RunView.as_view(), name="retry-run"),
        *[
            path(f"runs/<uuid:pk>/{action}/", RunSwitchView.as_view(action=action), name=f"retry-run-{action}")
            for action in ("pause", "resume", "cancel")
        ],
    ]
