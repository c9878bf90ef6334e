"""Notices by e-mail: what was decided about somebody's verification, and that their profile is public."""

import smtplib
from collections.abc import Mapping
from email.utils import parseaddr
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage

from sync.backoff import NO_ANSWER, NO_CREDENTIALS, REFUSED_BY_MAIL, TOO_LATE
from sync.integrations import smtp
from sync.integrations.base import Answer, CallFailed, Lane, Message

# What is decided, and what is written then; whoever waits is told nothing.
LETTERS = {
    "approved": (
        "You are verified, and your profile is public",
        "Your enrollment was approved. You are verified from now on, and your profile can be found in the directory.",
    ),
    "rejected": (
        "Your enrollment was not approved",
        "Your enrollment was not approved, so your profile is not public. Please answer this letter if you have questions.",
    ),
    "suspended": (
        "Your profile is not public at present",
        "Your verification was suspended, so your profile is not public. Please answer this letter if you have questions.",
    ),
}  # fmt: skip


class Mail:
    """`EMAIL_URL` says by which server, `MAIL_NOTICES` whether at all. A server honours no key: a crash may send twice."""

    def lanes(self) -> list[Lane]:
        """Give the one mail server."""
        return [Lane("mail", settings.EMAIL_URL)] if settings.MAIL_NOTICES and settings.EMAIL_URL else []

    def word(self, values: Mapping[str, Any]) -> str:
        """What was decided."""
        return str(values["verification"] or "")

    def tells(self, word: str) -> bool:
        """Whether there is a letter for it."""
        return word in LETTERS

    def call(self, lane: Lane, message: Message) -> Answer:
        """Send one letter to the address of now."""
        subject, text = LETTERS[message.word]
        sender = parseaddr(settings.DEFAULT_FROM_EMAIL)[1]
        headers = {"Message-ID": f"<{message.key.replace(':', '.')}@{sender.rpartition('@')[2] or 'localhost'}>"}
        greeting = f"Dear {message.values['name']},\n\n{text}\n"
        letter = EmailMessage(subject, greeting, to=[message.values["email"]], headers=headers)
        try:
            smtp.send(letter)
        except smtplib.SMTPAuthenticationError as error:
            raise CallFailed(NO_CREDENTIALS) from error
        except (smtplib.SMTPRecipientsRefused, UnicodeError, ValueError) as error:
            raise CallFailed(REFUSED_BY_MAIL) from error
        except smtplib.SMTPResponseException as error:
            raise CallFailed(REFUSED_BY_MAIL if error.smtp_code >= 500 else NO_ANSWER) from error
        except TimeoutError as error:
            raise CallFailed(TOO_LATE) from error
        except (smtplib.SMTPException, OSError) as error:
            raise CallFailed(NO_ANSWER) from error
        return Answer({"published": 1})
