"""Where a person's own pages are."""

from django.urls import path

from therapists.pages import account, bookings, credits, entrance, forgotten, places, profile, queue

app_name = "own"
urlpatterns = [
    path("", profile.page, name="profile"),
    path("sign-in/", entrance.sign_in, name="sign_in"),
    path("sign-in/code/", entrance.code, name="code"),
    path("sign-in/address/", entrance.address, name="address"),
    path("sign-out/", entrance.sign_out, name="sign_out"),
    path("password/", forgotten.page, name="forgotten"),
    path("password/new/", forgotten.new_password, name="new_password"),
    path("picture/", profile.set_avatar, name="picture"),
    path("picture/remove/", profile.remove_avatar, name="remove_picture"),
    path("data/", places.page, name="places"),
    path("queue/", queue.page, name="queue"),
    path("bookings/", bookings.page, name="bookings"),
    path("bookings/<int:pk>/confirm/", bookings.confirm, name="confirm"),
    path("bookings/<int:pk>/cancel/", bookings.cancel, name="cancel"),
    path("credits/", credits.page, name="credits"),
    path("account/", account.page, name="account"),
    path("account/password/", account.change_password, name="change_password"),
    path("account/zone/", account.choose_zone, name="zone"),
    path("account/sessions/", account.end_sessions, name="end_sessions"),
    path("account/leave/", account.leave, name="leave"),
]
