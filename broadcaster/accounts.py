"""The accounts that channels post by: for each kind, where its server is and what proves us to it.

Read from the settings, or kept in the ledger, sealed (broadcaster/sealing.py). A secret is never
shown or logged.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    HttpUrl,
    PlainSerializer,
    SecretStr,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from broadcaster import channel
from broadcaster.calling import MAILBOX
from broadcaster.channel import Channel
from broadcaster.errors import Refusal
from broadcaster.world import W


class _Account(BaseModel):
    """What all of them have. A channel's name is its topic, lease and address."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    #: What somebody sees to at the platform before we post there.
    checklist: ClassVar[tuple[str, ...]]
    #: What says where it posts: an account with another one of these is another channel's.
    place: ClassVar[tuple[str, ...]] = ("url",)
    #: What the channel is made of, beside name, title and handle.
    options: ClassVar[tuple[str, ...]] = ()

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,39}$",
                      description="its name: small letters, digits and _")  # fmt: skip
    title: str = Field(min_length=1, max_length=60, description="what people call the channel")
    #: Of the settings' accounts alone: of one that was added by command the ledger knows it.
    ends: date | None = Field(
        None, description="the last day of what proves us there, as 2027-01-31, if known"
    )

    @property
    def handle(self) -> str | None:
        """Who posts there, as its readers see it; None: there is no such name, or we know none."""
        return None

    @property
    def shape(self) -> dict[str, Any]:
        """What the channel is made of beside name and title: no secret is among it."""
        made = {name: getattr(self, name) for name in self.options}
        return {**made, "handle": self.handle} if self.handle else made


class Before(BaseModel):
    """The secret that another took the place of, and until when it signs, too.

    A receiver changes at its own time, and may do so before us or after us.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    secret: Annotated[SecretStr, PlainSerializer(SecretStr.get_secret_value)]
    until: Annotated[AwareDatetime, PlainSerializer(datetime.isoformat)]


class WebhookAccount(_Account):
    """A signed webhook to another party's systems."""

    checklist = (
        "The receiver checks our signature (Standard Webhooks) with this secret.",
        "Whoever runs it has said in writing whether it acts once on one webhook-id (dedupes).",
        "The public cannot answer there.",
    )
    place = ("url", "dedupes")
    options = ("dedupes",)

    kind: Literal["webhook"]
    url: HttpUrl = Field(description="where the receiver listens")
    secret: SecretStr = Field(description="the secret that signs (whsec_…)")
    before: Before | None = Field(
        None, description="while it is changed: the `secret` before, and `until` when it signs, too"
    )
    dedupes: bool = Field(
        False, description="whether the receiver is known to act once on one webhook-id"
    )


class MatrixAccount(_Account):
    """A room on a Matrix homeserver in which only we may speak."""

    checklist = (
        "The room is public to read, and events_default is above what its members have: only our "
        "user may speak.",
        "Our user is in the room, and has the right to send, edit and redact its own messages.",
        "The token is of a login of its own, with a device_id that is noted.",
    )
    place = ("url", "room")

    kind: Literal["matrix"]
    url: HttpUrl = Field(description="the homeserver's address")
    room: str = Field(pattern=r"^!\S+$", max_length=255,
                      description="the room's id (!…), not an alias")  # fmt: skip
    #: By its device the server knows what we sent.
    token: SecretStr = Field(
        description="the access token. A new one is got by a login with the same device_id, else "
        "what is in doubt may be posted twice"
    )

    @property
    def handle(self) -> str | None:
        return self.room


class MastodonAccount(_Account):
    """An account on a Mastodon server."""

    checklist = (
        "The account is the department's, verified by a link from its site, with a second factor.",
        "The token has the scopes profile, read:statuses, write:statuses and write:media, and no "
        "other.",
        "The limit is the server's own: a test of the channel says where they differ.",
        "Anybody can answer there: the Chief's decision is needed (389.5.1).",
    )
    options = ("limit",)

    kind: Literal["mastodon"]
    url: HttpUrl = Field(description="the server's address")
    token: SecretStr = Field(
        description="the access token, with profile, read:statuses, write:statuses and write:media"
    )
    limit: int = Field(500, ge=1, le=20_000, description="how long a status may be, as the "
                       "server's /api/v2/instance says")  # fmt: skip

    @property
    def handle(self) -> str | None:
        return self.url.host


class BlueskyAccount(_Account):
    """An account on an AT Protocol server."""

    checklist = (
        "The account is the department's, its handle a name of the department's own domain.",
        "The password is an app password, without access to direct messages.",
    )
    place = ("url", "user")

    kind: Literal["bluesky"]
    url: HttpUrl = Field(description="the address of its PDS")
    user: str = Field(pattern=r"^[A-Za-z0-9._:-]+$", min_length=3, max_length=255,
                      description="its handle or DID, not the address of its mail")  # fmt: skip
    password: SecretStr = Field(description="the app password")

    @property
    def handle(self) -> str | None:
        """As its readers see it; a DID tells them nothing, and stands as it is."""
        return self.user if self.user.startswith("did:") else f"@{self.user}"


class WordPressAccount(_Account):
    """A user of a WordPress site who may publish posts: of the role Author, and no more."""

    checklist = (
        "The user is of the role Author, and no more.",
        "The password is an application password of its own.",
        "Comments and pings are closed for new posts (Settings, Discussion).",
    )

    kind: Literal["wordpress"]
    url: HttpUrl = Field(description="the site's address")
    #: Basic authentication takes no colon (RFC 7617 §2).
    user: str = Field(pattern=r"^[^:]+$", max_length=60, description="its login, without a colon")
    password: SecretStr = Field(description="the application password")

    @property
    def handle(self) -> str | None:
        return self.url.host


class XAccount(_Account):
    """An account on X, by OAuth 1.0a of its user: OAuth 2's tokens live for 2 hours."""

    checklist = (
        "The app has the right Read and write, and the token was made after it got that.",
        "The account is the department's, with a second factor; its direct messages are closed.",
        "The account is labelled as automated (X, Settings, Your account, Automation).",
    )
    place = ("url", "user_id")

    kind: Literal["x"]
    url: HttpUrl = Field(HttpUrl("https://api.x.com"), description="the API's address")
    user_id: str = Field(pattern=r"^[0-9]{1,19}$", description="the account's number")
    api_key: str = Field(min_length=1, max_length=255, description="the app's API key")
    api_key_secret: SecretStr = Field(description="the API key's secret")
    token: str = Field(min_length=1, max_length=255,
                       description="the access token, with Read and write")  # fmt: skip
    token_secret: SecretStr = Field(description="the access token's secret")


Mailbox = Annotated[str, Field(pattern=f"^{MAILBOX.pattern}$")]


class MailServer(BaseModel):
    """A server that mail goes through."""

    host: str = Field(min_length=1, max_length=255, description="the mail server")
    port: int = Field(587, ge=1, le=65535, description="its port")
    tls: Literal["tls", "starttls", "none"] = Field("starttls", description="tls, starttls or none")
    user: str | None = Field(None, description="our login there, if it asks for one")
    password: SecretStr | None = Field(None, description="that login's password")

    @property
    def login(self) -> tuple[str, str] | None:
        """User and password; None for a server that asks for none."""
        if not self.user or not self.password:
            return None
        return self.user, self.password.get_secret_value()

    @model_validator(mode="after")
    def _whole_login(self) -> Self:
        if bool(self.user) != bool(self.password):
            raise ValueError("a login is a user and a password")
        if self.user and self.tls == "none":
            raise ValueError("a login is never sent without TLS")
        return self


class MailAccount(_Account, MailServer):
    """A list of people who asked for mail, and the server that it goes through."""

    checklist = (
        "Everybody on the list asked for it, and the address to get off it works.",
        "The server may send for the sender's domain (SPF, DKIM and DMARC).",
        "What is answered goes to a mailbox that somebody reads, or to none.",
    )
    place = ("sender",)

    kind: Literal["mail"]
    sender: Mailbox = Field(description="the address that it comes from")
    recipients: tuple[Mailbox, ...] = Field(min_length=1, description="who gets it")
    #: List-Unsubscribe, RFC 2369.
    unsubscribe: str = Field(pattern=r"^(mailto:|https://)[!-;=?-~]+$", max_length=400,
                             description="where somebody gets off the list")  # fmt: skip

    @property
    def handle(self) -> str | None:
        return self.sender


class NtfyAccount(_Account):
    """A topic on an ntfy server that everybody may read, and to which only we may write."""

    checklist = (
        "Everybody may read the topic, and only our user may write to it (ntfy access).",
        "The token is of that user, who may write to nothing else.",
        "Somebody has tried to write there without it, and could not.",
    )
    place = ("url", "topic")

    kind: Literal["ntfy"]
    url: HttpUrl = Field(description="the server's address")
    topic: str = Field(pattern=r"^[-_A-Za-z0-9]{1,64}$", description="the topic")
    token: SecretStr = Field(
        description="the access token of a user who may write to this topic, and no other"
    )

    @property
    def handle(self) -> str | None:
        return f"{self.url.host}/{self.topic}"


Account = Annotated[
    WebhookAccount | MatrixAccount | MastodonAccount | BlueskyAccount | WordPressAccount | XAccount
    | MailAccount | NtfyAccount,
    Field(discriminator="kind"),
]  # fmt: skip


KINDS: Mapping[str, type[_Account]] = {
    "webhook": WebhookAccount, "matrix": MatrixAccount, "mastodon": MastodonAccount,
    "bluesky": BlueskyAccount, "wordpress": WordPressAccount, "x": XAccount, "mail": MailAccount,
    "ntfy": NtfyAccount,
}  # fmt: skip

_READER: TypeAdapter[Account] = TypeAdapter(Account)


def of_kind(kind: str) -> type[_Account]:
    """What an account of a kind is. Raises Refusal where there is no such kind."""
    if kind not in KINDS:
        raise Refusal("account_invalid", f"There is no such kind of channel: {kind}.",
                      f"Choose among {', '.join(KINDS)}.", field="kind")  # fmt: skip
    return KINDS[kind]


def read(given: Mapping[str, Any]) -> Account:
    """The account that somebody describes. Raises Refusal, which names the member."""
    kind = of_kind(str(given.get("kind")))
    if "ends" in given:
        raise Refusal("account_invalid", "ends stands in the settings' accounts alone.",
                      "Give the last day as --expires.", field="ends")  # fmt: skip
    try:
        account = _READER.validate_python(dict(given))
        check(account)
    except ValidationError as wrong:
        first = wrong.errors(include_url=False, include_input=False, include_context=False)[0]
        members = [part for part in first["loc"] if part in kind.model_fields]
        raise _unfit(kind, str(members[0]) if members else None, first["msg"]) from None
    except ValueError as wrong:
        raise _unfit(kind, "url", str(wrong)) from None
    return account


def _unfit(kind: type[_Account], member: str | None, why: str) -> Refusal:
    field, members = kind.model_fields.get(member or ""), ", ".join(kind.model_fields)
    meant = f"It is {field.description}." if field else f"Its members: {members}."
    return Refusal(
        "account_invalid", f"{member or 'The account'} cannot be used: {why}.", meant, field=member
    )


def check(account: Account) -> None:
    """Raises ValueError where a secret would go over the network as it is."""
    if isinstance(account, WebhookAccount | MailAccount):  # these sign, or say which
        return
    url = account.url
    if url.scheme != "https" and url.host not in ("127.0.0.1", "[::1]", "localhost"):
        raise ValueError(f"{url.host} would be told our secret in clear; its url begins with https")


def plain(account: Account) -> dict[str, Any]:
    """An account with its secrets, as JSON has it: to be sealed, and for nothing else."""
    return {
        name: value.get_secret_value() if isinstance(value, SecretStr)
        else str(value) if isinstance(value, HttpUrl) else value
        for name, value in account.model_dump(exclude={"ends"}).items()
    }  # fmt: skip


def channel_of(account: Account, world: W) -> Channel[W]:
    """The channel that an account is for, in a world."""
    made = channel.made(account.kind, world, account.name, account.title, **account.shape)
    return made.model_copy(update={"ends": account.ends})
