"""Every setting, its default and its meaning. The README's table is made from this model."""

from __future__ import annotations

import os
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    HttpUrl,
    SecretStr,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from broadcaster.accounts import Account, MailServer, check
from broadcaster.apps import App
from broadcaster.errors import Refusal
from broadcaster.sealing import Sealer
from broadcaster.world import World

#: The longest path that a Unix socket can have on every system that we run on.
LONGEST_SOCKET_PATH = 100

#: What no channel of an account is called: these have leases and topics of their own.
TAKEN = frozenset({"public_page", "settled", "relay", "notify"})

#: Where Docker and Kubernetes put secrets.
SECRETS = Path("/run/secrets")

_Part = TypeVar("_Part", str, SecretStr, None)


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"{name} is no time zone; write one as in America/Los_Angeles") from error
    return name


class PushSetting(BaseModel):
    """Our word to the push services of people's browsers (VAPID, RFC 8292)."""

    #: The raw P-256 private key, base64url: `broadcaster push-key` makes one.
    key: SecretStr
    #: A `mailto:` or `https:` address where push services reach us.
    contact: Annotated[str, Field(pattern=r"^(mailto:|https://)\S+$", max_length=200)]


class TwilioSetting(BaseModel):
    """The account that SMS are sent from."""

    account: Annotated[str, Field(pattern=r"^AC[0-9a-f]{32}$")]
    token: SecretStr
    #: A number of the account (E.164), or a Messaging Service's SID.
    sender: Annotated[str, Field(pattern=r"^(\+[1-9][0-9]{6,14}|MG[0-9a-f]{32})$")]


class MailSetting(MailServer):
    """The server that mail to people goes through."""

    sender: Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$")]


class AppSetting(BaseModel):
    """The department's own app, which calls people and hears of requests: signed webhooks."""

    url: HttpUrl
    secret: SecretStr


class CallAccounts(BaseModel):
    """What people are called by, when something waits for their decision."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    push: PushSetting | None = None
    sms: TwilioSetting | None = None
    mail: MailSetting | None = None
    app: AppSetting | None = None

    def __bool__(self) -> bool:
        """Whether anybody can be called at all."""
        return any((self.push, self.sms, self.mail, self.app))


class Settings(BaseSettings):
    """Read from the environment as BROADCASTER_NAME, from `settings.env`, from files of secrets."""

    model_config = SettingsConfigDict(
        env_prefix="BROADCASTER_", env_nested_delimiter="__", extra="ignore"
    )

    home: Path = Field(
        Path("~/.broadcaster"), description="Folder that holds all state: ledger, logs, socket."
    )
    world: World = Field(
        "exercise",
        description="`exercise`, or `live` (needs `PUBLIC_URL` with https, and a way to call "
        "people).",
    )
    department: str = Field(
        "Desert Hot Springs PD", min_length=1, max_length=80,
        description="The department's name, as the public reads it.",
    )  # fmt: skip
    contact: str = Field(
        "Emergencies: call 911.", max_length=200,
        description="How the public reaches the department, shown on its page.",
    )  # fmt: skip
    time_zone: Annotated[str, AfterValidator(_known_zone)] = Field(
        "America/Los_Angeles", description="The zone that times are shown in."
    )
    host: str = Field("127.0.0.1", description="Address that the desk listens on.")
    port: int = Field(
        0, ge=0, le=65535,
        description="Port of the desk; 0 takes a free one and keeps it for the next start.",
    )  # fmt: skip
    public_url: HttpUrl | None = Field(
        None, description="Address that people reach the desk by, where a proxy stands before it."
    )
    ledger_url: SecretStr | None = Field(
        None, description="PostgreSQL ledger, `postgresql://USER:PASSWORD@HOST/NAME`; unset: a "
        "SQLite file in the home folder.",
    )  # fmt: skip
    kafka: str | None = Field(
        None, description="Apache Kafka brokers, `HOST:PORT,HOST:PORT`; unset: the embedded broker."
    )
    kafka_partitions: int = Field(6, ge=1, description="Partitions of a topic made on Kafka.")
    kafka_replication: int = Field(3, ge=1, description="Copies of each partition on Kafka.")
    kafka_prefix: str = Field(
        "", pattern=r"^[A-Za-z0-9._-]{0,40}$",
        description="Put before every topic and consumer group, as `dhs.`: for several departments "
        "on one cluster.",
    )  # fmt: skip
    kafka_tls: bool = Field(False, description="Whether to speak TLS with Kafka.")
    kafka_tls_ca: Path | None = Field(
        None, description="PEM file of the authority that signed the brokers' certificates; unset: "
        "the system's.",
    )  # fmt: skip
    kafka_tls_cert: Path | None = Field(
        None, description="PEM file of our own certificate, where the brokers ask for one."
    )
    kafka_tls_key: Path | None = Field(
        None, description="PEM file of that certificate's key, where it is not in the same file."
    )
    kafka_sasl: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(
        None, description="How to sign in to Kafka: `SCRAM-SHA-512`, `SCRAM-SHA-256`, or `PLAIN` "
        "(with TLS alone).",
    )  # fmt: skip
    kafka_user: str | None = Field(None, validate_default=True, description="Our account on Kafka.")
    kafka_password: SecretStr | None = Field(
        None, validate_default=True, description="That account's password."
    )
    broker_port: int = Field(
        0, ge=0, le=65535, description="Port of the embedded broker; 0 takes a free one."
    )
    broker_restart_mb: int = Field(
        64, ge=32, description="Memory (MB) past which an idle embedded broker is started anew."
    )
    sweep_seconds: float = Field(
        5, gt=0, le=60, description="Seconds between two looks for work past its time."
    )
    watchdog_seconds: float = Field(
        30, ge=5, description="Seconds without progress on waiting work before the streams restart."
    )
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="`json`, `text`, or `auto`: text in a terminal, JSON elsewhere."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least serious log line that is written."
    )
    intake_secrets: dict[str, list[SecretStr]] = Field(
        default_factory=dict,
        description="Per source, the secrets (`whsec_…`) that sign its reports; two while "
        'rotating. JSON: `{"cad": ["whsec_…"]}`.',
    )
    voice_approval: bool = Field(
        False, description="Whether a Commander without signal may approve aloud, by a one-time "
        "code and a second listener's passkey.",
    )  # fmt: skip
    fallback_key: Annotated[SecretStr, Field(min_length=32)] | None = Field(
        None, description="Key (32 characters or more) that the codes of whoever may decide with "
        "PIN and code are made from: for the gate, and the command that allows it. Unset: nobody "
        "may.",
    )  # fmt: skip
    cap_key: SecretStr | None = Field(
        None, description="RSA key (PEM) that the desk signs CAP messages with, so that receivers "
        "know whose they are. Unset: they are unsigned.",
    )  # fmt: skip
    cap_certificate: str | None = Field(
        None, description="That key's X.509 certificate (PEM), and after it those between it and "
        "the root.",
    )  # fmt: skip
    device_bound: bool = Field(
        False, description="Whether a decision takes a passkey that stays on its one device: one "
        "that its maker copies between devices then signs in, and decides nothing.",
    )  # fmt: skip
    apps: list[App] = Field(
        default_factory=list,
        description="The department's own apps that decide by passkey, for desk and gate alike: "
        'JSON list of `{"kind": "android", "package": …, "fingerprints": ["AA:BB:…"]}` (the '
        'SHA-256 of each certificate that signs it) and `{"kind": "apple", "team": …, '
        '"bundle": …}`.',
    )
    channels: list[Account] = Field(
        default_factory=list,
        description="The channels beside the public page, with their accounts: a JSON list, its "
        "members as [accounts.py](broadcaster/accounts.py) says.",
    )
    accounts_key: SecretStr | None = Field(
        None, description="Key that accounts added by `broadcaster channel add` are sealed with in "
        "the ledger: `broadcaster channel key` makes one. For deliver, and where that command "
        "runs. While it is changed: the new one, a comma, the old one.",
    )  # fmt: skip
    channel_networks: list[IPv4Network | IPv6Network] = Field(
        default_factory=list,
        description="Networks (CIDR) that channels may be sent to. Empty: none.",
    )

    calls: CallAccounts = Field(
        default_factory=CallAccounts,
        description="Accounts that people are called by. JSON object of `push` (`key`, `contact`; "
        "`broadcaster push-key` makes the key), `sms` (Twilio: `account`, `token`, `sender`), "
        "`mail` (`host`, `port`, `tls`, `user`, `password`, `sender`), `app` (`url`, `secret`).",
    )
    call_networks: list[IPv4Network | IPv6Network] = Field(
        default_factory=list,
        description="Networks (CIDR) that push, SMS and the app's calls may be sent to. Empty: "
        "none.",
    )

    @field_validator("channels")
    @classmethod
    def _own_names(cls, accounts: list[Account]) -> list[Account]:
        """A channel's name is its topic, its lease and its address."""
        taken = set(TAKEN)
        for account in accounts:
            if account.name in taken:
                raise ValueError(f"the channel name {account.name} is taken; choose another")
            taken.add(account.name)
            check(account)
        return accounts

    @property
    def ledger_address(self) -> str | None:
        """The PostgreSQL ledger's URL with its password; None for the SQLite file."""
        return self.ledger_url.get_secret_value() if self.ledger_url else None

    @property
    def sealing_keys(self) -> tuple[str, ...]:
        """The keys of sealed accounts, the newest first."""
        return tuple(self.accounts_key.get_secret_value().split(",")) if self.accounts_key else ()

    @field_validator("accounts_key")
    @classmethod
    def _sound_keys(cls, keys: SecretStr | None) -> SecretStr | None:
        if keys:
            Sealer(keys.get_secret_value().split(","))
        return keys

    @property
    def codes_key(self) -> str | None:
        """The key of one-time codes; None where nobody may decide with one."""
        return self.fallback_key.get_secret_value() if self.fallback_key else None

    @field_validator("kafka_tls_ca", "kafka_tls_cert", "kafka_tls_key")
    @classmethod
    def _with_tls(cls, file: Path | None, others: ValidationInfo) -> Path | None:
        if file and not others.data.get("kafka_tls"):
            raise ValueError("it is of use with BROADCASTER_KAFKA_TLS=true alone")
        return file

    @field_validator("kafka_sasl")
    @classmethod
    def _no_bare_password(cls, mechanism: str | None, others: ValidationInfo) -> str | None:
        if mechanism == "PLAIN" and not others.data.get("kafka_tls"):
            raise ValueError("PLAIN sends the password as it is: set BROADCASTER_KAFKA_TLS=true")
        return mechanism

    @field_validator("kafka_user", "kafka_password")
    @classmethod
    def _whole_account(cls, part: _Part, others: ValidationInfo) -> _Part:
        if others.data.get("kafka_sasl") and not part:
            raise ValueError("BROADCASTER_KAFKA_SASL needs it")
        return part

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)

    @property
    def folder(self) -> Path:
        return self.home.expanduser().absolute()

    @property
    def ledger_path(self) -> Path:
        return self.folder / "ledger.db"

    @property
    def anchors_path(self) -> Path:
        return self.folder / "record.anchors"

    @property
    def socket_path(self) -> Path:
        return self.folder / "control.sock"


def make_home(settings: Settings) -> None:
    """Makes the home folder, for this user alone. Raises Refusal where it cannot be used."""
    folder = settings.folder
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        wrong = None if os.access(folder, os.W_OK | os.X_OK) else "This user may not write there"
    except OSError as error:
        wrong = error.strerror or str(error)
    if wrong:
        raise Refusal(
            "home_unusable",
            f"The home folder {folder} cannot be used: {wrong}.",
            "Give this user that folder, or set BROADCASTER_HOME to another.",
        )
    if len(os.fsencode(settings.socket_path)) > LONGEST_SOCKET_PATH:
        raise Refusal(
            "home_too_long",
            f"The path of the home folder is too long for a socket in it ({folder}).",
            f"Set BROADCASTER_HOME to one of at most {LONGEST_SOCKET_PATH - 13} characters.",
        )


def load() -> Settings:
    """The settings of this start: the environment, then `settings.env`, then the secrets' folder.

    There a file is named as its variable, in small letters: `broadcaster_ledger_url`. Raises
    Refusal where a file cannot be read, pydantic's ValidationError on a value of no use.
    """
    secrets = _secrets_folder()
    try:
        home = Settings(_secrets_dir=secrets).folder
        return Settings(_env_file=home / "settings.env", _secrets_dir=secrets)
    except (OSError, SettingsError) as problem:
        raise Refusal(
            "settings_unreadable",
            f"The settings cannot be read: {problem}.",
            "A list or an object is written as JSON; a file must be readable by this user.",
        ) from None


def _secrets_folder() -> Path | None:
    """The service's own from systemd (LoadCredential=), else the container's where there is one."""
    folder = Path(os.environ.get("CREDENTIALS_DIRECTORY") or SECRETS)
    return folder if folder.is_dir() else None


def table() -> str:
    """The README's table: every setting, its default and its meaning."""
    rows = ["| setting | default | meaning |", "| --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True)
        shown = "" if default in (None, "", {}, [], CallAccounts()) else f"`{default}`"
        rows.append(f"| `BROADCASTER_{name.upper()}` | {shown} | {field.description} |")
    return "\n".join(rows)
