from __future__ import annotations

import asyncio
import contextlib
import email
import email.policy
import ssl
from collections.abc import AsyncIterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from pydantic import ValidationError

from app.core.change import FieldChange, Resource
from app.core.finding import DiffBlock, FileBlock, Notification
from app.sinks._mail_message import ATTACHED_BYTES, BODY_BYTES, compose, file_name
from app.sinks._mail_server import from_url, ses_password
from app.sinks.base import PermanentError, Sink, SinkError, SinkSetupError, TemporaryError
from app.sinks.mail import MailConfig, MailSink, mail_server
from tests.sinks import samples
from tests.sinks.receiver import self_signed
from tests.sinks.stands import Behaviour

PASSWORD = "smtp-password-1234"
SECRETS = (PASSWORD,)
OTHERS = {"from_email": "witness@example.com", "to": "alice@example.com, Bob <bob@example.com>"}


def options(folder: Path) -> dict[str, Any]:
    return {"host": "smtp.example.com", "username": "witness", "password": PASSWORD, **OTHERS}


class Server:
    """A real SMTP server: what it answers to each command can be said, what it took is kept."""

    def __init__(self) -> None:
        self.answers: dict[str, str] = {}
        self.taken: list[Envelope] = []
        self.logins: list[tuple[bytes, bytes]] = []
        self.encrypted: list[bool] = []
        self.hanging = asyncio.Event()
        self.hangs = False
        self.port = 0

    async def handle_MAIL(  # noqa: N802  as aiosmtpd names it
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.hangs:
            await self.hanging.wait()
        envelope.mail_from = address
        return self.answers.get("MAIL", "250 OK")

    async def handle_RCPT(  # noqa: N802  as aiosmtpd names it
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = self.answers.get(address, self.answers.get("RCPT", "250 OK"))
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(  # noqa: N802  as aiosmtpd names it
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        answer = self.answers.get("DATA", "250 2.0.0 Ok: queued as 4F1B2C")
        if answer.startswith("250"):
            self.taken.append(envelope)
            self.encrypted.append(session.ssl is not None)
        return answer

    def login(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login, data.password))
        return AuthResult(success=data.password == PASSWORD.encode(), handled=False)

    def message(self) -> EmailMessage:
        return parsed(self.taken[-1])


def parsed(envelope: Envelope) -> EmailMessage:
    assert isinstance(envelope.content, bytes)
    message = email.message_from_bytes(envelope.content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


@contextlib.asynccontextmanager
async def serving(tls: ssl.SSLContext | None = None, *, implicit: bool = False, **more: Any) -> AsyncIterator[Server]:
    own = Server()
    defaults: dict[str, Any] = {
        "hostname": "mail.test",
        "authenticator": own.login,
        "auth_require_tls": tls is not None,
    }

    def connected() -> SMTP:
        return SMTP(own, tls_context=None if implicit else tls, **{**defaults, **more})

    loop = asyncio.get_running_loop()
    listener = await loop.create_server(connected, "127.0.0.1", 0, ssl=tls if implicit else None)
    own.port = listener.sockets[0].getsockname()[1]
    try:
        yield own
    finally:
        own.hanging.set()
        listener.close()


class MailStand:
    def __init__(self, server: Server) -> None:
        self.server = server
        self.sink: Sink[Any] = sink(server.port, username="witness", password=PASSWORD)

    @property
    def arrived(self) -> list[str]:
        return [str(parsed(envelope)) for envelope in self.server.taken]

    @arrived.setter
    def arrived(self, value: list[str]) -> None:
        raise AttributeError

    def behave(self, how: Behaviour) -> None:
        self.server.hangs = how == "hang"
        self.server.answers = {
            "take": {},
            "hang": {},
            "busy": {"MAIL": "451 4.3.2 Please try again later"},
            "refuse": {"RCPT": "550 5.1.1 No such user here"},
        }[how]


@contextlib.asynccontextmanager
async def stand(folder: Path) -> AsyncIterator[MailStand]:
    async with serving() as server:
        yield MailStand(server)


def config(**more: Any) -> MailConfig:
    return MailConfig.model_validate({"name": "m", **more})


def sink(port: int, **more: Any) -> MailSink:
    return MailSink(
        config(**{"host": "127.0.0.1", "port": port, "tls": "none", "timeout_seconds": 5, **OTHERS, **more})
    )


async def mailed(notification: Notification, **more: Any) -> EmailMessage:
    async with serving() as server:
        await sink(server.port, **more).send(notification)
        return server.message()


def text_of(message: EmailMessage, kind: str = "plain") -> str:
    part = message.get_body((kind,))
    assert isinstance(part, EmailMessage)
    return str(part.get_content()).replace("\r\n", "\n")


def problem(**more: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        config(**more)
    return str(caught.value)


async def failure(answers: dict[str, str], **more: Any) -> SinkError:
    async with serving() as server:
        server.answers = answers
        with pytest.raises(SinkError) as caught:
            await sink(server.port, **more).send(samples.image())
        return caught.value


async def test_a_mail_says_who_changed_what_in_text_and_html() -> None:
    message = await mailed(samples.image())

    assert message["Subject"] == "🔵 Deployment/shop/web updated (prod)"
    assert message["From"] == "kubewitness <witness@example.com>"
    assert message["To"] == "alice@example.com, Bob <bob@example.com>"
    assert f"• {samples.IMAGE}: nginx:1.27 → nginx:1.28\n" in text_of(message)
    assert f"Open the entry: {samples.LINK}\n" in text_of(message)
    assert f'<a href="{samples.LINK}">Open the entry</a>' in text_of(message, "html")
    assert ">nginx:1.28</code>" in text_of(message, "html")


async def test_everybody_gets_it_and_nobody_sees_who_got_a_blind_copy() -> None:
    async with serving() as server:
        await sink(server.port, cc=["carol@example.com"], bcc="dan@example.com", reply_to=["ops@example.com"]).send(
            samples.image()
        )

    addresses = [f"{name}@example.com" for name in ("alice", "bob", "carol", "dan")]
    assert server.taken[0].rcpt_tos == addresses
    assert server.taken[0].mail_from == "witness@example.com"
    assert server.message()["Cc"] == "carol@example.com"
    assert server.message()["Reply-To"] == "ops@example.com"
    assert "dan@" not in str(server.message())


async def test_repeats_have_the_same_id_and_date_so_that_they_can_be_dropped() -> None:
    first, again = await mailed(samples.image(attempt=1)), await mailed(samples.image(attempt=2))

    assert first["Message-ID"] == again["Message-ID"] == "<d-1@example.com>"
    assert first["Date"] == again["Date"] == "Fri, 02 Jan 2026 03:04:05 +0000"


async def test_mails_about_one_object_are_one_thread() -> None:
    first, second = await mailed(samples.image()), await mailed(samples.folded())
    other = await mailed(samples.created())

    assert first["References"] == first["In-Reply-To"] == second["References"]
    assert other["References"] != first["References"]


async def test_machines_do_not_answer_and_high_severity_is_marked() -> None:
    change, job = await mailed(samples.image()), await mailed(samples.failed_job())

    assert change["Auto-Submitted"] == "auto-generated"
    assert (change["Importance"], job["Importance"]) == (None, "high")


async def test_nothing_from_the_cluster_makes_a_header_or_hides_in_one() -> None:
    evil = "x\r\nBcc: victim@evil.example\r\n\r\n=?utf-8?q?=0ABcc:_victim=40evil.example?="
    told = samples.notification(title=evil, cluster=evil, resource=Resource(kind="Pod", name=evil))

    message = await mailed(told)

    assert message["Bcc"] is None
    assert message["Subject"].startswith("🔵 x Bcc: victim@evil.example = ?utf-8?q?=0ABcc:")
    assert "\n" not in message["Subject"]
    assert message.keys() == (await mailed(samples.image())).keys()


async def test_names_from_the_cluster_are_no_markup() -> None:
    html = text_of(await mailed(samples.hostile_names()), "html")

    assert "<b>x</b>" not in html
    assert "&lt;b&gt;x&lt;/b&gt;" in html
    assert "</pre>\n" not in html.replace("</pre><br>", "")


async def test_logs_are_attached_whole() -> None:
    message = await mailed(samples.failed_job())

    (log,) = message.iter_attachments()

    assert log.get_filename() == "nightly-28391-x7k2p_importer.log"
    assert log.get_content_type() == "text/plain"
    assert log.get_content().replace("\r\n", "\n").startswith("2026-01-02T03:03:00 row 0 imported\n")
    assert "row 39 imported" in text_of(message)
    assert "row 3 imported" not in text_of(message)


async def test_a_long_value_is_cut_in_the_text_and_attached_whole() -> None:
    long = FieldChange("data[x]", "replace", "a" * 1_000_000, {"b": "c" * 1000})

    message = await mailed(samples.notification(DiffBlock(changes=(long,))))

    (attached,) = message.iter_attachments()
    assert attached.get_filename() == "changes.txt"
    assert "a" * 1_000_000 in attached.get_content()
    assert f'"b": "{"c" * 1000}"' in attached.get_content()
    assert len(text_of(message)) < 2000


async def test_many_fields_stay_within_the_limit_and_say_how_many_are_missing() -> None:
    message = await mailed(samples.many_fields(3000))

    html = text_of(message, "html")
    shown = html.count("• ")
    assert BODY_BYTES - 1000 < len(html.encode()) < BODY_BYTES + 500
    assert f"… {3000 - shown} more fields<br>" in html
    assert samples.LINK in html
    (attached,) = message.iter_attachments()
    assert attached.get_content().count("+++ new") == 3000


def test_attachments_are_bounded_and_keep_the_end_of_a_log() -> None:
    log = FileBlock(name="app.log", content="x" * (ATTACHED_BYTES + 1000) + "the end")

    message = compose(samples.notification(log, log), from_url("mailto://x.io?from=a@x.io"))

    (attached,) = message.iter_attachments()
    content = attached.get_content()
    assert content.startswith("(the first 1007 bytes are left out)")
    assert content.rstrip().endswith("the end")
    assert len(content) <= ATTACHED_BYTES + 50


async def test_attachments_do_nothing_to_a_terminal() -> None:
    (attached,) = (await mailed(samples.hostile_names())).iter_attachments()

    assert not {"\x1b", "\u202e", "\x07"} & set(attached.get_content())
    assert "\\u202eexe.txt" in attached.get_content()


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("pod/app.log", "pod_app.log"),
        ("../../etc/passwd", "etc_passwd.txt"),
        ("invoice.exe", "invoice.exe.txt"),
        ("a\r\nContent-Type: text/html", "a_Content-Type_text_html.txt"),
        ("\u202e", "u202e.txt"),
        ("...", "file.txt"),
    ],
)
def test_attachments_have_names_that_do_no_harm(name: str, safe: str) -> None:
    assert file_name(name) == safe


async def test_without_header_there_is_neither_title_nor_link_unless_something_is_missing() -> None:
    short = text_of(await mailed(samples.image(), with_header=False))
    long = text_of(await mailed(samples.many_fields(3000), with_header=False))

    assert short.startswith("Updated by alice with kubectl-set.")
    assert samples.LINK not in short
    assert samples.LINK in long


async def test_starttls_with_a_login_and_the_authority_of_a_file(tmp_path: Path) -> None:
    context, authority = self_signed(tmp_path)
    async with serving(context, require_starttls=True) as server:
        await sink(server.port, tls="starttls", ca_file=authority, username="w", password=PASSWORD).send(
            samples.image()
        )
        await sink(server.port, tls="starttls", verify_tls=False).send(samples.image())
        with pytest.raises(TemporaryError, match="certificate verify failed"):
            await sink(server.port, tls="starttls").send(samples.image())

    assert server.logins == [(b"w", PASSWORD.encode())]
    assert server.encrypted == [True, True]


async def test_tls_from_the_first_byte(tmp_path: Path) -> None:
    context, authority = self_signed(tmp_path)
    async with serving(context, implicit=True) as server:
        await sink(server.port, tls="tls", ca_file=authority).send(samples.image())

    assert len(server.taken) == 1


async def test_a_server_without_starttls_is_told_nothing() -> None:
    async with serving() as server:
        with pytest.raises(PermanentError, match="offers no STARTTLS; set tls to tls, or to none"):
            await sink(server.port, tls="starttls", username="w", password=PASSWORD).send(samples.image())

    assert server.logins == []


async def test_a_wrong_password_is_permanent_with_advice_and_is_not_shown() -> None:
    error = await failure({}, username="witness", password="wrong-password-1234")

    assert isinstance(error, PermanentError)
    assert "answered 535: 5.7.8 Authentication credentials invalid; check username and password" in str(error)
    assert "wrong-password-1234" not in str(error)


async def test_secrets_that_a_server_repeats_are_not_shown() -> None:
    error = await failure({"MAIL": f"550 not with {PASSWORD}"}, username="witness", password=PASSWORD)

    assert "answered 550: not with ***" in str(error)


@pytest.mark.parametrize(
    ("answers", "kind", "said"),
    [
        ({"MAIL": "421 4.3.2 Shutting down"}, TemporaryError, "answered 421: 4.3.2 Shutting down"),
        ({"MAIL": "452 4.3.1 Insufficient system storage"}, TemporaryError, "answered 452"),
        ({"DATA": "450 4.2.0 Greylisted"}, TemporaryError, "answered 450: 4.2.0 Greylisted"),
        ({"DATA": "454 Throttling failure: Maximum sending rate exceeded."}, TemporaryError, "answered 454"),
        ({"RCPT": "450 4.2.1 Mailbox busy"}, TemporaryError, "refused alice@example.com: 450 4.2.1 Mailbox busy; bob@"),
        ({"RCPT": "550 5.1.1 No such user"}, PermanentError, "refused alice@example.com: 550 5.1.1 No such user; bob@"),
        ({"DATA": "552 5.3.4 Message too big"}, PermanentError, "answered 552: 5.3.4 Message too big; the mailbox is"),
        ({"MAIL": "553 5.7.1 Not yours"}, PermanentError, "witness@example.com must be an address that this account"),
    ],
)
async def test_replies_are_for_now_or_for_good(answers: dict[str, str], kind: type[Exception], said: str) -> None:
    error = await failure(answers)

    assert type(error) is kind
    assert said in str(error)


async def test_those_who_have_a_mail_do_not_get_it_again_because_others_were_refused() -> None:
    async with serving() as server:
        mail = sink(server.port)
        server.answers = {"bob@example.com": "450 4.2.1 Greylisted, come back later"}
        with pytest.raises(TemporaryError, match=r"refused bob@example\.com: 450 .* later \(1 other got it\)"):
            await mail.send(samples.image())
        server.answers = {}
        await mail.send(samples.image(attempt=2))
        await mail.send(samples.image(attempt=3))

    who = [envelope.rcpt_tos for envelope in server.taken]
    assert who == [["alice@example.com"], ["bob@example.com"], ["alice@example.com", "bob@example.com"]]


async def test_a_recipient_who_does_not_exist_is_an_error_though_others_got_it() -> None:
    error = await failure({"bob@example.com": "550 5.1.1 No such user"})

    assert isinstance(error, PermanentError)
    assert "refused bob@example.com: 550 5.1.1 No such user (1 other got it)" in str(error)


async def test_a_server_that_hangs_or_is_gone_is_tried_again() -> None:
    async with serving() as server:
        server.hangs = True
        with pytest.raises(TemporaryError, match=r"127\.0\.0\.1 did not answer within 0\.2 s"):
            await sink(server.port, timeout_seconds=0.2).send(samples.image())
    with pytest.raises(TemporaryError, match=r"cannot reach 127\.0\.0\.1"):
        await sink(server.port).send(samples.image())


async def test_a_mailto_url_is_enough() -> None:
    async with serving() as server:
        url = (
            f"mailto://witness:{PASSWORD}@127.0.0.1:{server.port}?from=me@example.com&to=a@example.com&cc=b@example.com"
        )
        await MailSink(config(mailto=url)).send(samples.image())

    assert server.logins == [(b"witness", PASSWORD.encode())]
    assert server.taken[0].rcpt_tos == ["a@example.com", "b@example.com"]
    assert server.message()["From"] == "kubewitness <me@example.com>"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mailtos://u:p@server&from=a@x.io&to=b@y.io,c@z.io", ("server", 587, "starttls", "u", ["b@y.io", "c@z.io"])),
        ("mailtos://u:p@smtp.x.io?from=a@x.io&mode=ssl", ("smtp.x.io", 465, "tls", "u", ["a@x.io"])),
        ("mailto://smtp.x.io/b@y.io/c@z.io?from=a@x.io", ("smtp.x.io", 25, "none", "", ["b@y.io", "c@z.io"])),
        ("mailto://bob:app@gmail.com", ("smtp.gmail.com", 587, "starttls", "bob@gmail.com", ["bob@gmail.com"])),
        ("mailtos://u:p@x.io:2525?smtp=relay.x.io&to=b@y.io", ("relay.x.io", 2525, "starttls", "u", ["b@y.io"])),
    ],
)
def test_mailto_urls_mean_what_they_mean_to_apprise(url: str, expected: tuple[Any, ...]) -> None:
    server = from_url(url)

    assert (server.host, server.port, server.tls, server.username, server.recipients) == expected


def test_names_headers_and_unchecked_certificates_of_a_mailto_url() -> None:
    server = from_url("mailtos://x.io?from=a@x.io&name=Witness&to=b@y.io&verify=no&+X-Team=shop&reply=c@z.io")

    assert str(server.sender) == "Witness <a@x.io>"
    assert server.headers.items == (("X-Team", "shop"),)
    assert (server.verify, [str(each) for each in server.reply_to]) == (False, ["c@z.io"])


@pytest.mark.parametrize(
    ("secret", "region", "password"),
    [  # those that the AWS provider of Terraform is tested with
        ("some+secret+key", "eu-central-1", "BMXhUYlu5Z3gSXVQORxlVa7XPaz91aGWdfHxvkOZdWZ2"),
        ("another+secret+key", "us-west-1", "BKVmjjMDFk/qqw8EROW99bjCS65PF8WKvK5bSr4Y6EqF"),
    ],
)
def test_the_smtp_password_of_ses_comes_from_the_secret_key(secret: str, region: str, password: str) -> None:
    assert ses_password(secret, region) == password


SES = {
    "mailto": "mailtos://alerts@example.com?to=b@y.io,c@z.io",
    "use_ses": True,
    "aws_region": "us-east-1",
    "from_email": "witness@example.com",
}


def test_ses_is_reached_by_smtp_with_the_options_that_robusta_has() -> None:
    keys = {"aws_access_key_id": "AKIA1", "aws_secret_access_key": "some+secret+key", "configuration_set": "mails"}

    server = mail_server(config(**SES, **keys))

    assert (server.host, server.port, server.tls) == ("email-smtp.us-east-1.amazonaws.com", 587, "starttls")
    assert (server.username, server.password) == ("AKIA1", ses_password("some+secret+key", "us-east-1"))
    assert server.recipients == ["alerts@example.com", "b@y.io", "c@z.io"]
    assert server.headers.items == (("X-SES-CONFIGURATION-SET", "mails"),)


@pytest.mark.parametrize(
    ("more", "part"),
    [
        ({}, "needs mailto, or host, from_email and to; missing: host, from_email, to"),
        ({"host": "h", "from_email": "a@x.io"}, "missing: to"),
        ({"host": "h", "to": "bob"}, "'bob' is no mail address; right is: bob@example.com or Bob <bob@example.com>"),
        ({"host": "h", "to": "b@x.io\r\nBcc: c@x.io"}, "is no mail address"),
        ({"host": "h", "to": "jörg@x.io"}, "is no mail address"),
        ({"host": "h", "to": 1}, "is a list of mail addresses"),
        ({"host": "h", "mailto": "mailto://x.io?from=a@x.io"}, "has both mailto and host"),
        ({"mailto": "slack://a/b/c"}, "begins with mailto:// or mailtos://; for other services"),
        ({"mailto": "mailto://"}, "mailto: "),
        ({"mailto": "mailto://x.io"}, "mailto: does not say who sends; add from="),
        ({"mailto": "mailto://x.io?from=a@x.io&to=bob"}, "mailto: to: 'bob' is no mail address"),
        (
            {"mailto": "mailto://x.io?from=a@x.io&mode=none"},
            "mode: 'none' is unknown; there are starttls, ssl, insecure",
        ),
        ({"mailto": "mailto://x.io?from=a@x.io&pgp=sign"}, "asks for PGP, which this sink cannot do"),
        ({"mailto": "mailto://x.io?from=a@x.io&+Bcc=b@x.io"}, "header 'Bcc' is set by the sink itself"),
        ({"mailto": "mailto://x.io?from=a@x.io&+X=a%0D%0AB:c"}, "header 'X' has characters that a header cannot"),
        (SES, "Amazon SES is reached by its SMTP interface, which knows no IAM roles: set aws_access_key_id"),
        ({**SES, "aws_region": "us-east"}, "aws_region"),
    ],
)
def test_options_that_cannot_work_are_refused(more: dict[str, Any], part: str) -> None:
    assert part in problem(**more)


def test_a_wrong_url_is_not_shown() -> None:
    assert "hunter2" not in problem(mailto="mailto://u:hunter2@x.io?from=a@x.io&to=bob")


def test_a_username_without_a_password_is_refused() -> None:
    with pytest.raises(SinkSetupError, match="has a username, but no password"):
        MailSink(config(host="h", username="w", **OTHERS))
