"""The ways in over HTTP, as the desk is handed them: a signed report, and a person's form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from broadcaster.errors import Kind, Refusal
from broadcaster.incident import Incident, Report
from broadcaster.intake import native, person, signature
from broadcaster.intake.eido_types import TYPES


class Door:
    """Knows which source holds which secrets. A source without one cannot send over HTTP.

    Raises Refusal where a secret is of no use, or where two sources share one: either could then
    speak for the other.
    """

    schema = native.NativeReport
    types: Sequence[str] = tuple(sorted(TYPES))

    def __init__(self, secrets: Mapping[str, Sequence[str]]) -> None:
        self._keys = {
            source: [signature.key(secret) for secret in several]
            for source, several in secrets.items()
            if several
        }
        every = [key for keys in self._keys.values() for key in set(keys)]
        if len(every) != len(set(every)):
            raise Refusal(
                "secret_shared",
                "Two sources of reports have the same secret, so either could speak for the other.",
                "Give each source a secret of its own in BROADCASTER_INTAKE_SECRETS.",
            )

    def signed(self, raw: bytes, headers: Mapping[str, str], *, now: datetime) -> native.Parsed:
        """The report, once a source's secret has signed exactly these bytes. Raises Refusal."""
        source, message_id = self._sender(raw, headers, now)
        return native.parse(raw, now=now, source=source, message_id=message_id)

    def typed(
        self,
        fields: Mapping[str, str],
        *,
        find: Callable[[str], Incident | None],
        message_id: str,
        new_number: str,
        now: datetime,
    ) -> Report:
        """The report in a person's form. Raises Refusal naming the field at fault."""
        form = person.read(fields)
        about = find(form.incident_number) if form.incident_number else None
        return person.report(
            form, about=about, message_id=message_id, new_number=new_number, now=now
        )

    def _sender(self, raw: bytes, headers: Mapping[str, str], now: datetime) -> tuple[str, str]:
        """The source whose secret fits, and the message id that it signed."""
        if not self._keys:
            raise Refusal(
                "no_secret",
                "No secret is set up here, so no report can prove who sent it.",
                "Set BROADCASTER_INTAKE_SECRETS to the secrets of each source, as in "
                '{"cad": ["whsec_..."]}, start again, and sign reports with one of them.',
                kind=Kind.UNKNOWN,
            )
        for source, keys in self._keys.items():
            try:
                return source, signature.verify(raw, headers, keys, now=now)
            except Refusal as refusal:
                wrong = refusal
                if refusal.code == "signature_old":
                    break
        raise wrong
