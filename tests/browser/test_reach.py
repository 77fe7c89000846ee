"""How a person is called, in a real browser: the page on a phone, and a push that arrives."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

from playwright.async_api import expect

from broadcaster.calling import Means
from broadcaster.ledger import calls
from tests.browser.conftest import PHONE, Open
from tests.browser.stage import Stage

SUBSCRIPTION = {
    "endpoint": "https://fcm.googleapis.com/fcm/send/one",
    "keys": {"p256dh": "BA" + "A" * 85, "auth": "AAAAAAAAAAAAAAAAAAAAAA"},
}
#: No push service can be reached from here: this much of it answers, the rest is the browser's.
ANSWERS = f"""
PushManager.prototype.subscribe = async ({{ applicationServerKey }}) => {{
  if (!applicationServerKey) throw new Error("without a key nobody may push");
  return {json.dumps(SUBSCRIPTION)};
}};
"""
FAILS = "PushManager.prototype.subscribe = async () => { throw new Error('no service'); };"


async def test_a_phone_is_added_and_a_push_opens_what_waits(stage: Stage, open_as: Open) -> None:
    watch = stage.people["Lt J. Park"]
    page = await open_as("Lt J. Park", "/", viewport=PHONE)
    await page.context.grant_permissions(["notifications"])
    await page.add_init_script(ANSWERS)
    await page.goto("/me")
    assert await page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    await page.get_by_role("button", name="Let this device call me").click()
    await expect(page.locator("#reaches")).to_contain_text("Push to a browser of yours")
    [kept] = stage.read(lambda tx: calls.reaches_of(tx, watch.id))
    assert (kept.means, json.loads(kept.address)) == (Means.PUSH, SUBSCRIPTION)

    session = await page.context.new_cdp_session(page)
    found: list[str] = []
    session.on(
        "ServiceWorker.workerRegistrationUpdated",
        lambda told: found.extend(each["registrationId"] for each in told["registrations"]),
    )
    await session.send("ServiceWorker.enable")
    await page.evaluate("navigator.serviceWorker.ready.then(() => null)")
    url = f"{stage.address}/a/some-request"
    words = "EXERCISE: an update waits for your decision"
    origin = "{0.scheme}://{0.netloc}".format(urlsplit(stage.address))
    await session.send("ServiceWorker.deliverPushMessage", {
        "origin": origin, "registrationId": found[-1],
        "data": json.dumps({"world": "exercise", "call_id": "1", "words": words, "url": url}),
    })  # fmt: skip
    shown = await page.evaluate("""async () => {
        const worker = await navigator.serviceWorker.ready;
        for (;;) {
            const [one] = await worker.getNotifications();
            if (one) return [one.title, one.tag, one.data];
            await new Promise((then) => setTimeout(then, 20));
        }
    }""")
    assert shown == [words, url, "/a/some-request"], "the words and where it leads, no more"


async def test_a_push_service_that_does_not_answer_is_said(stage: Stage, open_as: Open) -> None:
    page = await open_as("Lt J. Park", "/", viewport=PHONE)
    await page.add_init_script(FAILS)
    await page.goto("/me")
    await page.get_by_role("button", name="Let this device call me").click()
    await expect(page.locator("#push [role=alert]")).to_contain_text("This device was not added")
    assert stage.read(lambda tx: calls.reaches_of(tx, stage.people["Lt J. Park"].id)) == []


async def test_a_number_is_added_without_javascript(stage: Stage, open_as: Open) -> None:
    page = await open_as("Lt J. Park", "/me", viewport=PHONE, java_script_enabled=False)
    await page.get_by_label("Telephone number").fill("760 555 0100")
    await page.get_by_role("button", name="Call me by SMS").click()
    await expect(page.get_by_role("alert")).to_contain_text("with the country's code")
    await page.get_by_label("Telephone number").fill("+1 760 555 0100")
    await page.get_by_role("button", name="Call me by SMS").click()
    await expect(page.locator("#reaches")).to_contain_text("SMS to +17605550100")
