"""Whether a world's posts were delivered as they should be.

Told from what is at the remotes, from the ledger's tables, and from what people did. It imports
nothing of the product. I1 to I8 are the invariants of facts/security-reliability-ux.md §3; "truth"
is that no post is said to be there, or not to be, and is otherwise. Times of the ledger are
compared as the texts that they are.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

CHAIN = b"incident-alert-broadcaster/entry/1\0"
WORLD = "exercise"
TO_TRY = ("planned", "waiting")
UNSENT = ("replaced", "refused", "stopped", "expired")  #: ended, and not before the public
BREAKS = 5  #: failures in a row, after which a channel is asked by one post at a time

Row = Mapping[str, Any]


class There(NamedTuple):
    """A post at a remote."""

    post_id: str
    world: str  #: as its message says
    channel: str  #: for which its words were approved, as its message says
    text: str


@dataclass
class Told:
    """What happened outside the ledger."""

    reported: set[str] = field(default_factory=set)  #: reports that were taken in
    #: What the Commander saw and approved: by revision and channel, the words.
    approved: dict[str, dict[str, str]] = field(default_factory=dict)
    stopped: set[str] = field(default_factory=set)  #: releases
    seen_there: set[str] = field(default_factory=set)  #: posts, as somebody said
    #: Posts in doubt of which somebody said, rightly or not, that they are not there; and how often
    #: they had them sent again for that.
    denied: set[str] = field(default_factory=set)
    sent_again: Counter[str] = field(default_factory=Counter)
    lively: set[str] = field(default_factory=set)  #: channels that send again for safety of life


@dataclass
class Step:
    """What the last step was about."""

    channels: set[str] | None = None  #: those alone; None: whatever there is
    #: On which channels somebody settled what was left open, and the posts that they have to note.
    settled: set[str] = field(default_factory=set)
    noting: set[str] = field(default_factory=set)  #: or being sent by a worker that lives
    #: On which channels somebody looked for what is due, and by which lease.
    looked: dict[str, int] = field(default_factory=dict)


class Judge:
    """Looks at one world after each of its steps."""

    def __init__(
        self, ledger: sqlite3.Connection, told: Told, there: Mapping[str, Sequence[There]]
    ) -> None:
        """`there`: what is at each channel's remote, which goes on growing."""
        self._ledger = ledger
        self._told = told
        self._there = there
        self._seen = Counter[str]()  #: at each remote, how many were looked at
        self._sealed: tuple[int, str] = (0, hashlib.sha256(CHAIN + b"the first entry").hexdigest())
        self._tried = 0
        self._begun: dict[tuple[str, str], int] = {}  #: the newest release, by channel and incident
        self.posts: dict[str, Row] = {}  #: as they stood when it last looked
        self._fares: dict[str, Row] = {}

    def faults(self, now: str, step: Step) -> list[str]:
        """What is wrong after a step, at the wall clock's `now`."""
        before, self.posts = self.posts, self._by("posts", "id")
        fares, self._fares = self._fares, self._by("channels", "name")
        self._releases = self._by("releases", "id")
        return [
            *self._approved_alone(), *self._once(), *self._begins(before), *self._nothing_lost(),
            *self._chain(), *self._visible(now, step), *self._true(),
            *self._apart(now, step, before, fares),
        ]  # fmt: skip

    def left_waiting(self) -> list[str]:
        """What waits though nothing has failed for long; once all was let go on."""
        return [
            f"I3: {row['channel']}'s post is {row['state']} and waits for nobody"
            for row in self.posts.values() if row["next_look"]
        ] + [
            "I3: a decision was never judged" for row in self._rows("decisions")
            if row["verdict"] == "approved" and not row["outcome"]
        ]  # fmt: skip

    # --- I1, I7: what is there was approved, word for word, for there, and in this world ---

    def _approved_alone(self) -> Iterator[str]:
        for channel, all_there in self._there.items():
            for there in all_there[self._seen[channel] :]:
                self._seen[channel] += 1
                if there.world != WORLD:
                    yield f"I7: {channel} has a post of the {there.world} world"
                post = self.posts.get(there.post_id)
                release = self._releases.get(post["release_id"]) if post else None
                if post is None or release is None:
                    yield f"I1: {channel} has a post of no release"
                    continue
                if not post["channel"] == channel == there.channel:
                    yield f"I1: {channel} has a post that was approved for {there.channel}"
                words = self._told.approved.get(release["revision_id"], {})
                if words.get(channel) != there.text:
                    yield f"I1: {channel} has other words than were approved for it"

    # --- I2: once ---

    def _once(self) -> Iterator[str]:
        for channel, all_there in self._there.items():
            most = 2 if channel in self._told.lively else 1
            for post_id, count in Counter(each.post_id for each in all_there).items():
                if count > most * (1 + self._told.sent_again[post_id]):
                    yield f"I2: {channel} has a post {count} times"

    # --- I1, I4: what is begun may be, and comes after what came before ---

    def _begins(self, before: Mapping[str, Row]) -> Iterator[str]:
        epochs = {row["name"]: row["epoch"] for row in self._rows("leases")}
        for row in self._rows("attempts WHERE rowid > ? ORDER BY rowid", [self._tried]):
            self._tried = row["rowid"]
            post = self.posts[row["post_id"]]
            release, known = self._releases[post["release_id"]], before.get(post["id"])
            channel = post["channel"]
            if row["lease_epoch"] != epochs[f"channel:{channel}"]:
                yield f"I2: {channel} was sent a post by who has its lease no more"
            if release["id"] in self._told.stopped:
                yield f"I1: {channel} was sent what was stopped"
            if row["started_at"] >= release["expires_at"]:
                yield f"I1: {channel} was sent what had expired"
            if known and known["replaced_by"]:
                yield f"I1: {channel} was sent what was replaced"
            if known and known["state"] not in TO_TRY:
                yield f"I2: {channel} was sent what was {known['state']}"
            place = (channel, post["incident_id"])
            newest = self._begun.get(place, 0)
            if release["rowid"] < newest:
                yield f"I4: {channel} was sent an older update after a newer one"
            self._begun[place] = max(newest, release["rowid"])

    # --- I3: nothing is lost ---

    def _nothing_lost(self) -> Iterator[str]:
        planned = defaultdict(set)
        for post in self.posts.values():
            planned[post["release_id"]].add(post["channel"])
            waits = post["next_look"] is not None
            asks = post["state"] in ("in doubt", "held") and post["why"]
            ended = post["state"] in (*UNSENT, "posted")
            if ended and waits:
                yield f"I3: {post['channel']}'s post is {post['state']}, and goes on"
            if not (ended or waits or asks):
                yield f"I3: {post['channel']}'s post is {post['state']}, and nobody looks at it"
        for report_id in self._told.reported - self._by("reports", "id").keys():
            yield f"I3: report {report_id} is not in the ledger"
        for decision in self._rows("decisions WHERE outcome IS NULL"):
            if decision["next_look"] is None:
                yield "I3: a decision waits for nothing"
        decided = {row["revision_id"] for row in self._rows(
            "approval_requests JOIN decisions ON request_id = approval_requests.id",
            columns="revision_id",
        )}  # fmt: skip
        for revision_id in self._told.approved.keys() - decided:
            yield f"I3: the approval of {revision_id} is not in the ledger"
        for release in self._releases.values():
            if planned[release["id"]] != self._told.approved[release["revision_id"]].keys():
                yield "I3: a release has other posts than were approved"

    # --- I5: the record ---

    def _chain(self) -> Iterator[str]:
        for row in self._rows(
            "seals LEFT JOIN entries ON entries.id = entry_id WHERE number > ? ORDER BY number",
            [self._sealed[0]], "number, previous_hash, hash, body",
        ):  # fmt: skip
            number, previous = self._sealed
            text = f"{previous}\0{number + 1}\0{row['body']}"
            digest = hashlib.sha256(CHAIN + text.encode()).hexdigest()
            if (row["number"], row["previous_hash"]) != (number + 1, previous):
                yield f"I5: entry {row['number']} does not follow"
            if digest != row["hash"]:
                yield f"I5: the hash of entry {row['number']} is another"
            self._sealed = (row["number"], row["hash"])

    # --- I6: what is under way can be seen to be ---

    def _visible(self, now: str, step: Step) -> Iterator[str]:
        still_open = defaultdict(list)
        for row in self._rows("attempts WHERE ended_at IS NULL"):
            still_open[row["post_id"]].append(row)
        for post in self.posts.values():
            attempts, channel = still_open[post["id"]], post["channel"]
            if post["state"] != "sending":
                if attempts:
                    yield f"I6: {channel}'s post is {post['state']} with an open attempt"
            elif [(row["number"], row["send_before"]) for row in attempts] != [
                (post["attempts"], post["next_look"])
            ]:
                yield f"I6: {channel}'s post is sending without its own open attempt"
            elif (
                post["next_look"] <= now
                and channel in step.settled
                and post["id"] not in step.noting
            ):
                yield f"I6: {channel}'s post stands as sending past its time"

    # --- what is said of a post is so ---

    def _true(self) -> Iterator[str]:
        for post in self.posts.values():
            channel = post["channel"]
            there = any(each.post_id == post["id"] for each in self._there[channel])
            if post["state"] == "posted" and not there and post["id"] not in self._told.seen_there:
                yield f"truth: {channel}'s post is posted, and is not there"
            if post["state"] in UNSENT and there and post["id"] not in self._told.denied:
                yield f"truth: {channel}'s post is {post['state']}, and is there"

    # --- I8: one channel is nothing to another ---

    def _apart(
        self, now: str, step: Step, before: Mapping[str, Row], fares: Mapping[str, Row]
    ) -> Iterator[str]:
        if step.channels is not None:
            for key, row in before.items():
                if row["channel"] not in step.channels and self.posts[key] != row:
                    yield f"I8: {row['channel']}'s post was moved by another channel"
            for key, row in fares.items():
                if key not in step.channels and self._fares[key] != row:
                    yield f"I8: {key} was moved by another channel"
        if not step.looked:
            return
        # Whoever looked has begun all that was due on channels that are well.
        stand = {row["name"].removeprefix("channel:"): row["epoch"] for row in self._rows("leases")}
        first: dict[tuple[str, str], Row] = {}
        for row in sorted(before.values(), key=lambda row: (row["released_at"], row["id"])):
            if row["state"] in (*TO_TRY, "sending"):
                first.setdefault((row["channel"], row["incident_id"]), row)
        for (channel, _), row in first.items():
            well = step.looked.get(channel) == stand[channel] and all(
                fare[channel]["failures"] < BREAKS and not fare[channel]["paused_by"]
                and (fare[channel]["again_at"] or "") <= now for fare in (fares, self._fares)
            )  # fmt: skip
            due = row["state"] in TO_TRY and row["next_look"] <= now
            if well and due and self.posts[row["id"]] == row:
                yield f"I8: {channel} is well, and what is due there was not begun"

    # --- how ---

    def _rows(
        self, what: str, given: Iterable[object] = (), columns: str = "rowid, *"
    ) -> list[Row]:
        cursor = self._ledger.execute(f"SELECT {columns} FROM {what}", tuple(given))
        names = [each[0] for each in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    def _by(self, table: str, key: str) -> dict[str, Row]:
        return {row[key]: row for row in self._rows(table)}
