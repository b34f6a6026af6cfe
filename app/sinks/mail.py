"""Mail sink: sends each notification as one mail over SMTP, with TLS, as text and HTML."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator
from typing_extensions import override

from app.core.finding import Notification
from app.sinks._mail_message import compose, readable
from app.sinks._mail_server import (
    Server,
    Tls,
    address,
    addresses,
    default_port,
    from_ses,
    from_url,
    named,
)
from app.sinks._partial import Taken
from app.sinks._secrets import LEAST_SECRET, option_secrets, scrubbed
from app.sinks._tls import trusting
from app.sinks.base import PermanentError, Rendering, Sink, SinkConfig, SinkError, SinkSetupError, TemporaryError

if TYPE_CHECKING:
    from aiosmtplib import SMTP

PERMANENT: Final = 500
"""SMTP's replies from here on are for good, those from 400 for now: RFC 5321, section 4.2.1."""

ADVICE: Final = (
    (530, "the server wants a login or encryption: set username, password and tls"),
    (534, "the provider wants an app password instead of the account's own"),
    (535, "check username and password; Gmail, Yahoo and others want an app password"),
    (538, "the server wants encryption before a login: set tls to starttls or tls"),
    (552, "the mailbox is full or the mail too large for it"),
)
"""What people can do about replies of RFC 4954, section 6, and RFC 5321, section 4.2.2."""

# RFC 5321, 4.1.4: an address literal is what a client without a name of its own says. A look-up of the name would wait
# for a DNS server that knows nothing of a Pod.
_OWN_NAME: Final = "[127.0.0.1]"

_GOODBYE_SECONDS: Final = 1
_REGION = r"^[a-z]{2}(-[a-z]+)+-\d+$"
_SES: Final = (
    "use_ses: Amazon SES is reached by its SMTP interface, which knows no IAM roles: set aws_access_key_id and "
    "aws_secret_access_key of an IAM user that may ses:SendRawEmail, or instead of use_ses set "
    "host: email-smtp.REGION.amazonaws.com with the SMTP username and password that the SES console makes"
)

Addresses = Annotated[list[str], BeforeValidator(addresses)]


def _mailto(url: SecretStr) -> SecretStr:
    text = url.get_secret_value().strip()
    if not text.startswith(("mailto://", "mailtos://")):
        raise ValueError("begins with mailto:// or mailtos://; for other services of apprise there is apprise_sink")
    return SecretStr(text)


class MailConfig(SinkConfig):
    """Options of the mail sink: `mailto`, or `host`, `from_email` and `to`."""

    mailto: Annotated[
        SecretStr | None,
        AfterValidator(lambda url: url and _mailto(url)),
        Field(
            description="Apprise URL: `mailtos://user:password@smtp.example.com:587?from=a@x.com&to=b@y.com,c@z.com`; "
            "with `cc`, `bcc`, `reply`, `name`, `smtp`, `mode` (starttls, ssl, insecure) and `verify=no`."
        ),
    ] = None
    with_header: Annotated[
        bool, Field(description="Begin the text with the title, and end it with a link to the entry.")
    ] = True
    host: Annotated[str, Field(description="Mail server, instead of `mailto`.")] = ""
    port: Annotated[
        int | None, Field(ge=1, le=65535, description="Its port; by default 587, 465 with `tls: tls`, 25 with none.")
    ] = None
    tls: Annotated[
        Tls, Field(description="`starttls` encrypts after the greeting, `tls` from the beginning, `none` never.")
    ] = "starttls"
    username: Annotated[str, Field(description="Whom to log in as; empty for no login.")] = ""
    password: Annotated[SecretStr, Field(description="Password, app password or API key for the login.")] = SecretStr(
        ""
    )
    from_email: Annotated[
        str, AfterValidator(lambda text: text and str(address(text))), Field(description="Who the mail is from.")
    ] = ""
    to: Annotated[Addresses, Field(default_factory=list, description="Who gets it: a list, or a text with commas.")]
    cc: Annotated[Addresses, Field(default_factory=list, description="Who gets a copy.")]
    bcc: Annotated[Addresses, Field(default_factory=list, description="Who gets a copy without the others knowing.")]
    reply_to: Annotated[Addresses, Field(default_factory=list, description="Who gets the answers.")]
    verify_tls: Annotated[bool, Field(description="Check the server's certificate.")] = True
    ca_file: Annotated[
        Path | None, Field(description="PEM file of the authorities to trust, instead of the public ones.")
    ] = None
    timeout_seconds: Annotated[
        float, Field(gt=0, le=20, description="How long one attempt may take, connecting included.")
    ] = 20
    use_ses: Annotated[bool, Field(description="Send by Amazon SES's SMTP interface to those whom `mailto` names.")] = (
        False
    )
    aws_region: Annotated[str | None, Field(pattern=_REGION, description="Region of SES, such as us-east-1.")] = None
    aws_access_key_id: Annotated[SecretStr | None, Field(description="Key of an IAM user for SES.")] = None
    aws_secret_access_key: Annotated[SecretStr | None, Field(description="Its secret.")] = None
    configuration_set: Annotated[str | None, Field(description="SES's configuration set for its statistics.")] = None
    skip_ses_init: Annotated[bool, Field(description="Accepted for Robusta's sake; there is nothing to skip.")] = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        mail_server(self)
        return self


def mail_server(config: MailConfig) -> Server:
    """Return where and from whom to whom mail goes; raises ValueError where the options do not say it."""
    if config.use_ses:
        return _ses(config)
    if config.mailto is None:
        return _plain(config)
    if config.host:
        raise ValueError("has both mailto and host: one of them says where mail goes")
    try:
        server = from_url(config.mailto.get_secret_value())
    except ValueError as error:
        raise ValueError(f"mailto: {error}") from None  # the cause may show the URL
    return server._replace(sender=named(address(config.from_email))) if config.from_email else server


def _plain(config: MailConfig) -> Server:
    missing = [name for name in ("host", "from_email", "to") if not getattr(config, name)]
    if missing:
        raise ValueError(f"needs mailto, or host, from_email and to; missing: {', '.join(missing)}")
    return Server(
        host=config.host,
        port=config.port or default_port(config.tls),
        tls=config.tls,
        sender=named(address(config.from_email)),
        to=tuple(map(address, config.to)),
        username=config.username,
        password=config.password.get_secret_value(),
        cc=tuple(map(address, config.cc)),
        bcc=tuple(map(address, config.bcc)),
        reply_to=tuple(map(address, config.reply_to)),
        verify=config.verify_tls,
    )


def _ses(config: MailConfig) -> Server:
    if not (config.aws_access_key_id and config.aws_secret_access_key):
        raise ValueError(_SES)
    missing = [name for name in ("mailto", "from_email", "aws_region") if not getattr(config, name)]
    if missing:
        raise ValueError(f"use_ses: needs mailto, from_email and aws_region; missing: {', '.join(missing)}")
    assert config.mailto is not None  # noqa: S101  for the type: it was looked for above
    return from_ses(
        config.mailto.get_secret_value(),
        address(config.from_email),
        config.aws_region or "",
        config.aws_access_key_id.get_secret_value(),
        config.aws_secret_access_key.get_secret_value(),
        config.configuration_set or "",
    )


class MailSink(Sink[MailConfig]):
    """A mail has arrived when the server has taken it for every recipient.

    Where it refuses some recipients, the others are not sent the mail again by a retry. Repeats have the same
    Message-ID.
    """

    Config = MailConfig

    def __init__(self, config: MailConfig) -> None:
        super().__init__(config)
        self._server = mail_server(config)
        self._context = _context(config, self._server)
        self._taken = Taken()
        passwords = {self._server.password, self._server.username}
        self._secrets = option_secrets(config) | {text for text in passwords if len(text) >= LEAST_SECRET}

    @override
    def render(self, notification: Notification) -> Rendering:
        return readable(compose(notification, self._server, with_header=self.config.with_header))

    @override
    async def send(self, notification: Notification) -> None:
        # Megabytes of logs take a tenth of a second, which the event loop has not.
        message = await asyncio.to_thread(self._composed, notification)
        waiting = self._taken.without(notification.delivery_id, self._server.recipients)
        refused = await self._deliver(message, waiting)
        if not refused:
            self._taken.forget(notification.delivery_id)
            return
        self._taken.note(notification.delivery_id, (each for each in waiting if each not in refused))
        raise self._refusal(refused)

    def _composed(self, notification: Notification) -> bytes:
        return compose(notification, self._server, with_header=self.config.with_header).as_bytes()

    async def _deliver(self, message: bytes, recipients: list[str]) -> dict[str, tuple[int, str]]:
        """Return the recipients that the server refused; raises `SinkError` where it took the mail for nobody."""
        from aiosmtplib import SMTPException, SMTPRecipientsRefused  # noqa: PLC0415  loaded where a mail sink is used

        client = self._client()
        try:
            async with asyncio.timeout(self.config.timeout_seconds):
                refused = await self._transaction(client, message, recipients)
            await _leave(client)
        except SMTPRecipientsRefused as error:
            return {each.recipient: (each.code, each.message) for each in error.recipients}
        except (SMTPException, OSError, TimeoutError) as error:
            raise self._failure(error) from error
        else:
            return refused
        finally:
            client.close()

    def _client(self) -> SMTP:
        from aiosmtplib import SMTP  # noqa: PLC0415  loaded where a mail sink is used

        server = self._server
        return SMTP(
            hostname=server.host,
            port=server.port,
            use_tls=server.tls == "tls",
            start_tls=server.tls == "starttls",
            tls_context=self._context,
            local_hostname=_OWN_NAME,
            timeout=self.config.timeout_seconds,
        )

    async def _transaction(self, client: SMTP, message: bytes, recipients: list[str]) -> dict[str, tuple[int, str]]:
        await client.connect()
        if self._server.username:
            await client.login(self._server.username, self._server.password)
        refused, _ = await client.sendmail(self._server.sender.addr_spec, recipients, message)
        return {each: (response.code, response.message) for each, response in refused.items()}

    def _failure(self, error: Exception) -> SinkError:
        """Return what went wrong, for people; of a reply by its code, of all else that it is temporary."""
        from aiosmtplib import SMTPException, SMTPSenderRefused, SMTPServerDisconnected  # noqa: PLC0415  as above

        host, seconds = self._server.host, self.config.timeout_seconds
        code: Any = getattr(error, "code", 0)
        said = scrubbed(str(getattr(error, "message", error)), self._secrets)
        if isinstance(code, int) and code >= 400:  # noqa: PLR2004  SMTP's first code of a failure
            hint = _advice(code)
            if isinstance(error, SMTPSenderRefused) and not hint:
                hint = f"; {self._server.sender.addr_spec} must be an address that this account may send from"
            return _by_code(code, f"{host} answered {code}: {said}{hint}")
        if isinstance(error, TimeoutError):
            return TemporaryError(f"{host} did not answer within {seconds:g} s")
        if isinstance(error, OSError | SMTPServerDisconnected):
            return TemporaryError(f"cannot reach {host}: {said or type(error).__name__}")
        if isinstance(error, SMTPException) and "STARTTLS" in said:
            return PermanentError(f"{host} offers no STARTTLS; set tls to tls, or to none where the network is trusted")
        return PermanentError(f"{host}: {said}")

    def _refusal(self, refused: dict[str, tuple[int, str]]) -> SinkError:
        """Return the error about recipients; for now, if one of them may be taken later."""
        said = "; ".join(f"{who}: {code} {scrubbed(text, self._secrets)}" for who, (code, text) in refused.items())
        taken = len(self._server.recipients) - len(refused)
        others = f" ({taken} other{'' if taken == 1 else 's'} got it)" if taken else ""
        return _by_code(min(code for code, _ in refused.values()), f"{self._server.host} refused {said}{others}")


async def _leave(client: SMTP) -> None:
    """Say goodbye; the mail is taken already, whatever comes of it."""
    from aiosmtplib import SMTPException  # noqa: PLC0415  loaded where a mail sink is used

    with contextlib.suppress(SMTPException, OSError, TimeoutError):
        async with asyncio.timeout(_GOODBYE_SECONDS):
            await client.quit()


def _by_code(code: int, message: str) -> SinkError:
    return PermanentError(message) if code >= PERMANENT else TemporaryError(message)


def _advice(code: int) -> str:
    advice = dict(ADVICE).get(code)
    return f"; {advice}" if advice else ""


def _context(config: MailConfig, server: Server) -> ssl.SSLContext | None:
    if server.tls == "none":
        return None
    if server.username and not server.password:
        raise SinkSetupError(f"sink {config.name!r}: has a username, but no password")
    context = trusting(config.name, config.ca_file)
    if not (config.verify_tls and server.verify):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
