"""Letters about somebody's account, posted by a thread of their own: no request waits for a mail server."""

import logging
import queue
import threading

from django.core.mail import EmailMessage
from django.template.loader import render_to_string

from sync.integrations import smtp

logger = logging.getLogger(__name__)

MOST_WAITING = 500


class Letterbox:
    """
    One box a process.

    What is in it is lost with the process, and what a server refuses is lost at once: whoever waits for a code asks for
    another one. Nothing of a letter is logged.
    """

    def __init__(self) -> None:
        self._waiting: queue.Queue[EmailMessage] = queue.Queue(MOST_WAITING)
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def put(self, letter: EmailMessage) -> None:
        """Take a letter at once, or none where too many wait."""
        try:
            self._waiting.put_nowait(letter)
        except queue.Full:
            logger.error("accounts.letter.dropped", extra={"waiting": MOST_WAITING})
            return
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._serve, name="letters", daemon=True)
                self._thread.start()

    def wait(self) -> None:
        """Wait until everything that was put in is posted or lost."""
        self._waiting.join()

    def _serve(self) -> None:
        while True:
            letter = self._waiting.get()
            try:
                smtp.send(letter)
            except (OSError, ValueError) as error:
                # Also everything that smtplib raises, and an address that no letter can be sent to.
                logger.warning("accounts.letter.lost", extra={"reason": type(error).__name__})
            finally:
                self._waiting.task_done()


box = Letterbox()


def post(letter: EmailMessage) -> None:
    """Post a letter soon, best effort."""
    box.put(letter)


def address_changed(*, before: str) -> None:
    """Tell the address that an account had until now: its new one may be that of somebody who found a session open."""
    text = render_to_string("account/email/address_changed_message.txt")
    post(EmailMessage("The address of your account was changed", text.strip(), to=[before]))
