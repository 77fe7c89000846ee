"""A Commander's own hand on another's words: a text mended, a channel left out, then signed.

An edit is a new revision on the compiler's base (facts/security-reliability-ux.md §1.9). The
request for the old words ends with it, and one for the new words is asked, of the same Commander:
what is signed is always the digest of exactly what is posted. The record names both persons.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field

from broadcaster.approval import RequestState, not_theirs, policy_objection
from broadcaster.channel import AnyChannel
from broadcaster.errors import Kind as Sort
from broadcaster.errors import Refusal
from broadcaster.ledger import Tx, approvals
from broadcaster.orders import LONGEST_REASON, Submitted, alts_told, case_of, filled, held_request
from broadcaster.passkey import Site
from broadcaster.policy import screen
from broadcaster.record import Kind
from broadcaster.roster import Act, Person, require
from broadcaster.update import Rendering, Revision, clean, pictures_in, render
from broadcaster.world import Frozen


class EditWords(Frozen):
    """Say this instead, on these channels."""

    request_id: str
    #: Of the words that the person's page showed.
    digest: str
    #: What each channel is to say, without an exercise's mark. A channel not named is left out.
    texts: dict[str, Annotated[str, Field(max_length=20_000)]]
    #: The editor's own statement about changed words: no danger to the investigation or anybody.
    attested: bool = False
    #: Why to go on in spite of a soft finding, by the rule's id; the compiler's stay.
    policy_reasons: dict[str, Annotated[str, Field(max_length=LONGEST_REASON)]] = Field(
        default_factory=dict
    )


def edit_words(
    tx: Tx, order: EditWords, person: Person, channels: Sequence[AnyChannel], site: Site,
    *, contact: str = "",
) -> Submitted:  # fmt: skip
    """Puts a Commander's edit in the place of what waits for them. Raises Refusal; then nothing
    has changed.

    `contact`: the department's own, which words may always say (broadcaster.policy).
    """
    incident, request = held_request(tx, order.request_id)
    command = incident.incident.command
    require(person, Act.APPROVE_NOTICE if command.routine else Act.DECIDE)
    base = approvals.revision(tx, request.revision_id)
    assert base is not None, "a request's revision is a foreign key"
    if refusal := not_theirs(
        case_of(tx, incident, request, base, person, site, digest=order.digest)
    ):
        raise refusal
    renderings = _rendered(tx, base, order.texts, channels)
    same_words = all(each == base.rendering(each.channel) for each in renderings)
    reasons = base.policy_reasons | _reasons(order.policy_reasons)
    attested = base.attested if same_words else order.attested
    shown = pictures_in(renderings)
    findings = screen(base.words, renderings, contact=contact, alts=[each.alt for each in shown])
    if refusal := policy_objection(findings, reasons, attested=attested):
        raise refusal
    revision = base.model_copy(update={
        "id": str(uuid.uuid4()), "renderings": renderings,
        "channels": tuple(each.channel for each in renderings),
        "media": tuple(each.digest for each in shown),
        "retraction": tuple(each for each in base.retraction if each.channel in order.texts),
        "compiled_at": approvals.after_the_last(tx, base.update_id), "edited_by": person.id,
        "attested": attested, "attested_by": base.attested_by if same_words else person.id,
        "policy_reasons": {each.rule: reasons[each.rule] for each in findings},
    })  # fmt: skip
    why = f"{person.name} edited the words; the edit is asked for instead."
    approvals.end_request(tx, request, RequestState.WITHDRAWN, why)
    approvals.add_revision(tx, revision)
    asked = approvals.open_request(tx, revision, command)
    tx.record(
        Kind.REVISION_EDITED, actor=person.id, incident_id=incident.incident.id,
        revision_id=revision.id, edits=base.id, request_id=asked.id, number=base.number,
        compiled_by=base.compiled_by, digest=revision.digest, channels=list(revision.channels),
        left_out=[name for name in base.channels if name not in revision.channels],
        attested=attested, reasons_for=list(revision.policy_reasons),
        private={f"text_{each.channel}": each.text for each in renderings}
        | alts_told(revision)
        | {f"reason_{rule}": why for rule, why in revision.policy_reasons.items()},
    )  # fmt: skip
    return Submitted(revision, asked)


def _rendered(
    tx: Tx, base: Revision, texts: Mapping[str, str], channels: Sequence[AnyChannel]
) -> tuple[Rendering, ...]:
    """What the channels that are left will say. Raises Refusal."""
    if unknown := next((name for name in texts if name not in base.channels), None):
        raise Refusal(
            "channel_unknown", f"These words were not to be posted on {unknown}.",
            "Leave channels out; another is added by the PIO.", field="channels",
        )  # fmt: skip
    left = [channel for channel in channels if channel.name in texts]
    if not left or len(left) < len(texts):
        raise Refusal(
            "channel_missing", "No channel is left that this could be posted on.",
            "Keep one, or decline: then nothing is posted.", field="channels",
        )  # fmt: skip
    if empty := next((name for name, text in texts.items() if not text.strip()), None):
        raise Refusal(
            "text_empty", "The update has no text.", "Write what the public must know.",
            field=f"text_{empty}",
        )  # fmt: skip
    filled({f"text_{name}": text for name, text in texts.items()})
    in_order = sorted(left, key=lambda channel: base.channels.index(channel.name))
    renderings = tuple(
        each.model_copy(update={"pictures": base.rendering(each.channel).pictures})
        for each in render(tx.world, in_order, base.words, "", texts)
    )
    if renderings == base.renderings:
        raise Refusal(
            "nothing_changed", "Nothing was changed, so there is nothing new to sign.",
            "Approve the words as they stand, or change them.", kind=Sort.CONFLICT, field="text",
        )  # fmt: skip
    return renderings


def _reasons(given: Mapping[str, str]) -> dict[str, str]:
    found = {rule: clean(why, f"reason_{rule}") for rule, why in given.items()}
    return {rule: why for rule, why in found.items() if why}
