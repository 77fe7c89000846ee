"""The judge of a run: were the words that the public got the words that were approved, once each?

It imports nothing of the product. What it relies on is what is documented: the ledger's tables,
how the record's chain and a revision's digest are made, what a webhook's body holds. It reads the
ledger, the receivers' logs, the public feed as a reader got it, and what the clients noted of the
answers they had.

    python tests/faults/auditor.py CASE.json

    {"ledger": FILE, "address": of the desk, "feed": [items of feed.json],
     "receivers": [{"name", "log": FILE, "class": "A", "C" or "D"}],
     "reports": [ids that were answered 2xx], "decisions": [ids that were answered 2xx],
     "kills": [when processes were killed, seconds since 1970]}

Class A acts once on one id; C can be asked what it holds, D cannot. It prints `{"faults": [...],
"posts": {...}}` and then the figures of the run, a line each, and exits 1 where there is a fault.
A kill is recovered from once every channel has proved a post since, the slowest included.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import sqlite3
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

CHAIN = b"incident-alert-broadcaster/entry/1\0"
DIGEST = b"incident-alert-broadcaster/revision/1\0"
COVERED = (
    "id", "update_id", "incident_id", "world", "kind", "number", "area", "languages", "channels",
    "renderings", "media", "replaces", "corrects", "expires_at", "retraction",
)  # fmt: skip

Json = dict[str, Any]


def canonical(value: object) -> str:
    """RFC 8785 for what stands here: texts, whole numbers, true, false, null, lists, objects."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Fault(NamedTuple):
    """What must not be, and under which figure it counts."""

    sort: str  #: "lost", "twice", "unapproved", "order", "record"; or "other"
    said: str


class Audit:
    """One case, with the ledger open."""

    def __init__(self, case: Json, ledger: sqlite3.Connection) -> None:
        ledger.row_factory = sqlite3.Row
        self._ledger = ledger
        self._case = case
        self.revisions = {row["id"]: json.loads(row["body"]) for row in self.all("revisions")}
        self.releases = {row["id"]: row for row in self.all("releases")}
        self.posts = {row["id"]: row for row in self.all("posts")}
        self.logs = {each["name"]: _log(each["log"]) for each in case["receivers"]}

    def all(self, table: str, order: str = "rowid") -> list[sqlite3.Row]:
        return self._ledger.execute(f"SELECT * FROM {table} ORDER BY {order}").fetchall()

    def faults(self) -> Iterator[Fault]:
        yield from self._chain()
        yield from self._nothing_lost()
        yield from self._approved()
        yield from self._page()
        for receiver in self._case["receivers"]:
            yield from self._received(receiver["name"], receiver["class"])
        yield from self._delivered()
        yield from self._goes_on()

    # --- the record ---

    def _chain(self) -> Iterator[Fault]:
        """Each entry follows the one before, and is what its hash, digests and columns say."""
        entries = {row["id"]: row for row in self.all("entries")}
        private: dict[str, dict[str, str]] = defaultdict(dict)
        for row in self.all("private_values"):
            digest = hmac.digest(row["salt"], row["value"].encode(), "sha256").hex()
            private[row["entry_id"]][row["field"]] = digest
        previous = sha256(CHAIN + b"the first entry")
        for number, seal in enumerate(self.all("seals", "number"), start=1):
            entry = entries.pop(seal["entry_id"], None)
            if entry is None or seal["number"] != number or seal["previous_hash"] != previous:
                yield _record(f"entry {number} is missing, or does not follow")
                return
            text = entry["body"]
            if sha256(CHAIN + f"{previous}\0{number}\0{text}".encode()) != seal["hash"]:
                yield _record(f"the hash of entry {number} is another")
            body = json.loads(text)
            if canonical(body) != text:
                yield _record(f"entry {number} is not canonical")
            if body["private"] != private[entry["id"]]:
                yield _record(f"the private values of entry {number} are others")
            if any(body[name] != entry[name] for name in ("id", "kind", "at", "incident_id")):
                yield _record(f"the columns of entry {number} say otherwise")
            previous = seal["hash"]
        for left in entries.values():
            yield _record(f"{left['kind']} was never sealed")

    def _told(self, kind: str) -> list[Json]:
        """What the record tells of one kind of fact, each with its time."""
        rows = self._ledger.execute("SELECT body FROM entries WHERE kind = ?", (kind,))
        read = [json.loads(row["body"]) for row in rows]
        return [{**body["public"], "at": body["at"]} for body in read]

    def _noted(self, kind: str, field: str) -> Counter[str]:
        """How often the record says that something happened, by the thing that it happened to."""
        return Counter(told[field] for told in self._told(kind))

    # --- nothing accepted is lost, and nothing is there twice ---

    def _nothing_lost(self) -> Iterator[Fault]:
        reports = {row["id"]: row for row in self.all("reports")}
        yield from _differ("report", "accepted", self._case["reports"], reports, subset=True)
        yield from _differ("report", "on the record", self._noted("ReportAccepted", "report_id"),
                           reports)  # fmt: skip
        incidents = {row["id"]: json.loads(row["body"]) for row in self.all("incidents")}
        folded = Counter(row["incident_id"] for row in reports.values())
        for row in reports.values():
            if row["compiled_at"] is None or row["incident_id"] not in incidents:
                yield Fault("lost", f"report {row['id']} was not compiled")
        for incident_id, incident in incidents.items():
            if incident["reports"] != folded[incident_id]:
                yield Fault("other", f"incident {incident_id} counts {incident['reports']} "
                            f"reports, of {folded[incident_id]}")  # fmt: skip
        yield from _differ("incident", "opened on the record",
                           self._of("IncidentOpened"), incidents)  # fmt: skip
        decisions = {row["id"]: row for row in self.all("decisions")}
        yield from _differ("decision", "answered", self._case["decisions"], decisions, subset=True)
        yield from _differ("decision", "on the record",
                           self._noted("DecisionRecorded", "decision_id"), decisions)  # fmt: skip
        yield from _differ("request", "submitted on the record",
                           self._noted("RevisionSubmitted", "request_id"),
                           {row["id"]: row for row in self.all("approval_requests")})  # fmt: skip
        decided = {row["request_id"] for row in decisions.values()}
        for row in self.all("approval_requests"):
            if row["called_at"] is None and row["id"] not in decided:
                yield Fault("lost", f"nobody was called for request {row['id']}")
        for row in self.all("outbox"):
            yield Fault("lost", f"a message for {row['topic']} was left in the outbox")

    def _of(self, kind: str) -> Counter[str]:
        rows = self._ledger.execute("SELECT incident_id FROM entries WHERE kind = ?", (kind,))
        return Counter(row["incident_id"] for row in rows)

    # --- nothing is released, and nothing posted, but what was approved ---

    def _approved(self) -> Iterator[Fault]:
        decisions = {row["id"]: row for row in self.all("decisions")}
        requests = {row["id"]: row for row in self.all("approval_requests")}
        released = Counter(row["decision_id"] for row in self.releases.values())
        for decision in decisions.values():
            releases = (decision["verdict"] == "approved" and decision["outcome"] != "kept"
                        and not _too_late(decision))  # fmt: skip
            wanted = 1 if releases else 0
            if released[decision["id"]] != wanted:
                sort = "lost" if wanted and not released[decision["id"]] else "unapproved"
                yield Fault(sort, f"decision {decision['id']} ({decision['verdict']}) was released "
                            f"{released[decision['id']]} times")  # fmt: skip
        yield from _differ("release", "on the record",
                           self._noted("UpdateReleased", "release_id"), self.releases)  # fmt: skip
        for release in self.releases.values():
            revision = self.revisions[release["revision_id"]]
            decision = decisions[release["decision_id"]]
            request = requests[decision["request_id"]]
            digests = {_digest(revision), decision["digest"], request["digest"],
                       json.loads(release["body"])["digest"]}  # fmt: skip
            if len(digests) != 1 or request["revision_id"] != revision["id"]:
                yield Fault("unapproved", f"release {release['id']}: approved were other words")
            if decision["person_id"] == revision["compiled_by"]:
                yield Fault("unapproved", f"release {release['id']}: who compiled it approved it")
            channels = [row["channel"] for row in self.posts.values()
                        if row["release_id"] == release["id"]]  # fmt: skip
            if sorted(channels) != sorted(revision["channels"]):
                sort = "lost" if set(revision["channels"]) - set(channels) else "unapproved"
                yield Fault(sort, f"release {release['id']}: posts for {channels}, "
                            f"not {revision['channels']}")  # fmt: skip

    def _rendering(self, post: sqlite3.Row) -> Json:
        revision = self.revisions[self.releases[post["release_id"]]["revision_id"]]
        found: Json = next(r for r in revision["renderings"] if r["channel"] == post["channel"])
        return found

    # --- the public page ---

    def _page(self) -> Iterator[Fault]:
        """The feed holds each post of the page once, in the approved words, and nothing else."""
        items = Counter(item["id"].removeprefix("urn:uuid:") for item in self._case["feed"])
        mine = {id: post for id, post in self.posts.items() if post["channel"] == "public_page"}
        yield from _differ("post", "on the page", items, mine, _POST)
        for item in self._case["feed"]:
            post = mine.get(item["id"].removeprefix("urn:uuid:"))
            if post is None:
                continue
            approved = self._rendering(post)
            if (item["title"], item["content_text"]) != (approved["headline"], approved["text"]):
                yield Fault(
                    "unapproved",
                    f"post {post['id']}: on the page stand other words than were approved",
                )

    # --- the receivers ---

    def _received(self, name: str, sure: str) -> Iterator[Fault]:
        log = self.logs[name]
        mine = {id: post for id, post in self.posts.items() if post["channel"] == name}
        acted = Counter(line["id"] for line in log if line["is"] == "acted")
        sent = Counter(line["id"] for line in log if line["is"] == "request")
        yield from _differ("post", f"sent to {name}", set(sent), mine, _POST, subset=True)
        for line in log:
            if line["is"] == "request" and not line["verified"]:
                yield Fault("unapproved", f"{name}: {line['id']} came unsigned")
            if line["id"] in mine and line["sha256"] != sha256(self._body(mine[line["id"]])):
                yield Fault(
                    "unapproved", f"{name}: {line['id']} came in other words than were approved"
                )
        for id, post in mine.items():
            if acted[id] > 1:
                yield Fault("other" if sure == "D" else "twice",
                            f"{name} acted {acted[id]} times on {id}")  # fmt: skip
            if post["state"] == "posted" and not acted[id]:
                yield Fault("lost", f"{name} never acted on {id}, which is posted")
            if post["state"] == "replaced" and acted[id]:
                yield Fault("other", f"{name} acted on {id}, which is replaced")
        numbers: dict[str, int] = {}
        for line in log:
            if line["is"] == "acted" and line["id"] in mine:
                incident = mine[line["id"]]["incident_id"]
                number = self._number(mine[line["id"]])
                if number < numbers.get(incident, 0):
                    yield Fault(
                        "order", f"{name}: update #{number} of {incident} came after a later one"
                    )
                numbers[incident] = number

    def _number(self, post: sqlite3.Row) -> int:
        number: int = self.revisions[self.releases[post["release_id"]]["revision_id"]]["number"]
        return number

    def _body(self, post: sqlite3.Row) -> bytes:
        """What a webhook is to hold, made again from what was approved."""
        revision = self.revisions[self.releases[post["release_id"]]["revision_id"]]
        public_id = self._ledger.execute(
            "SELECT public_id FROM incidents WHERE id = ?", (post["incident_id"],)
        ).fetchone()[0]
        said = self._rendering(post)
        body = {
            "version": 1, "world": revision["world"], "post_id": post["id"],
            "incident": public_id, "url": f"{self._case['address']}/p/{public_id}",
            "number": revision["number"], "kind": revision["kind"],
            "headline": said["headline"], "text": said["text"], "language": said["language"],
            "released_at": _instant(post["released_at"]),
            "expires_at": _instant(revision["expires_at"]),
        }  # fmt: skip
        return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()

    # --- how posts ended ---

    def _delivered(self) -> Iterator[Fault]:
        """Each ended, with one open attempt at most at a time, and as the record tells it."""
        classes = {each["name"]: each["class"] for each in self._case["receivers"]}
        delivered = self._noted("PostDelivered", "post_id")
        surfaced = self.surfaced()
        not_there = self._noted("PostNotFound", "post_id")
        for id, post in self.posts.items():
            sure = classes.get(post["channel"], "B")
            honest = {
                "posted": True,
                "in doubt": sure in "CD" and id in surfaced,
                "replaced": sure == "C" and self._overtaken(post),
            }
            if not honest.get(post["state"]):
                yield Fault("lost", f"post {id} on {post['channel']} is {post['state']}")
            if delivered[id] != (post["state"] == "posted"):
                yield Fault("other", f"post {id} is {post['state']}, and delivered "
                            f"{delivered[id]} times on record")  # fmt: skip
        attempts = defaultdict(list)
        for row in self.all("attempts", "post_id, number"):
            attempts[row["post_id"]].append(row)
        begun = self._noted("AttemptStarted", "post_id")
        for id, tried in attempts.items():
            if any(row["ended_at"] is None for row in tried):
                yield Fault("lost", f"post {id} has an attempt that nobody ended")
            if begun[id] != len(tried):
                yield Fault(
                    "record", f"post {id}: {len(tried)} attempts, {begun[id]} on the record"
                )
            blindly = sum(row["outcome"] == "InDoubt" for row in tried[:-1]) - not_there[id]
            if blindly > 0 and classes.get(self.posts[id]["channel"], "B") in "CD":
                yield Fault(
                    "other", f"post {id} was sent again though nobody knew whether it had arrived"
                )

    def surfaced(self) -> set[str]:
        """The posts that were in doubt, and of which the PIO was told."""
        return {told["post_id"] for told in self._told("PostInDoubt") if told.get("tell") == "pio"}

    def _overtaken(self, post: sqlite3.Row) -> bool:
        """Whether a later update of its incident was tried on its channel."""
        return any(
            other["channel"] == post["channel"] and other["incident_id"] == post["incident_id"]
            and self._number(other) > self._number(post) and other["attempts"]
            for other in self.posts.values()
        )  # fmt: skip

    # --- how soon it went on ---

    def recoveries(self) -> Iterator[tuple[str, float, float | None]]:
        """Of each kill and channel: the seconds until a post was proved there, if one was."""
        proved: dict[str, list[float]] = {post["channel"]: [] for post in self.posts.values()}
        for told in self._told("PostDelivered"):
            proved[told["channel"]].append(datetime.fromisoformat(told["at"]).timestamp())
        for at in self._case.get("kills", []):
            for channel, times in proved.items():
                since = min((time - at for time in times if time > at), default=None)
                yield channel, at, since

    def _goes_on(self) -> Iterator[Fault]:
        for channel, at, since in self.recoveries():
            if since is None:
                yield Fault("other", f"nothing was proved on {channel} after the kill at {at}")

    def figures(self, faults: list[Fault]) -> Json:
        """The last line: what was done to it, and what came of that."""
        counted = Counter(fault.sort for fault in faults)
        slowest: dict[float, float] = defaultdict(float)
        for _, at, since in self.recoveries():
            slowest[at] = max(slowest[at], since or math.inf)
        seconds = sorted(slowest.values())
        return {
            "kills": len(seconds), "releases": len(self.releases), "posts": len(self.posts),
            "lost": counted["lost"], "second_posts_abc": counted["twice"],
            "in_doubt_surfaced": len(self.surfaced()), "unapproved": counted["unapproved"],
            "order_violations": counted["order"], "record_ok": not counted["record"],
            "recover_p50_ms": _percentile(seconds, 50), "recover_p99_ms": _percentile(seconds, 99),
        }  # fmt: skip


def _record(said: str) -> Fault:
    return Fault("record", f"record: {said}")


def _percentile(seconds: list[float], percent: int) -> int | None:
    """Nearest rank, in milliseconds; None where there is none, or one that never ended."""
    value = seconds[math.ceil(percent / 100 * len(seconds)) - 1] if seconds else math.inf
    return None if math.isinf(value) else round(value * 1000)


def _too_late(decision: sqlite3.Row) -> bool:
    """Whether the gate came to it after the minute that an approval may wait, and said so."""
    if decision["outcome"] != "gate_late":
        return False
    at, judged_at = (datetime.fromisoformat(decision[name]) for name in ("at", "judged_at"))
    return (judged_at - at).total_seconds() >= 60


def _digest(revision: Json) -> str:
    covered = {name: revision[name] for name in COVERED if name != "retraction" or revision[name]}
    return sha256(DIGEST + canonical(covered).encode())


def _instant(text: str) -> str:
    at = datetime.fromisoformat(text)
    return (at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)).isoformat()


class Sorts(NamedTuple):
    """What a thing counts as that is there twice, that nobody knows, or that is not there."""

    twice: str
    strange: str
    missing: str


_FACT = Sorts("record", "record", "lost")
_POST = Sorts("twice", "unapproved", "lost")


def _differ(
    what: str, where: str, found: Any, kept: dict[str, Any], sorts: Sorts = _FACT,
    *, subset: bool = False,
) -> Iterator[Fault]:  # fmt: skip
    """Where the ids found are not, each once, those in the ledger."""
    counted = Counter(found)
    for id, count in counted.items():
        if count > 1:
            yield Fault(sorts.twice, f"{what} {id}: {where} {count} times")
        if id not in kept:
            yield Fault(sorts.strange, f"{what} {id}: {where}, and not in the ledger")
    for id in kept:
        if not subset and not counted[id]:
            yield Fault(sorts.missing, f"{what} {id}: in the ledger, and not {where}")


def _log(file: str) -> list[Json]:
    return [json.loads(line) for line in Path(file).read_text().splitlines()]


def main() -> int:
    case = json.loads(Path(sys.argv[1]).read_text())
    with closing(sqlite3.connect(case["ledger"])) as ledger:
        audit = Audit(case, ledger)
        faults = list(audit.faults())
        states = Counter(f"{p['channel']}: {p['state']}" for p in audit.posts.values())
        figures = audit.figures(faults)
    print(json.dumps({"faults": [fault.said for fault in faults], "posts": states}))
    print(json.dumps(figures))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
