"""The department's own apps, whose answers by passkey are taken beside those of the desk's pages.

An Android app signs as itself, by the hash of the certificate that it is signed with, and not as
the site (developer.android.com, "Verify the origin"); an Apple app signs as the site. Each may use
the site's passkeys because the site says so: by Digital Asset Links, and by Apple's associated
domains (`webcredentials`).
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

#: Bytes of a SHA-256 fingerprint.
_HASH = 32


def _fingerprint(text: str) -> str:
    """A certificate's SHA-256 fingerprint, as `keytool -list -v` prints it."""
    parts = text.strip().upper().split(":")
    if len(parts) != _HASH or any(len(part) != 2 for part in parts):
        raise ValueError("a fingerprint is the SHA-256 that keytool prints: 32 bytes as AA:BB:…")
    bytes.fromhex("".join(parts))
    return ":".join(parts)


class AndroidApp(BaseModel):
    """An Android app, and the certificates that it is or was signed with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["android"]
    package: Annotated[
        str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)+$", max_length=200)
    ]
    fingerprints: Annotated[
        tuple[Annotated[str, AfterValidator(_fingerprint)], ...], Field(min_length=1)
    ]

    @property
    def origins(self) -> tuple[str, ...]:
        """As what its answers say that they were given."""
        return tuple(
            "android:apk-key-hash:"
            + base64.urlsafe_b64encode(bytes.fromhex(each.replace(":", ""))).decode().rstrip("=")
            for each in self.fingerprints
        )


class AppleApp(BaseModel):
    """An app for Apple's devices. Its answers are the site's own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["apple"]
    team: Annotated[str, Field(pattern=r"^[A-Z0-9]{10}$")]  #: or its older App ID prefix
    bundle: Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]+$", max_length=200)]

    @property
    def origins(self) -> tuple[str, ...]:
        """As what its answers say that they were given, beside the site."""
        return ()


App = Annotated[AndroidApp | AppleApp, Field(discriminator="kind")]


def origins(apps: Sequence[AndroidApp | AppleApp]) -> tuple[str, ...]:
    """What answers may say beside the site's own origin."""
    return tuple(dict.fromkeys(origin for app in apps for origin in app.origins))


def asset_links(apps: Sequence[AndroidApp | AppleApp]) -> list[dict[str, Any]]:
    """`/.well-known/assetlinks.json` (Digital Asset Links): passkeys ask for both relations."""
    return [
        {
            "relation": [
                "delegate_permission/common.handle_all_urls",
                "delegate_permission/common.get_login_creds",
            ],
            "target": {
                "namespace": "android_app", "package_name": app.package,
                "sha256_cert_fingerprints": list(app.fingerprints),
            },
        }
        for app in apps if isinstance(app, AndroidApp)
    ]  # fmt: skip


def associated(apps: Sequence[AndroidApp | AppleApp]) -> dict[str, Any]:
    """`/.well-known/apple-app-site-association`: whose passkeys are the site's, too."""
    named = [f"{app.team}.{app.bundle}" for app in apps if isinstance(app, AppleApp)]
    return {"webcredentials": {"apps": named}}
