"""Letters over SMTP, each within a time that is bounded as a whole."""

import smtplib
import socket

from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.core.mail.backends.smtp import EmailBackend

from sync.integrations.deadline import Deadline, watched

SMTP = "django.core.mail.backends.smtp.EmailBackend"
# A letter is half a dozen answers of the server, of which each may take EMAIL_TIMEOUT; all of them together this many times that.
WHOLE = 2


class _Server(smtplib.SMTP):
    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        return watched(super()._get_socket(host, port, timeout))  # type: ignore[misc]


class _SecureServer(smtplib.SMTP_SSL, _Server):
    """Watched before its handshake: the first base asks the second one for the socket."""


class Bounded(EmailBackend):
    """Django's own, over connections that a deadline cuts."""

    @property
    def connection_class(self) -> type[smtplib.SMTP]:
        """What speaks with the server."""
        return _SecureServer if self.use_ssl else _Server


def send(letter: EmailMessage) -> None:
    """
    Send a letter by the mail server that is configured, within twice EMAIL_TIMEOUT as a whole.

    Raises smtplib.SMTPException and OSError; TimeoutError when it was not answered in time, be it drop by drop.
    """
    backend = f"{__name__}.{Bounded.__name__}" if settings.EMAIL_BACKEND == SMTP else None
    letter.connection = get_connection(backend, timeout=settings.EMAIL_TIMEOUT)
    with Deadline(WHOLE * settings.EMAIL_TIMEOUT) as deadline:
        try:
            letter.send()
        except (smtplib.SMTPException, OSError) as error:
            if deadline.is_over:
                raise TimeoutError from error
            raise
