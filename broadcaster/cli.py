"""The command line. Results for programs are JSON; everything else is for people."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import click

from broadcaster.errors import LedgerAway, Refusal
from broadcaster.parent import REFUSED, parent_command

#: Each command imports what it needs when it runs, so that `--help` answers at once.
Json = dict[str, Any]

#: As in `streams.run`, which is too much to load for a word.
STEPS = ("intake", "compile", "notify", "gate", "deliver")


def main() -> None:
    """The entry point of `broadcaster`."""
    try:
        cli(standalone_mode=False)
    except click.exceptions.Exit as leave:
        sys.exit(leave.exit_code)
    except click.Abort:
        sys.exit(130)
    except click.ClickException as wrong:
        wrong.show()
        sys.exit(wrong.exit_code)
    except Refusal as refusal:
        click.echo(refusal.in_words, err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="incident-alert-broadcaster")
def cli() -> None:
    """Incident alert broadcaster: what may be told to the public, approved word for word.

    All state lives in the folder BROADCASTER_HOME (default ~/.broadcaster).
    """


@cli.command()
@click.option("--child", is_flag=True, hidden=True)
@click.option("--tied", is_flag=True, hidden=True)
def up(child: bool, tied: bool) -> None:
    """Run everything on this machine: broker, ledger, desk and streams. Ctrl-C ends it.

    Where BROADCASTER_KAFKA names brokers, those are used and none is started.
    """
    if child:
        from broadcaster import bootstrap, system
        from broadcaster.log import configure
        from streams.broker import Broker

        settings = _settings()
        configure(settings.log_format, settings.log_level)
        broker = bootstrap.outside_broker(settings)
        if broker is None:  # then our parent started one
            broker = Broker(os.environ["BROADCASTER_BROKER"], embedded=True)
        try:
            system.run(settings, broker, system.ALL)
        except LedgerAway:
            raise  # it may come back: the parent starts us again
        except Refusal as refusal:
            click.echo(refusal.in_words, err=True)
            sys.exit(REFUSED)
        return
    from broadcaster.settings import make_home

    settings = _settings()
    make_home(settings)
    os.execv(sys.executable, parent_command(
        settings.folder, settings.broker_port, settings.broker_restart_mb,
        embedded=settings.kafka is None, tied=tied,
    ))  # fmt: skip


@cli.command()
def desk() -> None:
    """Run the desk alone, beside workers (PostgreSQL and Apache Kafka)."""
    _serve(None)


@cli.command()
@click.argument("step", type=click.Choice([*STEPS, "relay"]))
def worker(step: str) -> None:
    """Run one step of the flow, or the relay; as many of each as you like."""
    _serve(step)


def _serve(step: str | None) -> None:
    """One process of the production shape, until it is told to end."""
    from broadcaster import bootstrap, system
    from broadcaster.log import configure
    from broadcaster.settings import make_home

    settings = _settings()
    configure(settings.log_format, settings.log_level)
    broker = bootstrap.outside_broker(settings)
    if settings.ledger_url is None or (step and broker is None):
        raise Refusal(
            "not_production",
            "Several processes on one ledger need PostgreSQL, and workers need Apache Kafka; this "
            "one would be alone on SQLite.",
            "Set BROADCASTER_LEDGER_URL, for a worker BROADCASTER_KAFKA too, or use "
            "`broadcaster up`.",
        )
    if step in ("gate", "deliver") and settings.public_url is None:
        raise Refusal(
            "public_url_unset",
            "What is released names the address of the public page, and a worker cannot know where "
            "the desk is reached.",
            "Set BROADCASTER_PUBLIC_URL, as for the desk.",
        )
    make_home(settings)
    share = system.share_of(step) if step else system.Share(desk=True)
    system.run(settings, broker, share)


@cli.group()
def ledger() -> None:
    """The PostgreSQL ledger, for its owner."""


@ledger.command("apply")
@click.option("--desk-role", default="broadcaster_desk", show_default=True)
@click.option("--worker-role", default="broadcaster_worker", show_default=True)
def ledger_apply(desk_role: str, worker_role: str) -> None:
    """Make or migrate the tables, and give each role its rights. The roles must exist."""
    from broadcaster.ledger.owner import Roles, apply

    settings = _settings()
    if settings.ledger_address is None:
        raise Refusal("no_ledger_url", "No PostgreSQL ledger is set.",
                      "Set BROADCASTER_LEDGER_URL to the owner's.")  # fmt: skip
    roles = Roles(desk_role, worker_role)
    click.echo(f"tables {apply(settings.ledger_address, settings.world, roles)}")


@cli.group()
def topics() -> None:
    """The topics on Apache Kafka, by an account that may make them."""


@topics.command("apply")
@click.option("--channel", "added", multiple=True, help="One that is, or is to be, added by "
              "`broadcaster channel add`; may be repeated.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON line.")
def topics_apply(added: tuple[str, ...], as_json: bool) -> None:
    """Make the topics that are missing, and grow those that are too small; shrink none.

    Those of added channels too, where they are named: their list is in the ledger.

    Exit 1 where one is larger than it should be: it is left as it is, and named with what to do.
    """
    from broadcaster import bootstrap

    applied = asyncio.run(bootstrap.apply_topics(_settings(), added))
    if as_json:
        click.echo(json.dumps([vars(each) for each in applied]))
    else:
        for each in applied:
            click.echo(f"{each.did:>8}  {each.topic}: {each.told}")
    sys.exit(1 if any(each.did == "refused" for each in applied) else 0)


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--map", "map_", required=True, help="A vendor's map by name, or a TOML file.")
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON line.")
def replay(file: Path, map_: str, as_json: bool) -> None:
    """Take in a vendor's CSV export (exercise world alone)."""
    arguments = {"file": str(file.absolute()), "map": _map(map_)}
    result = _run("replay", arguments, _progress("replayed"), with_streams=True)
    _show(result, as_json)


def _map(name: str) -> str:
    return str(Path(name).absolute()) if name.endswith(".toml") else name


@cli.command()
@click.option("--type", "type_", required=True, help="EIDO incident type, as GASLEAK.")
@click.option(
    "--place", default="", help='Block, crossing or street: "66000 block of Pierson Blvd".'
)
@click.option("--status", default="Active", help="EIDO incident status.")
@click.option("--number", help="The number of an incident that is known already.")
def report(type_: str, place: str, status: str, number: str | None) -> None:
    """Enter a report by hand."""
    arguments = {"type": type_, "place": place, "status": status, "number": number}
    _show(_run("report", arguments), as_json=True)


@cli.command("push-key")
def push_key() -> None:
    """Make a key for BROADCASTER_CALLS: it signs what goes to the phones' push services."""
    from adapters.call_push import new_key

    click.echo(new_key())


@cli.group()
def roster() -> None:
    """Who may do what."""


_ROLES = click.option(
    "--role",
    "roles",
    multiple=True,
    required=True,
    help="pio, commander, watch-commander, supervisor, chief, staff or records; may be repeated.",
)


@roster.command("add")
@click.argument("name")
@_ROLES
def roster_add(name: str, roles: tuple[str, ...]) -> None:
    """Put a person on the roster and print a one-time sign-in link (24 h)."""
    result = _run("roster_add", {"name": name, "roles": list(roles)})
    _show_link(result["link"])


@roster.command("link")
@click.argument("name")
def roster_link(name: str) -> None:
    """Print a new one-time sign-in link for somebody on the roster."""
    _show_link(_run("roster_link", {"name": name})["link"])


def _show_link(link: str) -> None:
    """The link; in a terminal as a QR code, too, for the phone that is held before it."""
    import segno

    click.echo(link)
    if sys.stdout.isatty():
        segno.make(link, error="m", micro=False).terminal(compact=True)


@roster.command("reach")
@click.argument("name")
@click.argument("means", type=click.Choice(["SMS", "mail", "webhook"], case_sensitive=False))
@click.argument("address")
def roster_reach(name: str, means: str, address: str) -> None:
    """Have somebody on the roster called at ADDRESS when an update waits for them."""
    _run("roster_reach", {"name": name, "means": means, "address": address})
    click.echo(f"{name} is called by {means}.")


_BY = click.option("--by", required=True, help="Whose word it is: a name on the roster.")
_CONTENT = click.option(
    "--content", "contents", multiple=True, help="incident or routine; may be repeated."
)


@roster.command("role")
@click.argument("name")
@_ROLES
@_BY
def roster_role(name: str, roles: tuple[str, ...], by: str) -> None:
    """Give somebody these roles in place of theirs, by the word of the Chief or designee (389.3).

    Whoever was taken off the roster is put back by it; `roster link` makes their new link.
    """
    result = _run("roster_role", {"name": name, "roles": list(roles), "by": by})
    click.echo(f"{name} is now: {', '.join(roles)}.")
    _show_gone(name, result)


@roster.command("remove")
@click.argument("name")
@_BY
def roster_remove(name: str, by: str) -> None:
    """Take somebody off the roster, by the word of the Chief or designee (389.3).

    Their name stays on the record. Sessions, devices, links, addresses, authority and offices end
    at once.
    """
    result = _run("roster_remove", {"name": name, "by": by})
    click.echo(f"{name} is off the roster.")
    _show_gone(name, result)


def _show_gone(name: str, gone: dict[str, Any]) -> None:
    """What somebody leaves behind, for whoever must see to it."""
    for number in gone["commanded"]:
        click.echo(f"{name} commanded incident {number}, and does not any more: where nobody else "
                   "does, the Watch Commander is asked.")  # fmt: skip
    for device in gone["approved"]:
        click.echo(f"{name} had approved the {device}: it is to be approved again (/people).")


@roster.command("grant")
@click.argument("name")
@_CONTENT
@click.option("--until", help="Its end, as 2027-01-31; without it: until it is revoked.")
@_BY
def roster_grant(name: str, contents: tuple[str, ...], until: str | None, by: str) -> None:
    """Authorize a member to post, by the word of the Chief or designee (389.3)."""
    _run("roster_grant", {"name": name, "contents": list(contents), "until": until, "by": by})
    click.echo(f"{name} may post: {', '.join(contents)}.")


@roster.command("revoke")
@click.argument("name")
@_CONTENT
@_BY
def roster_revoke(name: str, contents: tuple[str, ...], by: str) -> None:
    """Take a member's authority to post back; all of it where no content is named."""
    _run("roster_revoke", {"name": name, "contents": list(contents), "by": by})
    click.echo(f"{name} may no longer post: {', '.join(contents) or 'anything'}.")


@roster.command("train")
@click.argument("name")
@click.option(
    "--subject", "subjects", multiple=True,
    help="legal issues, privacy, civil rights, dissemination or retention; may be repeated. "
    "Without it: all five.",
)  # fmt: skip
@click.option("--given", help="The day of it, as 2026-01-31; without it: today.")
@click.option("--expires", help="Until when it counts; without it: a year.")
@_BY
def roster_train(
    name: str, subjects: tuple[str, ...], given: str | None, expires: str | None, by: str
) -> None:
    """Record that a member was trained (389.8)."""
    _run("roster_train", {"name": name, "subjects": list(subjects), "given": given,
                          "expires": expires, "by": by})  # fmt: skip
    click.echo(f"Training of {name} is recorded.")


@roster.command("except")
@click.argument("name")
@click.argument("matter", metavar="equipment|'duty hours'")
@click.option("--reason", required=True, help="Why it is needed.")
@click.option("--until", required=True, help="Its end, as 2026-01-31T18:00; a week at most.")
@_BY
def roster_except(name: str, matter: str, reason: str, until: str, by: str) -> None:
    """Note a supervisor's leave from approved equipment or duty hours (389.3)."""
    _run("roster_except", {"name": name, "matter": matter, "reason": reason, "until": until,
                           "by": by})  # fmt: skip
    click.echo(f"{name} is excepted from {matter} until {until}.")


@roster.command("duty-chief")
@click.argument("name")
@click.option("--reason", required=True, help="Why, as: on duty this week.")
@click.option("--until", required=True, help="Its end, as 2026-01-31T18:00; a week at most.")
@_BY
def roster_duty_chief(name: str, reason: str, until: str, by: str) -> None:
    """Name a Commander the duty chief, by the Chief's word: called with the Watch Commander, and
    takes or moves command as they may. In production it runs where the gate does."""
    _run("roster_duty_chief", {"name": name, "reason": reason, "until": until, "by": by})
    click.echo(f"{name} is duty chief until {until}.")


@roster.command("duty-chief-end")
@click.argument("name")
@_BY
def roster_duty_chief_end(name: str, by: str) -> None:
    """End it early; command that was taken stays."""
    _run("roster_duty_chief_end", {"name": name, "by": by})
    click.echo(f"{name} is no longer duty chief.")


@roster.command("fallback")
@click.argument("name")
@click.option("--reason", required=True, help="Why they have no passkey.")
@click.option("--until", required=True, help="Its end, as 2026-01-31T18:00; 30 days at most.")
@click.option("--pin", prompt="A PIN, typed by whom it is for", hide_input=True,
              confirmation_prompt=True, help="Asked for where it is not given.")  # fmt: skip
@_BY
def roster_fallback(name: str, reason: str, until: str, pin: str, by: str) -> None:
    """Let NAME decide with PIN and code instead of a passkey, by the word of the Chief or designee.

    NAME sits at the keyboard for the PIN. What is printed then is for their authenticator app, and
    is shown once. In production it runs where the gate does.
    """
    made = _run("roster_fallback", {"name": name, "pin": pin, "reason": reason, "until": until,
                                    "by": by})  # fmt: skip
    click.echo(made["app"])


@roster.command("fallback-end")
@click.argument("name")
@_BY
def roster_fallback_end(name: str, by: str) -> None:
    """Let NAME no longer decide with PIN and code."""
    _run("roster_fallback_end", {"name": name, "by": by})
    click.echo("It is ended.")


@roster.command("guideline")
@click.argument("topic")
@click.option("--member", "members", multiple=True, help="Who may: a name; may be repeated.")
@click.option("--role", "roles", multiple=True, help="Or everybody of a role; may be repeated.")
@click.option("--channel", "channels", multiple=True, required=True, help="Where; may be repeated.")
@click.option("--until", required=True, help="Its end, as 2027-01-31.")
@click.option("--text", required=True, help="What may be posted, as the Chief wrote it.")
@_BY
def roster_guideline(
    topic: str, members: tuple[str, ...], roles: tuple[str, ...], channels: tuple[str, ...],
    until: str, text: str, by: str,
) -> None:  # fmt: skip
    """Write a guideline of the Chief's: notices on TOPIC are released on its word (389.3, 389.4).

    TOPIC is one of: announcement, crime prevention, request for information, community project,
    safety information, traffic information, press release, recruitment. In production it runs
    where the gate does: the desk's database role can only end one.
    """
    made = _run("roster_guideline", {
        "topic": topic, "members": list(members), "roles": list(roles),
        "channels": list(channels), "until": until, "text": text, "by": by,
    })  # fmt: skip
    click.echo(made["guideline"])


@roster.command("guideline-end")
@click.argument("id")
@_BY
def roster_guideline_end(id: str, by: str) -> None:
    """End a guideline of the Chief's; what was released by it stays."""
    _run("roster_guideline_end", {"id": id, "by": by})
    click.echo("It is ended.")


@roster.command("list")
@click.option("--json", "as_json", is_flag=True)
def roster_list(as_json: bool) -> None:
    """Show the roster: who may do what, by which authority, how trained, and what they may approve.

    The JSON says each act, its clause, and why it is refused where it is.
    """
    listed = _run("roster_list", {})
    people = listed["people"]
    if as_json:
        click.echo(json.dumps(people))
        return
    for person in people:
        if person["left"]:
            click.echo(f"{person['name']}  (off the roster since {person['left']})")
            continue
        click.echo(f"{person['name']}  ({', '.join(person['roles'])})")
        for held in person["authority"]:
            until = held["until"] or "revoked"
            click.echo(f"    may post {held['content']} until {until}, by {held['granted_by']}")
        for act in person["may"]:
            if not act["now"]:
                click.echo(f"    may not {act['act']} now: {act['why']}")
        if allowed := person["fallback"]:
            click.echo(f"    may decide with PIN and code until {allowed['until']}, by "
                       f"{allowed['granted_by']}: {allowed['reason']}")  # fmt: skip
        for given in person["exceptions"]:
            click.echo(f"    excepted from {given['matter']} until {given['until']}, by "
                       f"{given['granted_by']}: {given['reason']}")  # fmt: skip
        for request in person["could_approve"]:
            click.echo(f"    could approve update #{request['number']}: {request['request_id']}")
    for kept in listed["guidelines"]:
        click.echo(f"Guideline {kept['id']}: {kept['topic']} ({kept['clause']}) on "
                   f"{', '.join(kept['channels'])} until {kept['until']}, by "
                   f"{kept['granted_by']}: {kept['text']}")  # fmt: skip


@cli.command()
@click.argument("id")
@click.option("--json", "as_json", is_flag=True)
def explain(id: str, as_json: bool) -> None:
    """Say why an update was or was not released, clause by clause.

    ID is an update's, a revision's, an approval request's or a release's.
    """
    told = _run("explain", {"id": id})
    if as_json:
        click.echo(json.dumps(told))
        return
    click.echo(f"{told['kind'].capitalize()} #{told['number']}, words #{told['code']}: "
               f"{told['state']}. {told['because']}")  # fmt: skip
    for each in told["clauses"]:
        mark = {True: "yes", False: "NO", None: "-"}[each["holds"]]
        click.echo(f"  {each['clause']:<8} {mark:<4} {each['what']}. {each['why']}")
    if told["newest_revision_id"] != told["revision_id"]:
        click.echo(f"A newer wording exists: {told['newest_revision_id']}")


@cli.command()
@click.argument("post_id", required=False)
@click.option("--json", "as_json", is_flag=True)
def deliveries(post_id: str | None, as_json: bool) -> None:
    """Show how the channels fare and what has not ended well, or all that is known of a post."""
    told = _run("delivery" if post_id else "deliveries", {"id": post_id} if post_id else {})
    if as_json:
        click.echo(json.dumps(told))
    elif post_id:
        click.echo(f"{told['channel']}: {told['state']} since {told['since']}. {told['why'] or ''}")
        for each in told["attempts"]:
            click.echo(f"  {each['number']}. {each['started_at']}: {each['outcome'] or 'open'}. "
                       f"{each['why'] or ''}")  # fmt: skip
    else:
        for each in told["channels"]:
            oldest = f" since {each['oldest']}" if each["oldest"] else ""
            click.echo(f"{each['name']}: {each['standing']}. {each['waiting']} waiting{oldest}, "
                       f"{each['in_doubt']} in doubt, {each['posted']} posted, last proof "
                       f"{each['proved_at'] or 'never'}{_pace_and_credential(each)}")  # fmt: skip
        for each in told["posts"]:
            click.echo(f"  {each['id']}  {each['channel']}: {each['state']} since {each['since']}. "
                       f"{each['why'] or ''}")  # fmt: skip


def _pace_and_credential(told: dict[str, Any]) -> str:
    credential = told["credential"]
    words = [f"takes {told['pace']} a minute"] if told["pace"] else []
    if not credential["known_there"]:
        words.append("does not know our credential")
    if credential["ends"]:
        words.append(f"credential good until {credential['ends']}"
                     + (": get a new one" if credential["ends_soon"] else ""))  # fmt: skip
    return "".join(f", {each}" for each in words)


@cli.group()
def channel() -> None:
    """The channels: add, test, change or remove one; leave one alone, or let it go on."""


_EXPIRES = click.option("--expires", metavar="DAY", help="The credential's last day, if known: "
                        "you are told 30, 7 and 1 days before.")  # fmt: skip
_MEMBERS = click.argument("members", metavar="[MEMBER=VALUE]...", nargs=-1)
_FROM = click.option("--from", "source", type=click.File(), help="A JSON object with all members, "
                     "secrets too: a file, or - for standard input.")  # fmt: skip


@channel.command("add")
@click.argument("kind")
@click.argument("name")
@_MEMBERS
@_FROM
@_EXPIRES
@_BY
def channel_add(
    kind: str, name: str, members: tuple[str, ...], source: Any, expires: str | None, by: str
) -> None:
    """Have updates posted by an account of KIND, under NAME, from now on.

    KIND: webhook, matrix, mastodon, bluesky, wordpress, x, mail or ntfy. What is not given as
    MEMBER=VALUE is asked for; secrets always, and they are shown nowhere again. They stand in the
    ledger, sealed with BROADCASTER_ACCOUNTS_KEY. In production it runs where deliver does:
    `docker compose exec deliver broadcaster channel add …`. Desk and streams start again with it,
    which takes seconds and loses nothing.
    """
    from broadcaster import accounts, asking

    for each in accounts.of_kind(kind).checklist:
        click.echo(f"  - {each}", err=True)
    if source:
        account = _read_json(source)
    else:
        account = asking.for_the_rest(kind, asking.given(kind, members))
    account |= {"kind": kind, "name": name}
    accounts.read(account)  # a mistake is told before anything else is asked
    made = _run("channel_add", {"account": account, "expires": expires, "by": by})
    click.echo(f"{name} is added. In an exercise, `broadcaster channel test {name}` tries it.")
    if made["replies"] in ("by hand", "open"):
        click.echo("The public can answer there, so nothing is posted before the Chief decides: "
                   f"`broadcaster channel allow-replies {name}` (389.5.1).")  # fmt: skip


@channel.command("change")
@click.argument("name")
@_MEMBERS
@_FROM
@_EXPIRES
@click.option("--no-expiry", is_flag=True, help="It has no last day, or nobody knows it.")
@_BY
def channel_change(
    name: str, members: tuple[str, ...], source: Any, expires: str | None, no_expiry: bool, by: str
) -> None:
    """Give a channel that was added another credential. It is used at once.

    Where it posts stays as it is: another place is another channel. When the new one ends is said
    each time: --expires, or --no-expiry.
    """
    from broadcaster import asking, channel_accounts

    if no_expiry == bool(expires):
        raise click.UsageError("Say when the new credential ends: --expires DAY, or --no-expiry.")
    kept = {each["name"]: each for each in _run("channel_list", {})["channels"]}
    if not kept.get(name, {}).get("added"):
        raise channel_accounts.unknown(name)
    kind = kept[name]["kind"]
    if source:
        found = _read_json(source)
    else:
        found = {**asking.given(kind, members), **asking.for_secrets(kind)}
    _run("channel_change", {"name": name, "given": found, "expires": expires, "by": by})
    click.echo(f"{name} has another credential.")


@channel.command("remove")
@click.argument("name")
@_BY
def channel_remove(name: str, by: str) -> None:
    """Post nothing on a channel that was added any more, and forget its account.

    What waits for it is held, and what is there stays there.
    """
    _run("channel_remove", {"name": name, "by": by})
    click.echo(f"{name} is removed.")


@channel.command("test")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True)
def channel_test(name: str, as_json: bool) -> None:
    """Post a test, read it, take it back, and say what came of it. In an exercise alone."""
    told = _run("channel_test", {"name": name})
    _show(told, as_json)
    sys.exit(0 if told["sent"] == "posted" else 1)


@channel.command("list")
@click.option("--json", "as_json", is_flag=True)
def channel_list(as_json: bool) -> None:
    """Show the channels, and who added which."""
    listed = _run("channel_list", {})["channels"]
    if as_json:
        click.echo(json.dumps(listed))
        return
    for each in listed:
        click.echo(f"{each['name']}  {each['title']} ({each['kind']}, class {each['class']}, "
                   f"replies: {each['replies']})")  # fmt: skip
        if added := each["added"]:
            click.echo(f"    added {added['at'][:10]} by {added['by']}")
        if each["expires"]:
            click.echo(f"    its credential is good until {each['expires']}")


@channel.command("key")
def channel_key() -> None:
    """Make a key for BROADCASTER_ACCOUNTS_KEY."""
    from broadcaster.sealing import new_key

    click.echo(new_key())


@channel.command("reseal")
def channel_reseal() -> None:
    """Seal all accounts with the newest key, so that the older one can be taken out."""
    _show(_run("channel_reseal", {}), as_json=True)


@channel.command("pause")
@click.argument("name")
@click.option("--why", required=True, help="For whoever reads the channels' page.")
@click.option("--drain", is_flag=True, help="Return once nothing is being sent there any more.")
def channel_pause(name: str, why: str, drain: bool) -> None:
    """Send nothing on a channel from now on; what is being sent ends by itself."""
    _show(_run("channel_pause", {"name": name, "why": why, "drain": drain}), as_json=True)


@channel.command("resume")
@click.argument("name")
def channel_resume(name: str) -> None:
    """Let a channel go on at once, whatever kept it back."""
    _show(_run("channel_resume", {"name": name}), as_json=True)


@channel.command("send-again")
@click.argument("name")
@click.option("--off", is_flag=True)
def channel_send_again(name: str, off: bool) -> None:
    """Have a channel that nobody can ask send again, after a minute, what is in doubt about an
    incident of which the public is told at once. It may then be there twice: the Chief's
    designee decides that."""
    _show(_run("channel_send_again", {"name": name, "on": not off}), as_json=True)


@channel.command("allow-replies")
@click.argument("name")
@click.option("--reason", required=True, help="For the record.")
@click.option("--until", required=True, metavar="DAY", help="Within a year; it can be made again.")
@click.option("--by", required=True, metavar="CHIEF")
def channel_allow_replies(name: str, reason: str, until: str, by: str) -> None:
    """Use a channel on which the public can answer, by the Chief's word (389.5.1)."""
    order = {"name": name, "reason": reason, "until": until, "by": by}
    _show(_run("channel_allow_replies", order), as_json=True)


@channel.command("forbid-replies")
@click.argument("name")
@click.option("--by", required=True, metavar="CHIEF")
def channel_forbid_replies(name: str, by: str) -> None:
    """Use it no more."""
    _show(_run("channel_forbid_replies", {"name": name, "by": by}), as_json=True)


@cli.command("send-again")
@click.argument("post_id")
@click.argument("attempt", type=int)
def send_again(post_id: str, attempt: int) -> None:
    """Send one post again that is refused, held or in doubt; ATTEMPT is the newest that you saw."""
    _show(_run("post_send_again", {"id": post_id, "attempt": attempt}), as_json=True)


@cli.group()
def problems() -> None:
    """What came in wrong."""


@problems.command("list")
@click.option("--all", "all_", is_flag=True, help="Those that are settled, too.")
@click.option("--json", "as_json", is_flag=True)
def problems_list(all_: bool, as_json: bool) -> None:
    """Show what came in wrong, newest first."""
    listed = _run("problems_list", {"all": all_})["problems"]
    if as_json:
        click.echo(json.dumps(listed))
        return
    for problem in listed:
        place = problem["place"]
        where = [place["source"]]
        if place["topic"]:
            where.append(
                f"{place['topic']} partition {place['partition']} offset {place['offset']}"
            )
        if place["line"]:
            where.append(f"line {place['line']}")
        field = f" ({problem['field']})" if problem["field"] else ""
        click.echo(f"{problem['id']}  {problem['at']}  {', '.join(where)}  {problem['state']}")
        click.echo(f"    {problem['code']}{field}: {problem['why']} {problem['do']}")
    if not listed:
        click.echo("Nothing came in wrong.")


@problems.command("retry")
@click.argument("number", type=int)
def problems_retry(number: int) -> None:
    """Read the message again, while the broker has it, and take it in."""
    _show(_run("problems_retry", {"number": number}), as_json=True)


@problems.command("drop")
@click.argument("number", type=int)
def problems_drop(number: int) -> None:
    """End a problem that needs nothing more."""
    _show(_run("problems_drop", {"number": number}), as_json=True)


@cli.command()
@click.option("--json", "as_json", is_flag=True)
def verify(as_json: bool) -> None:
    """Walk the record's chain; exit 1 and name the first entry that does not fit."""
    result = _run("verify", {})
    if as_json:
        click.echo(json.dumps(result))
    elif result["ok"]:
        anchor = result["anchor"]
        against = f", equal to the anchor at entry {anchor['number']}" if anchor else ""
        click.echo(f"The record is whole: {result['entries']} entries, head "
                   f"{result['head'][:12]}{against}.")  # fmt: skip
        if result["unsealed"]:
            click.echo(f"{result['unsealed']} entries since {result['unsealed_since']} are not "
                       "sealed yet; `broadcaster worker relay` does it.")  # fmt: skip
    else:
        click.echo(f"The record does not verify: {result['fault']}.", err=True)
    sys.exit(0 if result["ok"] else 1)


@cli.command()
@click.option("--json", "as_json", is_flag=True)
def doctor(as_json: bool) -> None:
    """Check this installation and say what to mend."""
    from broadcaster import doctor as checks

    findings = asyncio.run(checks.examine(_settings()))
    if as_json:
        click.echo(json.dumps([vars(each) for each in findings]))
    else:
        for each in findings:
            click.echo(f"{'ok  ' if each.ok else 'MEND'}  {each.what}: {each.told}")
    sys.exit(0 if all(each.ok for each in findings) else 1)


@cli.command()
@click.option("--once", is_flag=True, help="Play the sample without a person, then end.")
@click.option("--json", "as_json", is_flag=True, help="Last line: the figures as JSON.")
def demo(once: bool, as_json: bool) -> None:
    """The practice run: a sample incident goes from CAD to the public, then waits for you."""
    from broadcaster import demo as practice

    sys.exit(asyncio.run(practice.play(_settings(), once=once, as_json=as_json)))


def _settings() -> Any:
    from pydantic import ValidationError

    from broadcaster import settings

    try:
        return settings.load()
    except ValidationError as wrong:
        first = wrong.errors(include_url=False, include_input=False)[0]
        name = "BROADCASTER_" + "__".join(str(part) for part in first["loc"]).upper()
        raise Refusal(
            "setting_invalid", f"The setting {name} cannot be used: {first['msg']}.",
            "Mend it in the environment or in settings.env; the README lists the settings.",
            field=name,
        ) from None  # fmt: skip


def _run(
    name: str, arguments: Json, say: Callable[[Json], Awaitable[None]] | None = None, *,
    with_streams: bool = False,
) -> Json:  # fmt: skip
    """Runs a command where the ledger is open: in the running process, else here."""
    from broadcaster import control, here
    from broadcaster.commands import unheard
    from broadcaster.log import configure

    settings = _settings()
    configure(settings.log_format, "warning")

    async def go() -> Json:
        if control.is_listening(settings.socket_path):
            return await control.ask(settings.socket_path, name, arguments, say or unheard)
        if with_streams and settings.ledger_url is None:
            async with here.running(settings):
                return await control.ask(settings.socket_path, name, arguments, say or unheard)
        return await here.alone(settings, name, arguments, say or unheard)

    return asyncio.run(go())


def _read_json(source: Any) -> Json:
    try:
        found = json.load(source)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Refusal("account_unreadable", f"{source.name} holds no JSON object.",
                      'Write it as {"title": "…", "url": "…"}.')  # fmt: skip
    return found


def _progress(what: str) -> Callable[[Json], Awaitable[None]]:
    """Shows on one line of a terminal how far a command is."""

    async def say(line: Json) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r\033[K{json.dumps(line.get(what) or line)}", nl=False, err=True)

    return say


def _show(result: Json, as_json: bool) -> None:
    if sys.stderr.isatty():
        click.echo("\r\033[K", nl=False, err=True)
    if as_json:
        click.echo(json.dumps(result))
        return
    for name, value in result.items():
        click.echo(f"{name.replace('_', ' '):>16}  {value}")


if __name__ == "__main__":
    main()
