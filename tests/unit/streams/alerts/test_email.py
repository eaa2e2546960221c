"""The e-mail channel against a real SMTP server."""

import asyncio
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from pydantic import SecretStr

from schemas.config import Email as EmailSettings
from streams.alerts.email import Email, composed
from streams.alerts.persistence import Outcome
from tests.unit.streams.alerts.alert import alert
from tests.waiting import aeventually


class Mailbox:
    """Takes messages, after the answers it was told to give first."""

    def __init__(self, *answers: str) -> None:
        self._answers = list(answers)
        self.messages: list[EmailMessage] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802  # its name
        """Take a message."""
        if self._answers:
            return self._answers.pop(0)
        assert isinstance(envelope.content, bytes)
        parsed = BytesParser(EmailMessage, policy=default).parsebytes(envelope.content)
        assert isinstance(parsed, EmailMessage)
        self.messages.append(parsed)
        return "250 taken"


def _settings(port: int = 25) -> EmailSettings:
    return EmailSettings(
        host="127.0.0.1",
        port=port,
        security="none",
        sender="headrace@x.invalid",
        to=("on@x.invalid", "call@x.invalid"),
    )


async def _told(mailbox: Mailbox, **changed: Any) -> Outcome:
    loop = asyncio.get_running_loop()
    connections: list[SMTP] = []

    def connection() -> SMTP:
        connections.append(SMTP(mailbox, loop=loop))
        return connections[-1]

    async def all_closed() -> bool:
        return all(one.transport is None for one in connections)

    server = await loop.create_server(connection, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        outcome = await Email(_settings(port)).tell(alert(**changed), give_up_after_s=10.0)
        await aeventually(all_closed)
    return outcome


async def test_an_alert_is_a_message_that_says_what_to_do() -> None:
    """Subject, recipients, runbook and the alert's id as message id; a busy server is asked again."""
    mailbox = Mailbox("451 later")
    assert await _told(mailbox) is Outcome.TAKEN
    (message,) = mailbox.messages
    assert message["Subject"] == "[CRITICAL] the error rate rose"
    assert message["To"] == "on@x.invalid, call@x.invalid"
    assert message["Message-ID"].startswith("<a1@")
    assert "infra/runbooks/drift-error.md" in message.get_content()


async def test_a_refusal_is_final() -> None:
    """A 5xx answer is not tried again."""
    mailbox = Mailbox("554 no")
    assert await _told(mailbox) is Outcome.REFUSED
    assert mailbox.messages == []


async def test_nobody_there_is_given_up(capsys: pytest.CaptureFixture[str]) -> None:
    """A server that is away ends in EXPIRED, and the password is in no log line."""
    settings = _settings(1).model_copy(update={"user": "u", "password": SecretStr("hunter2")})
    assert await Email(settings).tell(alert(), give_up_after_s=0.0) is Outcome.EXPIRED
    assert "hunter2" not in "".join(capsys.readouterr())


def test_a_recovery_answers_what_it_ends() -> None:
    """Mail programs show both in one thread; a summary with line ends makes no header of its own."""
    over = alert("a1-r", recovered=True, evidence={"alert": "a1"}, summary="over\r\nBcc: all@x.invalid")
    message = composed(over, _settings())
    assert message["In-Reply-To"] == message["References"] == "<a1@headrace.invalid>"
    assert message["Subject"] == "[RECOVERED] over Bcc: all@x.invalid"
    assert message["Bcc"] is None
