"""The judge of a run: were the words that the public got the words that were approved, once each?

It imports nothing of the product. What it relies on is what is documented: the ledger's tables,
how the record's chain and a revision's digest are made, what a webhook's body holds. It reads the
ledger, the receivers' logs, the public feed as a reader got it, and what the clients noted of the
answers they had.

    python tests/faults/auditor.py CASE.json

    {"ledger": FILE, "address": of the desk, "feed": [items of feed.json],
     "receivers": [{"name", "log": FILE, "dedupes": bool}],
     "reports": [ids that were answered 2xx], "decisions": [ids that were answered 2xx]}

It prints `{"faults": [...], "posts": N, ...}` and exits 1 where there is a fault.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import sqlite3
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

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

    def faults(self) -> Iterator[str]:
        yield from self._chain()
        yield from self._nothing_lost()
        yield from self._approved()
        yield from self._page()
        for receiver in self._case["receivers"]:
            yield from self._received(receiver["name"], receiver["dedupes"])
        yield from self._delivered()

    # --- the record ---

    def _chain(self) -> Iterator[str]:
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
                yield f"record: entry {number} is missing, or does not follow"
                return
            text = entry["body"]
            if sha256(CHAIN + f"{previous}\0{number}\0{text}".encode()) != seal["hash"]:
                yield f"record: the hash of entry {number} is another"
            body = json.loads(text)
            if canonical(body) != text:
                yield f"record: entry {number} is not canonical"
            if body["private"] != private[entry["id"]]:
                yield f"record: the private values of entry {number} are others"
            if any(body[name] != entry[name] for name in ("id", "kind", "at", "incident_id")):
                yield f"record: the columns of entry {number} say otherwise"
            previous = seal["hash"]
        for left in entries.values():
            yield f"record: {left['kind']} was never sealed"

    def _noted(self, kind: str, field: str) -> Counter[str]:
        """How often the record says that something happened, by the thing that it happened to."""
        rows = self._ledger.execute("SELECT body FROM entries WHERE kind = ?", (kind,))
        return Counter(json.loads(row["body"])["public"][field] for row in rows)

    # --- nothing accepted is lost, and nothing is there twice ---

    def _nothing_lost(self) -> Iterator[str]:
        reports = {row["id"]: row for row in self.all("reports")}
        yield from _differ("report", "accepted", self._case["reports"], reports, subset=True)
        yield from _differ("report", "on the record", self._noted("ReportAccepted", "report_id"),
                           reports)  # fmt: skip
        incidents = {row["id"]: json.loads(row["body"]) for row in self.all("incidents")}
        folded = Counter(row["incident_id"] for row in reports.values())
        for row in reports.values():
            if row["compiled_at"] is None or row["incident_id"] not in incidents:
                yield f"report {row['id']} was not compiled"
        for incident_id, incident in incidents.items():
            if incident["reports"] != folded[incident_id]:
                yield f"incident {incident_id} counts {incident['reports']} reports, " \
                      f"of {folded[incident_id]}"  # fmt: skip
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
                yield f"nobody was called for request {row['id']}"
        for row in self.all("outbox"):
            yield f"a message for {row['topic']} was left in the outbox"

    def _of(self, kind: str) -> Counter[str]:
        rows = self._ledger.execute("SELECT incident_id FROM entries WHERE kind = ?", (kind,))
        return Counter(row["incident_id"] for row in rows)

    # --- nothing is released, and nothing posted, but what was approved ---

    def _approved(self) -> Iterator[str]:
        decisions = {row["id"]: row for row in self.all("decisions")}
        requests = {row["id"]: row for row in self.all("approval_requests")}
        released = Counter(row["decision_id"] for row in self.releases.values())
        for decision in decisions.values():
            releases = decision["verdict"] == "approved" and decision["outcome"] != "kept"
            wanted = 1 if releases else 0
            if released[decision["id"]] != wanted:
                yield f"decision {decision['id']} ({decision['verdict']}) was released " \
                      f"{released[decision['id']]} times"  # fmt: skip
        yield from _differ("release", "on the record",
                           self._noted("UpdateReleased", "release_id"), self.releases)  # fmt: skip
        for release in self.releases.values():
            revision = self.revisions[release["revision_id"]]
            decision = decisions[release["decision_id"]]
            request = requests[decision["request_id"]]
            digests = {_digest(revision), decision["digest"], request["digest"],
                       json.loads(release["body"])["digest"]}  # fmt: skip
            if len(digests) != 1 or request["revision_id"] != revision["id"]:
                yield f"release {release['id']}: approved were other words"
            if decision["person_id"] == revision["compiled_by"]:
                yield f"release {release['id']}: who compiled it approved it"
            channels = [row["channel"] for row in self.posts.values()
                        if row["release_id"] == release["id"]]  # fmt: skip
            if sorted(channels) != sorted(revision["channels"]):
                yield f"release {release['id']}: posts for {channels}, not {revision['channels']}"

    def _rendering(self, post: sqlite3.Row) -> Json:
        revision = self.revisions[self.releases[post["release_id"]]["revision_id"]]
        found: Json = next(r for r in revision["renderings"] if r["channel"] == post["channel"])
        return found

    # --- the public page ---

    def _page(self) -> Iterator[str]:
        """The feed holds each post of the page once, in the approved words, and nothing else."""
        items = Counter(item["id"].removeprefix("urn:uuid:") for item in self._case["feed"])
        mine = {id: post for id, post in self.posts.items() if post["channel"] == "public_page"}
        yield from _differ("post", "on the page", items, mine)
        for item in self._case["feed"]:
            post = mine.get(item["id"].removeprefix("urn:uuid:"))
            if post is None:
                continue
            approved = self._rendering(post)
            if (item["title"], item["content_text"]) != (approved["headline"], approved["text"]):
                yield f"post {post['id']}: on the page stand other words than were approved"

    # --- the receivers ---

    def _received(self, name: str, dedupes: bool) -> Iterator[str]:
        log = self.logs[name]
        mine = {id: post for id, post in self.posts.items() if post["channel"] == name}
        acted = Counter(line["id"] for line in log if line["is"] == "acted")
        sent = Counter(line["id"] for line in log if line["is"] == "request")
        yield from _differ("post", f"sent to {name}", set(sent), mine, subset=True)
        for line in log:
            if line["is"] == "request" and not line["verified"]:
                yield f"{name}: {line['id']} came unsigned"
            if line["id"] in mine and line["sha256"] != sha256(self._body(mine[line["id"]])):
                yield f"{name}: {line['id']} came in other words than were approved"
        for id, post in mine.items():
            if dedupes and acted[id] != 1:
                yield f"{name} dedupes, and acted {acted[id]} times on {id} ({post['state']})"
            if not dedupes and acted[id] > 1:
                yield f"{name} acted {acted[id]} times on {id}"
            if not dedupes and acted[id] == 0 and post["state"] != "in doubt":
                yield f"{name} never acted on {id}, which is {post['state']}"
        numbers: dict[str, int] = {}
        for line in log:
            if line["is"] == "acted" and line["id"] in mine:
                incident = mine[line["id"]]["incident_id"]
                number = self._number(mine[line["id"]])
                if number < numbers.get(incident, 0):
                    yield f"{name}: update #{number} of {incident} came after a later one"
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

    def _delivered(self) -> Iterator[str]:
        """Each ended, with one open attempt at most at a time, and as the record tells it."""
        blind = {each["name"] for each in self._case["receivers"] if not each["dedupes"]}
        delivered = self._noted("PostDelivered", "post_id")
        for id, post in self.posts.items():
            allowed = {"posted", "in doubt"} if post["channel"] in blind else {"posted"}
            if post["state"] not in allowed:
                yield f"post {id} on {post['channel']} is {post['state']}"
            if delivered[id] != (post["state"] == "posted"):
                yield f"post {id} is {post['state']}, and delivered {delivered[id]} times on record"
        attempts = defaultdict(list)
        for row in self.all("attempts", "post_id, number"):
            attempts[row["post_id"]].append(row)
        begun = self._noted("AttemptStarted", "post_id")
        for id, tried in attempts.items():
            if any(row["ended_at"] is None for row in tried):
                yield f"post {id} has an attempt that nobody ended"
            if begun[id] != len(tried):
                yield f"post {id}: {len(tried)} attempts, {begun[id]} on the record"
            doubtful = [row["number"] for row in tried if row["outcome"] == "InDoubt"]
            if doubtful and self.posts[id]["channel"] in blind and doubtful[0] != len(tried):
                yield f"post {id} was sent again though nobody knew whether it had arrived"


def _digest(revision: Json) -> str:
    covered = {name: revision[name] for name in COVERED if name != "retraction" or revision[name]}
    return sha256(DIGEST + canonical(covered).encode())


def _instant(text: str) -> str:
    at = datetime.fromisoformat(text)
    return (at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)).isoformat()


def _differ(
    what: str, where: str, found: Any, kept: dict[str, Any], *, subset: bool = False
) -> Iterator[str]:
    """Where the ids found are not, each once, those in the ledger."""
    counted = Counter(found)
    for id, count in counted.items():
        if count > 1:
            yield f"{what} {id}: {where} {count} times"
        if id not in kept:
            yield f"{what} {id}: {where}, and not in the ledger"
    for id in kept:
        if not subset and not counted[id]:
            yield f"{what} {id}: in the ledger, and not {where}"


def _log(file: str) -> list[Json]:
    return [json.loads(line) for line in Path(file).read_text().splitlines()]


def main() -> int:
    case = json.loads(Path(sys.argv[1]).read_text())
    with closing(sqlite3.connect(case["ledger"])) as ledger:
        audit = Audit(case, ledger)
        faults = list(audit.faults())
        states = Counter(f"{p['channel']}: {p['state']}" for p in audit.posts.values())
    print(json.dumps({"faults": faults, "posts": states}))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
