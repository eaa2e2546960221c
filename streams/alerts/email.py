"""The e-mail channel: consumes alerts, sends one message each by SMTP (RFC 5321)."""

import asyncio
import smtplib
import socket
import ssl
from email.message import EmailMessage
from email.utils import format_datetime
from functools import partial
from typing import Final

from schemas.config import Email as EmailSettings
from schemas.drift import DriftAlert
from streams.alerts.channel import Place, nowhere
from streams.alerts.message import fields, title
from streams.alerts.persistence import Attempt, Outcome, persist

_LONGEST_SUBJECT: Final = 160
_PERMANENT: Final = range(500, 600)
_DOMAIN: Final = "headrace.invalid"


class Email:
    """Sends through one SMTP server; user and password are never logged."""

    name = "email"

    def __init__(self, settings: EmailSettings, place: Place = nowhere) -> None:
        self._settings = settings
        self._place = place

    async def tell(self, alert: DriftAlert, *, give_up_after_s: float) -> Outcome:
        """Send a message; answers of the 5xx kind are final."""
        mail = composed(alert, self._settings, self._place(alert))
        attempt = partial(asyncio.to_thread, self._send, mail)
        return await persist(self.name, alert.id, attempt, give_up_after_s=give_up_after_s)

    async def close(self) -> None:
        """Do nothing: no connection is kept."""

    def _send(self, message: EmailMessage) -> Attempt:
        try:
            with self._connected() as server:
                server.send_message(message)
        except smtplib.SMTPRecipientsRefused as error:
            code = max((code for code, _ in error.recipients.values()), default=0)
            return Attempt(f"recipients refused: {code}", code in _PERMANENT)
        except smtplib.SMTPResponseException as error:
            return Attempt(f"SMTP {error.smtp_code}", error.smtp_code in _PERMANENT)
        except (smtplib.SMTPException, OSError) as error:
            return Attempt(type(error).__name__)
        return Attempt()

    def _connected(self) -> smtplib.SMTP:
        asked, here = self._settings, socket.gethostname()  # its full name would be asked of a resolver
        if asked.security == "tls":
            context = ssl.create_default_context()
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                asked.host, asked.port, here, timeout=asked.timeout, context=context
            )
        else:
            server = smtplib.SMTP(asked.host, asked.port, here, timeout=asked.timeout)
        try:
            if asked.security == "starttls":
                server.starttls(context=ssl.create_default_context())
            if asked.user:
                server.login(asked.user, asked.password.get_secret_value())
        except BaseException:
            server.close()
            raise
        return server


def composed(alert: DriftAlert, settings: EmailSettings, page: str = "") -> EmailMessage:
    """Return an alert as a message; its id is the alert's, and a recovery answers what it ends."""
    message = EmailMessage()
    message["Subject"] = " ".join(title(alert).split())[:_LONGEST_SUBJECT]
    message["From"] = settings.sender
    message["To"] = ", ".join(settings.to)
    message["Date"] = format_datetime(alert.raised_at)
    message["Message-ID"] = f"<{alert.id}@{_DOMAIN}>"
    ended = alert.evidence.get("alert")
    if alert.recovered and isinstance(ended, str):
        message["In-Reply-To"] = message["References"] = f"<{ended}@{_DOMAIN}>"
    message["Auto-Submitted"] = "auto-generated"
    lines = [f"{name + ':':<12}{value}" for name, value in fields(alert, page).items()]
    message.set_content("\n".join([title(alert), "", *lines, ""]))
    return message
