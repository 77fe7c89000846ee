"""Whether a ledger kept the approval protocol, told from its tables and its record alone.

It imports nothing of the product. Time in here is the order of the record (`seals.number`), which
no clock can turn round; a passkey's answer is verified with nothing but a hash and a signature.
Sources: policy 389.4.1 (the Commander approves what the PIO compiles); WebAuthn Level 3 §6.1 and
§7.2; RFC 4226 and RFC 6238; how a revision's digest, a decision's challenge and the seal of PIN and
code are made, from the README.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import sqlite3
from base64 import urlsafe_b64decode
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

Json = dict[str, Any]

REVISION_TAG = b"incident-alert-broadcaster/revision/1\0"
DECISION_TAG = b"iab/approve/v2\0"
SEAL_TAG = b"iab/code/v1\0"
SECRET_TAG = b"iab/totp/v1\0"
GUEST_TAG = b"iab/guest/v1\0"
FACTS_TAG = b"incident-alert-broadcaster/facts/1\0"
COVERED = (
    "id", "update_id", "incident_id", "world", "kind", "number", "area", "languages", "channels",
    "renderings", "media", "replaces", "corrects", "expires_at", "retraction",
)  # fmt: skip
MAY_TAKE_BACK = {"pio", "commander", "watch-commander", "supervisor"}
LATE = timedelta(seconds=60)
STEP = 30
PRESENT_AND_VERIFIED = 0b101


class Judge:
    """One look at a ledger. `origin`: of the desk; `forged`: decisions that no desk recorded;
    `key`: the gate's, of one-time codes."""

    def __init__(
        self, ledger: Path, origin: str, forged: Collection[str] = (), key: str = ""
    ) -> None:
        self._origin = origin
        self._key = key
        self._forged = forged
        with closing(sqlite3.connect(ledger)) as connection:
            connection.row_factory = sqlite3.Row
            connection.execute("BEGIN")  # one view of it all

            def table(name: str, by: str = "id") -> dict[str, sqlite3.Row]:
                rows = connection.execute(f"SELECT * FROM {name}").fetchall()
                return {row[by]: row for row in rows}

            self.requests, self.decisions = table("approval_requests"), table("decisions")
            self.releases, self.posts = table("releases"), table("posts")
            self.passkeys, self.people = table("passkeys"), table("people")
            self.incidents, self.assents = table("incidents"), table("assents")
            self.allowed = table("fallbacks")
            self.pins = table("fallback_pins", "fallback_id")
            self.typed = table("fallback_answers", "seal")
            self.guests = table("guests", "person_id")
            self.revisions = {k: json.loads(row["body"]) for k, row in table("revisions").items()}
            self.record = _record(connection)

    def faults(self) -> Iterator[str]:
        """Whatever the protocol forbids and this ledger holds."""
        yield from self._once_each()
        for decision in self.decisions.values():
            if decision["id"] not in self._forged and not self._ordered(decision):
                for fault in self._decision(decision):
                    yield f"decision {decision['verdict']}: {fault}"
        for release in self.releases.values():
            for fault in self._release(release):
                yield f"release: {fault}"
        for decision in self.decisions.values():
            if decision["outcome"] == "kept":
                for fault in self._kept(decision):
                    yield f"kept: {fault}"
        for assent in self.assents.values():
            if assent["id"] not in self._forged:
                for fault in self._assent(assent):
                    yield f"assent: {fault}"
        yield from self._posts()

    def truth_of(self, release_id: str) -> Iterator[str]:
        """Whether a release says what its incident now is, or its Commander signed exactly what it
        does not: to be asked when it has just come."""
        release = self.releases[release_id]
        for untrue in self._untrue(release, self.decisions[release["decision_id"]]["keeps"]):
            yield f"release: {untrue}"

    def _untrue(self, release: sqlite3.Row, keeps: str | None) -> Iterator[str]:
        """What a release says that is not so now, unless all of it was signed with `keeps`."""
        revision = self.revisions[release["revision_id"]]
        if revision["kind"] in ("correction", "retraction"):
            return  # what it mends is out, whatever has become of it since
        incident = json.loads(self.incidents[revision["incident_id"]]["body"])
        changes: list[list[str | None]] = []
        for name, phrase in revision["words"].items():
            if phrase["fact"] in ("type", "place"):
                now = (incident[phrase["fact"]] or {}).get("value")
                if phrase["fact_value"] != now:
                    changes.append([name, phrase["fact_value"], now])
        over = revision["incident_open"] and incident["closed_at"] is not None
        if over and revision["kind"] == "update":
            yield "it speaks of an incident that is over"
        elif keeps != facts_digest(changes):
            yield from (f"its {name} says {was}, and it is {now}" for name, was, now in changes)

    # --- one decision a request, one release a revision ---

    def _once_each(self) -> Iterator[str]:
        for kind, field in (("DecisionRecorded", "request_id"), ("UpdateReleased", "decision_id"),
                            ("UpdateReleased", "revision_id")):  # fmt: skip
            for each, count in Counter(e[field] for e in self.record if e["kind"] == kind).items():
                if count > 1:
                    yield f"{kind} {count} times for one {field}: {each}"
        for rows, field in ((self.decisions, "request_id"), (self.releases, "decision_id"),
                            (self.releases, "revision_id")):  # fmt: skip
            if len({row[field] for row in rows.values()}) != len(rows):
                yield f"two rows of one {field}"
        said = {e["release_id"] for e in self.record if e["kind"] == "UpdateReleased"}
        if said != set(self.releases):
            yield "the record and the table of releases differ"

    # --- a decision ---

    def _decision(self, decision: sqlite3.Row) -> Iterator[str]:
        """Whether the right person meant this, about these words, in time."""
        request = self.requests[decision["request_id"]]
        revision = self.revisions[request["revision_id"]]
        person = decision["person_id"]
        at = self._number("DecisionRecorded", decision_id=decision["id"])
        if at is None:
            yield "is not on the record"
            return
        if person == revision["compiled_by"]:
            yield "by who compiled the words"
        if not self._commands(person, revision["incident_id"], at):
            yield "by somebody who did not command"
        if decision["at"] >= request["expires_at"]:
            yield "after the request's time"
        if not decision["digest"] == request["digest"] == digest(revision):
            yield "on other words than those that stand"
        if self._newer(revision, before=at):
            yield "on words of which a newer wording stood"
        yield from self._ended_before(decision, at)
        yield from self._outside(decision, revision["incident_id"], at)
        yield from self._proof(decision, request, decision["verdict"], at)
        if decision["verdict"] == "approved":
            yield from self._other(decision, request, revision, at)

    def _commanded(self, incident: str, at: int) -> list[Json]:
        """What the record told of an incident's command before a number."""
        return [e for e in self.record[: at - 1]
                if e["kind"] == "CommandRecorded" and e["incident_id"] == incident]  # fmt: skip

    def _commands(self, person: str, incident: str, at: int) -> bool:
        """Whoever the record says commanded; without command a Watch Commander, who takes it by
        deciding, as a duty chief may before it."""
        told = self._commanded(incident, at)
        commanders = [[None], *([e.get("commander"), e.get("with_commander")] for e in told)]
        taken = [(e["number"], e["actor"], e.get("commander")) for e in told[-1:]]
        if taken == [(at - 1, person, person)] and commanders[-2][0] is None:
            return "watch-commander" in self._roles(person) or self._duty_chief(person, at)
        if commanders[-1][0] is None:
            return "watch-commander" in self._roles(person)
        return person in commanders[-1]

    # --- both Commanders, where both must approve ---

    def _other(
        self, decision: sqlite3.Row, request: sqlite3.Row, revision: Json, at: int
    ) -> Iterator[str]:
        """Whether the other Commander had approved the same, under this command, and still did."""
        command = self._commanded(request["incident_id"], at)[-1:]
        if not (command and command[0].get("both")):
            return
        assent = self.assents.get(decision["assent_id"])
        if assent is None:
            yield "of one Commander, where both must"
            return
        given = self._number("AssentGiven", assent_id=assent["id"])
        if given is None or not command[0]["number"] < given < at:
            yield "with an assent that was not given under this command"
        if self._number("AssentEnded", assent_id=assent["id"]) is not None:
            yield "with an assent that was taken back"
        if assent["person_id"] == decision["person_id"]:
            yield "of one Commander alone"
        if assent["person_id"] == revision["compiled_by"]:
            yield "with an assent by who compiled the words"
        if not self._commands(assent["person_id"], request["incident_id"], at):
            yield "with an assent by somebody who does not command"
        if (assent["digest"], assent["keeps"]) != (decision["digest"], decision["keeps"]):
            yield "with an assent to other words, or other facts"
        if assent["at"] >= request["expires_at"]:
            yield "with an assent after the request's time"
        yield from self._proof(assent, request, "approved", at)

    def _assent(self, assent: sqlite3.Row) -> Iterator[str]:
        """Whether the right person meant it when it was given."""
        request = self.requests[assent["request_id"]]
        revision = self.revisions[request["revision_id"]]
        at = self._number("AssentGiven", assent_id=assent["id"])
        if at is None:
            yield "is not on the record"
            return
        if assent["person_id"] == revision["compiled_by"]:
            yield "by who compiled the words"
        if not self._commands(assent["person_id"], request["incident_id"], at):
            yield "by somebody who did not command"
        if not assent["digest"] == request["digest"] == digest(revision):
            yield "on other words than those that stand"
        if self._newer(revision, before=at):
            yield "on words of which a newer wording stood"
        yield from self._ended_before(assent, at)
        yield from self._proof(assent, assent, "approved", at)

    def _duty_chief(self, person: str, at: int) -> bool:
        return any(e["kind"] == "DutyChiefNamed" and e["person_id"] == person
                   for e in self.record[: at - 1])  # fmt: skip

    def _outside(self, decision: sqlite3.Row, incident: str, at: int) -> Iterator[str]:
        """Of somebody who has no role: whether a Watch Commander's passkey had enrolled them for
        this incident, and nothing had ended that."""
        person = decision["person_id"]
        if self._roles(person):
            return
        guest = self.guests.get(person)
        enrolled = self._number("GuestEnrolled", person_id=person, incident_id=incident)
        if guest is None or enrolled is None or enrolled > at:
            yield "by somebody from outside who was not enrolled for it"
            return
        for kind, fields in (("GuestEnded", {"person_id": person}),
                             ("PasskeyRevoked", {"passkey_id": self._signer(guest)})):  # fmt: skip
            ended = self._number(kind, **fields)
            if ended is not None and ended < at:
                yield f"by somebody from outside after {kind}"
        if decision["at"] >= guest["until"]:
            yield "by somebody from outside whose time was over"
        turns = [e["kind"] for e in self.record[: at - 1] if e["incident_id"] == incident
                 and e["kind"] in ("IncidentClosed", "IncidentReopened")]  # fmt: skip
        if turns[-1:] == ["IncidentClosed"]:
            yield "by somebody from outside about an incident that was over"
        signer = self.passkeys[self._signer(guest)]
        times = (f"{datetime.fromisoformat(guest[name]).isoformat()}+00:00"
                 for name in ("at", "until"))  # fmt: skip
        parts = (incident, person, self.people[person]["name"], guest["token_hash"], *times)
        challenge = hashlib.sha256(GUEST_TAG + "\0".join(parts).encode()).digest()
        answer = json.dumps(json.loads(guest["approval"])["response"])
        by_watch = "watch-commander" in self._roles(signer["person_id"])
        if not (by_watch and signed(answer, signer["public_key"], challenge, self._origin)):
            yield "by somebody from outside whom no Watch Commander signed for"
        if guest["passkey_id"] != json.loads(decision["proof"] or "{}").get("id"):
            yield "by somebody from outside with another device than their link's"

    def _signer(self, guest: sqlite3.Row) -> str:
        named: str = json.loads(guest["approval"])["id"]
        return named

    def _roles(self, person: str) -> list[str]:
        roles: str = self.people[person]["roles"]
        return roles.split()

    def _newer(self, revision: Json, *, before: int) -> bool:
        """Whether another wording of the update was submitted after this one, and before then."""
        wordings = [e["revision_id"] for e in self.record[: before - 1]
                    if e["kind"] == "RevisionSubmitted"]  # fmt: skip
        update = revision["update_id"]
        same = [each for each in wordings if self.revisions[each]["update_id"] == update]
        return same[-1:] != [revision["id"]]

    def _ended_before(self, decision: sqlite3.Row, before: int) -> Iterator[str]:
        """What lapsed may be kept, by a decision that says of which facts."""
        kinds = ["RequestWithdrawn", "RequestExpired"]
        for kind in kinds if decision["keeps"] else [*kinds, "RequestLapsed"]:
            number = self._number(kind, request_id=decision["request_id"])
            if number is not None and number < before:
                yield f"after {kind}"

    def _proof(
        self, decision: sqlite3.Row, asked: sqlite3.Row, verdict: str, at: int
    ) -> Iterator[str]:
        """Whether the person's own approved passkey signed this verdict, request and digest; or
        they typed PIN and code for them.

        `asked`: what has the nonce that was signed, the request's now or an assent's then.
        """
        if "seal" in decision.keys() and decision["seal"]:  # noqa: SIM118 - a Row's values else
            yield from self._sealed(decision, asked, at)
            return
        proof = json.loads(decision["proof"] or "null")
        if proof is None:
            yield "without a passkey"
            return
        passkey = self.passkeys[proof["id"]]
        if passkey["person_id"] != decision["person_id"]:
            yield "with somebody else's passkey"
        approved = self._approved(proof["id"])
        if approved is None or approved > at:
            yield "with a device that nobody had approved"
        revoked = self._number("PasskeyRevoked", passkey_id=proof["id"])
        if revoked is not None and revoked < at:
            yield "with a revoked device"
        meant = self._meant(decision, asked, verdict, at)
        text = json.dumps(proof["response"])
        if not any(signed(text, passkey["public_key"], each, self._origin) for each in meant):
            yield "with a passkey's answer to something else"

    def _meant(
        self, decision: sqlite3.Row, asked: sqlite3.Row, verdict: str, at: int
    ) -> list[bytes]:
        """What whoever decided may have meant: this request until its end, verdict, digest, what
        is kept knowingly, and the command as it was then, or before they took it by deciding."""
        request = self.requests[decision["request_id"]]
        told = self._commanded(request["incident_id"], at)
        epochs = [len(told)]
        if told and (told[-1]["number"], told[-1]["actor"]) == (at - 1, decision["person_id"]):
            epochs.append(len(told) - 1)
        until = datetime.fromisoformat(request["expires_at"]).isoformat() + "Z"
        kept = [decision["keeps"]] if decision["keeps"] else []
        several = (
            [asked["nonce"], request["id"], until, str(epoch), verdict, decision["digest"], *kept]
            for epoch in epochs
        )
        return [hashlib.sha256(DECISION_TAG + "\0".join(each).encode()).digest()
                for each in several]  # fmt: skip

    def _sealed(self, decision: sqlite3.Row, request: sqlite3.Row, at: int) -> Iterator[str]:
        """Whether the person was allowed PIN and code, and typed the right ones for just this."""
        answer = self.typed[decision["seal"]]
        allowed = self.allowed[answer["fallback_id"]]
        if allowed["person_id"] != decision["person_id"]:
            yield "with PIN and code of somebody else"
        granted = self._number("FallbackAllowed", fallback_id=allowed["id"])
        ended = self._number("FallbackEnded", fallback_id=allowed["id"])
        if granted is None or granted > at or (ended is not None and ended < at):
            yield "with PIN and code that nobody allowed then"
        if decision["at"] >= allowed["until"]:
            yield "with PIN and code after their time"
        if answer["step"] is None:
            yield "with PIN and code that no gate has taken"
            return
        if sum((each["fallback_id"], each["step"]) == (allowed["id"], answer["step"])
               for each in self.typed.values()) > 1:  # fmt: skip
            yield "with a code that counted twice"
        shown = int(_time(decision["at"]).replace(tzinfo=UTC).timestamp()) // STEP
        if abs(answer["step"] - shown) > 1:
            yield "with a code of another time"
        secret = hmac.digest(self._key.encode(), SECRET_TAG + allowed["id"].encode(), "sha256")
        keyed = self.pins[allowed["id"]]["hash"] + code(secret[:20], answer["step"])
        meant = self._meant(decision, request, decision["verdict"], at)
        seals = [hmac.digest(keyed.encode(), SEAL_TAG + each, "sha256").hex() for each in meant]
        if decision["seal"] not in seals:
            yield "with PIN and code for something else"

    def _approved(self, passkey: str) -> int | None:
        added = self._number("PasskeyAdded", passkey_id=passkey)
        if added is not None and self.record[added - 1].get("approved_by"):
            return added
        return self._number("PasskeyApproved", passkey_id=passkey)

    # --- a release ---

    def _release(self, release: sqlite3.Row) -> Iterator[str]:
        """Whether one valid approval stands behind these very words, and nothing took it back."""
        body = json.loads(release["body"])
        decision = self.decisions[release["decision_id"]]
        revision = self.revisions[release["revision_id"]]
        at = self._number("UpdateReleased", release_id=release["id"])
        if at is None:
            yield "is not on the record"
            return
        if self._ordered(decision):
            yield from self._taken_back(decision, revision, at)
        else:
            yield from self._went_out(decision, revision, at)
        if decision["outcome"] != "released":
            yield f"of a decision of outcome {decision['outcome']}"
        signed = {each["keeps"] for each in self.decisions.values()
                  if self.requests[each["request_id"]]["revision_id"] == revision["id"]
                  and each["outcome"] in ("released", "kept")}  # fmt: skip
        if release["keeps"] and release["keeps"] not in signed:
            yield "kept for facts that nobody signed"
        if not body["digest"] == decision["digest"] == digest(revision):
            yield "of other words than were approved"
        if body["world"] != revision["world"]:
            yield "in another world than its words"

    def _ordered(self, decision: sqlite3.Row) -> bool:
        """Whether it orders a retraction that was prepared, which nobody approves again."""
        revision = self.revisions[self.requests[decision["request_id"]]["revision_id"]]
        told = self._number("RetractionOrdered", decision_id=decision["id"])
        by_nobody = decision["proof"] is None and decision["seal"] is None
        return revision["kind"] == "retraction" and by_nobody and told is not None

    def _taken_back(self, decision: sqlite3.Row, revision: Json, at: int) -> Iterator[str]:
        """Whether every word of a retraction was in a digest that was approved and released."""
        ordered = self._number("RetractionOrdered", decision_id=decision["id"])
        if ordered is None or ordered > at:
            yield "taken back by nobody's order"
        if not set(self._roles(decision["person_id"])) & MAY_TAKE_BACK:
            yield "taken back by who may not"
        released = self.releases.get(revision["corrects"])
        if released is None:
            yield "takes back what was never released"
            return
        base = self.revisions[released["revision_id"]]
        if json.loads(released["body"])["digest"] != digest(base):
            yield "takes back words that were not approved"
        if any(each not in base["retraction"] for each in revision["renderings"]):
            yield "in words that were not approved for it"
        if {each["channel"] for each in revision["renderings"]} != set(revision["channels"]):
            yield "on a channel for which no words were approved"

    def _kept(self, decision: sqlite3.Row) -> Iterator[str]:
        """Whether as much stands behind what is let go as behind a release."""
        at = self._number("WordsKept", decision_id=decision["id"])
        if at is None:
            yield "is not on the record"
            return
        revision = self.revisions[self.requests[decision["request_id"]]["revision_id"]]
        if revision["id"] not in {row["revision_id"] for row in self.releases.values()}:
            yield "words that nobody released"
        yield from self._went_out(decision, revision, at)

    def _went_out(self, decision: sqlite3.Row, revision: Json, at: int) -> Iterator[str]:
        """Whether a decision by which words go out is a valid approval of them at that time."""
        request = self.requests[decision["request_id"]]
        yield from self._decision(decision)
        yield from self._ended_before(decision, at)
        yield from self._outside(decision, revision["incident_id"], at)
        if decision["verdict"] != "approved":
            yield f"of a decision {decision['verdict']}"
        if request["state"] != "approved":
            yield f"of a request that is {request['state']}"
        if request["revision_id"] != revision["id"]:
            yield "of another revision than was asked about"
        if self._newer(revision, before=at):
            yield "of words of which a newer wording stood"
        since = _time(self.record[at - 1]["at"]) - _time(decision["at"])
        if since > LATE:
            yield f"{since} after the decision"
        if self.record[at - 1]["at"] >= str(revision["expires_at"]).replace("Z", "+00:00"):
            yield "after the update's own time"
        proof = json.loads(decision["proof"] or "{}")
        assent = self.assents.get(decision["assent_id"])
        for each in (proof, json.loads(assent["proof"]) if assent else {}):
            revoked = self._number("PasskeyRevoked", passkey_id=each.get("id"))
            if revoked is not None and revoked < at:
                yield "on the strength of a revoked device"
        if decision["seal"]:
            allowed = self.typed[decision["seal"]]["fallback_id"]
            ended = self._number("FallbackEnded", fallback_id=allowed)
            if ended is not None and ended < at:
                yield "on the strength of an allowance that was over"

    def _posts(self) -> Iterator[str]:
        """Nothing is on its way but what was released, to the channels that were approved."""
        planned: dict[str, list[str]] = defaultdict(list)
        for post in self.posts.values():
            planned[post["release_id"]].append(post["channel"])
        approved = {row["id"]: sorted(self.revisions[row["revision_id"]]["channels"])
                    for row in self.releases.values()}  # fmt: skip
        if {k: sorted(v) for k, v in planned.items()} != approved:
            yield "posts that were not approved, or approved ones missing"
        for post in self.posts.values():
            release = self.releases.get(post["release_id"])
            ended = release is None or release["stopped_at"] or post["replaced_by"]
            if release is not None and not ended and post["state"] in ("planned", "waiting"):
                for untrue in self._untrue(release, release["keeps"]):
                    yield f"a post that would go: {untrue}"

    def _number(self, kind: str, **fields: object) -> int | None:
        """The place on the record of the first such entry."""
        for entry in self.record:
            if entry["kind"] == kind and fields.items() <= entry.items():
                return int(entry["number"])
        return None


def _record(connection: sqlite3.Connection) -> list[Json]:
    """The entries in order, each flat: number, kind, at, actor, incident, and its public fields."""
    rows = connection.execute(
        "SELECT number, body FROM seals JOIN entries ON entries.id = entry_id ORDER BY number"
    ).fetchall()
    assert [row["number"] for row in rows] == list(range(1, len(rows) + 1)), "a gap in the record"
    return [_flat(row["number"], row["body"]) for row in rows]


@lru_cache(maxsize=100_000)
def _flat(number: int, text: str) -> Json:
    body = json.loads(text)
    return {**body["public"], "number": number, "kind": body["kind"], "at": body["at"],
            "actor": body["actor"], "incident_id": body["incident_id"]}  # fmt: skip


def code(secret: bytes, step: int) -> str:
    """The six digits of a time step (RFC 4226 §5.3)."""
    made = hmac.digest(secret, step.to_bytes(8, "big"), "sha1")
    at = made[-1] & 0xF
    return f"{(int.from_bytes(made[at : at + 4], 'big') & 0x7FFFFFFF) % 10**6:06}"


def _time(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found.replace(tzinfo=None)


def facts_digest(changes: list[list[str | None]]) -> str:
    """SHA-256 over the tag and canonical JSON of each changed fact: its name, before, and now."""
    text = json.dumps(changes, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(FACTS_TAG + text.encode()).hexdigest()


def digest(revision: Json) -> str:
    """SHA-256 over the tag and RFC 8785 canonical JSON of what approval covers."""
    covered = {name: revision[name] for name in COVERED if name != "retraction" or revision[name]}
    text = json.dumps(covered, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(REVISION_TAG + text.encode()).hexdigest()


@lru_cache(maxsize=10_000)
def signed(response: str, public_key: bytes, challenge: bytes, origin: str) -> bool:
    """Whether the key's holder, present and verified, signed this challenge at this origin."""
    answer = json.loads(response)
    client, data = _bytes(answer["clientDataJSON"]), _bytes(answer["authenticatorData"])
    told, key = json.loads(client), cbor2.loads(public_key)
    host = origin.removeprefix("https://").encode()
    point = ec.EllipticCurvePublicNumbers(
        int.from_bytes(key[-2], "big"), int.from_bytes(key[-3], "big"), ec.SECP256R1()
    )
    try:
        point.public_key().verify(
            _bytes(answer["signature"]), data + hashlib.sha256(client).digest(),
            ec.ECDSA(hashes.SHA256()),
        )  # fmt: skip
    except InvalidSignature:
        return False
    return (
        (told["type"], told["origin"], _bytes(told["challenge"]))
        == ("webauthn.get", origin, challenge)
        and data[:32] == hashlib.sha256(host).digest()
        and data[32] & PRESENT_AND_VERIFIED == PRESENT_AND_VERIFIED
    )  # fmt: skip


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
