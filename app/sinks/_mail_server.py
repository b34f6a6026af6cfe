"""Where mail goes out, from whom and to whom: from apprise's `mailto` URLs, for Amazon SES, and from single options."""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Iterable, Sequence
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.utils import getaddresses
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import parse_qs, urlsplit

from app.sinks._apprise import load

Tls = Literal["starttls", "tls", "none"]

PORTS: Final[tuple[tuple[Tls, int], ...]] = (("starttls", 587), ("tls", 465), ("none", 25))
"""Of submission and SMTP: RFC 8314, section 3.3, RFC 6409 and RFC 5321."""

SENDER_NAME: Final = "kubewitness"

_MODES: Final[tuple[tuple[str, Tls], ...]] = (("starttls", "starttls"), ("ssl", "tls"), ("insecure", "none"))
_HEADER_NAME: Final = re.compile(r"[!-9;-~]+")
_OWN_HEADERS: Final = frozenset(
    "bcc cc content-type date from in-reply-to message-id mime-version references reply-to subject to".split()
)


class Headers(NamedTuple):
    """Further headers of every mail, in order."""

    items: tuple[tuple[str, str], ...] = ()


class Server(NamedTuple):
    """A mail server, and the envelope of what is sent through it. Without a user nobody logs in."""

    host: str
    port: int
    tls: Tls
    sender: Address
    to: tuple[Address, ...]
    username: str = ""
    password: str = ""
    cc: tuple[Address, ...] = ()
    bcc: tuple[Address, ...] = ()
    reply_to: tuple[Address, ...] = ()
    headers: Headers = Headers()
    verify: bool = True

    @property
    def recipients(self) -> list[str]:
        """The addresses of the envelope, each once."""
        return list(dict.fromkeys(address.addr_spec for address in (*self.to, *self.cc, *self.bcc)))

    def __repr__(self) -> str:
        return f"Server({self.host}:{self.port})"


def default_port(tls: Tls) -> int:
    """Return the port that is usual for this way of encryption."""
    return dict(PORTS)[tls]


def address(text: str) -> Address:
    """Return `bob@example.com` or `Bob <bob@example.com>` as an address; raises ValueError if it is none."""
    names = getaddresses([text]) if text.isprintable() else []
    if len(names) != 1 or not names[0][1] or not names[0][1].isascii():
        raise ValueError(f"{text!r} is no mail address; right is: bob@example.com or Bob <bob@example.com>")
    try:
        found = Address(names[0][0], addr_spec=names[0][1])
    except (HeaderParseError, ValueError, IndexError):
        found = Address()
    if not found.username or not found.domain:
        raise ValueError(f"{text!r} is no mail address; right is: bob@example.com or Bob <bob@example.com>")
    return found


def named(sender: Address) -> Address:
    """Return the sender with a name that people know, if it has none."""
    return sender if sender.display_name else Address(SENDER_NAME, addr_spec=sender.addr_spec)


def addresses(value: object) -> list[str]:
    """Return a text with commas, or a list, as single addresses; raises ValueError where one is none."""
    texts = value.split(",") if isinstance(value, str) else value
    if not isinstance(texts, Sequence) or not all(isinstance(text, str) for text in texts):
        raise ValueError("is a list of mail addresses, or a text of them with commas")
    return [str(address(text.strip())) for text in texts if text.strip()]


def from_url(url: str) -> Server:
    """Return what an apprise URL says, with apprise's own defaults for well-known providers.

    Raises ValueError, without the URL's secrets. https://appriseit.com/services/email/ describes the URLs.
    """
    plugin = load("apprise.plugins.email").NotifyEmail
    parts = plugin.parse_url(_with_query(_known_scheme(url)))
    if not parts:
        raise ValueError("is no mailto URL; right is: mailtos://user:password@smtp.example.com?from=a@x.com&to=b@y.com")
    _check(parts)
    try:
        mail = plugin(**parts)
    except TypeError as error:  # what apprise raises for options that it cannot use is one
        raise ValueError("does not say who sends; add from=sender@example.com") from error
    if mail.pgp_mode != "no":
        raise ValueError("asks for PGP, which this sink cannot do: mail would leave in clear; drop pgp")
    return _server(mail)


def _server(mail: Any) -> Server:
    name = mail.from_addr[0] or ""
    return Server(
        host=mail.smtp_host,
        port=mail.port,
        tls=dict(_MODES)[mail.secure_mode],
        username=(mail.user or "") if mail.password else "",
        password=mail.password or "",
        sender=named(Address("" if name == mail.app_id else name, addr_spec=mail.from_addr[1])),
        to=tuple(Address(target or "", addr_spec=spec) for target, spec in mail.targets),
        cc=_sorted(mail, mail.cc),
        bcc=_sorted(mail, mail.bcc),
        reply_to=_sorted(mail, mail.reply_to),
        headers=headers(mail.headers),
        verify=mail.verify_certificate,
    )


def _sorted(mail: Any, specs: Iterable[str]) -> tuple[Address, ...]:
    return tuple(Address(mail.names.get(spec) or "", addr_spec=spec) for spec in sorted(specs))


def _known_scheme(url: str) -> str:
    if not url.startswith(("mailto://", "mailtos://")):
        raise ValueError("begins with mailto:// or mailtos://; for other services of apprise there is apprise_sink")
    return url


def _with_query(url: str) -> str:
    """Return the URL with a `?` before its parameters: Robusta's documentation writes `&` there."""
    return url if "?" in url else url.replace("&", "?", 1)


def _check(parts: dict[str, Any]) -> None:
    """Refuse recipients that apprise would leave out without a word."""
    reading = load("apprise.utils.parse")
    mode = parts.get("secure_mode")
    if mode and mode not in dict(_MODES):
        raise ValueError(f"mode: {mode!r} is unknown; there are {', '.join(dict(_MODES))}")
    for key, word in (("targets", "to"), ("cc", "cc"), ("bcc", "bcc"), ("reply_to", "reply")):
        for each in reading.parse_emails(parts.get(key) or ""):
            if not reading.is_email(each):
                raise ValueError(f"{word}: {each!r} is no mail address; right is: bob@example.com")


def headers(values: dict[str, str]) -> Headers:
    """Return further headers; raises ValueError for those that mail cannot have, or that the sink sets itself."""
    for name, value in values.items():
        if not _HEADER_NAME.fullmatch(name) or not value.isprintable():
            raise ValueError(f"header {name!r} has characters that a header cannot carry")
        if name.lower() in _OWN_HEADERS:
            raise ValueError(f"header {name!r} is set by the sink itself")
    return Headers(tuple(values.items()))


def from_ses(
    mailto: str, sender: Address, region: str, key_id: str, secret_key: str, configuration_set: str = ""
) -> Server:
    """Return Amazon SES's SMTP interface in a region, for the keys of an IAM user that may `ses:SendRawEmail`.

    https://docs.aws.amazon.com/ses/latest/dg/smtp-connect.html
    """
    parts = urlsplit(_known_scheme(mailto))
    to = addresses([parts.netloc, *(each for text in parse_qs(parts.query).get("to", []) for each in text.split(","))])
    return Server(
        host=f"email-smtp.{region}.amazonaws.com",
        port=default_port("starttls"),
        tls="starttls",
        sender=named(sender),
        to=tuple(map(address, to)),
        username=key_id,
        password=ses_password(secret_key, region),
        headers=headers({"X-SES-CONFIGURATION-SET": configuration_set} if configuration_set else {}),
    )


def ses_password(secret_key: str, region: str) -> str:
    """Return the SMTP password of an AWS secret access key, which is valid in one region.

    https://docs.aws.amazon.com/ses/latest/dg/smtp-credentials.html#smtp-credentials-convert
    """
    signature = f"AWS4{secret_key}".encode()
    for part in ("11111111", region, "ses", "aws4_request", "SendRawEmail"):
        signature = hmac.digest(signature, part.encode(), "sha256")
    return base64.b64encode(b"\x04" + signature).decode()
