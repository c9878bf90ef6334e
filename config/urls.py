"""Where everything is served."""

from django.contrib import admin
from django.urls import include, path, re_path, register_converter
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from interventions.admin import notices
from interventions.api import outside
from interventions.api import urls as interventions
from sync.admin import health as health_page
from sync.admin import outlets, runs, status, switching, targets
from sync.admin import second_bests as second_bests_page
from sync.api import health, metrics
from sync.api.second_bests import SecondBestsView
from sync.api.standing import read_standing
from therapists import images
from therapists.admin import drill, factor, own, week
from therapists.api import media
from therapists.pages import entrance

handler400 = outside.bad_request
handler404 = outside.page_not_found
handler500 = outside.server_error

register_converter(notices.Day, "day")

urlpatterns = [
    # What most requests are for comes first: each address before it costs them a little.
    path("api/v1/", include("therapists.api.urls")),
    path("api/v1/", include([path("second-bests/", SecondBestsView.as_view(), name="api-second-bests")])),
    path("api/v1/", include(interventions.patterns(read_standing))),
    # An address is changed with the profile, and a telephone is no way to sign in.
    re_path(r"^api/v1/auth/(?:app|browser)/v1/(?:account/(?:email|phone)|auth/phone/.*)$", outside.no_such_address),
    path("api/v1/auth/", include("allauth.headless.urls")),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="docs"),
    re_path("^api/", outside.no_such_address),
    path("", entrance.landing, name="landing"),
    path("me/", include("therapists.pages.urls")),
    path("admin/drill/", drill.page, name="drill"),
    path("admin/health/", health_page.page, name="health_page"),
    path("admin/notices/", notices.page, name="notices"),
    path("admin/notices/test/", notices.send_test, name="notices_test"),
    path("admin/notices/<day:day>/", notices.one_digest, name="digest"),
    path("admin/runs/", runs.PAGES.listing, name="runs"),
    path("admin/runs/<uuid:run_id>/", runs.PAGES.detail, name="run"),
    path("admin/second-bests/", second_bests_page.page, name="second_bests"),
    path("admin/sync-status/", status.page, name="sync_status"),
    path("admin/week/", week.page, name="week"),
    path("admin/targets/<slug:name>/", targets.page, name="target"),
    path("admin/outside/", outlets.page, name="outlets"),
    path("admin/outside/<int:pk>/", outlets.one, name="outlet"),
    path("admin/own/factor/", factor.page, name="own_factor"),
    path("admin/own/zone/", own.page, name="own_zone"),
    path("admin/switch/", switching.page, name="switch"),
    path("admin/", admin.site.urls),
    path("health/live", health.live, name="live"),
    path("health/ready", health.ready, name="ready"),
    path("health/", health.HealthView.as_view(), name="health"),
    path("metrics", metrics.page, name="metrics"),
    re_path(rf"^media/(?P<name>{images.NAME.pattern})$", media.avatar, name="avatar"),
]
