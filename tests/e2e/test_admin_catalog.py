"""Staff keep the catalog in a real browser, and patients see it at once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import requests
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from playwright.sync_api import Browser, Page, expect, sync_playwright

from booking_service.devstack.servers import HOST, free_port

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "a-long-staff-password"
STAFF = {"asha": "Catalog editors", "ben": "Catalog editors", "ravi": "Read only"}
READY_SECONDS = 30
# A quiet browser: nothing is fetched that the page does not ask for.
BROWSER_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture
def site(process_environment: dict[str, str]) -> Iterator[str]:
    """A web process on this test's database, with the seed in the catalog and three members of staff."""
    call_command("seed_catalog", stdout=StringIO())
    for name, group in STAFF.items():
        User.objects.create_user(name, password=PASSWORD, is_staff=True).groups.add(Group.objects.get(name=group))
    url = f"http://{HOST}:{(port := free_port())}"
    environment = {**process_environment, "PORT": str(port), "WEB_CONCURRENCY": "1"}
    command = [sys.executable, "-m", "gunicorn", "--config", "gunicorn.conf.py"]
    web = subprocess.Popen(command, cwd=ROOT, env=environment)
    try:
        wait_until_ready(url)
        yield url
    finally:
        web.terminate()
        web.wait(READY_SECONDS)


def wait_until_ready(url: str) -> None:
    give_up_at = time.monotonic() + READY_SECONDS
    while time.monotonic() < give_up_at:
        try:
            if requests.get(f"{url}/health/live", timeout=2).ok:
                return
        except requests.RequestException:
            time.sleep(0.1)
    pytest.fail("the web process did not start")


@pytest.fixture
def browser() -> Iterator[Browser]:
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        # Without a browser on the PATH, the one that `playwright install chromium` put there.
        started = playwright.chromium.launch(executable_path=chromium, args=BROWSER_OPTIONS)
        yield started
        started.close()


def signed_in(browser: Browser, site: str, name: str) -> Page:
    page = browser.new_context(viewport={"width": 1400, "height": 1000}).new_page()
    page.goto(f"{site}/admin/")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_text(name).first).to_be_visible()
    return page


def picture(page: Page, name: str) -> None:
    """Keep a screenshot where SCREENSHOTS says, for people to look at."""
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def add_row(page: Page, rows: str, number: int, **values: str) -> None:
    page.locator(f"#{rows}-group").get_by_role("link", name="Add another").click()
    for name, value in values.items():
        page.locator(f"#id_{rows}-{number}-{name}").fill(value)


def service(site: str, key: str) -> requests.Response:
    return requests.get(f"{site}/api/services/{key}", timeout=5)


def test_it_takes_a_service_from_the_form_to_patients_and_back(site: str, browser: Browser) -> None:
    page = signed_in(browser, site, "asha")
    assert service(site, "night-nursing").status_code == 404

    page.goto(f"{site}/admin/catalog/service/add/")
    fill_in_night_nursing(page)
    preview = page.locator("#price-preview")
    expect(preview).to_contain_text("₹ 2,442.60")  # 1200 x 1.5, with fee and GST
    picture(page, "service-add")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("was added successfully")).to_be_visible()

    shown = service(site, "night-nursing").json()["data"]
    assert shown["pricing"]["surgePricing"]["surgeHours"] == [
        {"start": "22:00", "end": "02:00"},
        {"start": "02:00", "end": "06:00"},
    ]
    assert [faq["question"] for faq in shown["faqs"]] == ["Who comes?", "When?", "How long?"]
    assert shown["availability"]["availableCities"] == ["Pune"]

    deactivate(page, site, "Night nursing")
    assert service(site, "night-nursing").status_code == 404


def fill_in_night_nursing(page: Page) -> None:
    page.get_by_label("Name*").fill("Night nursing")
    page.get_by_label("Code*").fill("NIGHT_NURSING")
    expect(page.get_by_label("Address*")).to_have_value("night-nursing")
    page.locator("#id_base_price").fill("1200")
    page.locator("#id_surge_multiplier").fill("1.5")
    page.locator("#id_surge_enabled").check(force=True)
    add_row(page, "surge", 0, start="22:00", end="02:00")
    add_row(page, "surge", 1, start="02:00", end="06:00")
    add_row(page, "cities", 0, name="Pune")
    for number, question in enumerate(("Who comes?", "When?", "How long?")):
        add_row(page, "faqs", number, question=question, answer="Ask us.")


def deactivate(page: Page, site: str, name: str) -> None:
    page.goto(f"{site}/admin/catalog/service/?q=night+nursing")
    row = page.get_by_role("row").filter(has_text=name)
    row.locator("input.action-select").check()
    page.locator("select[name=action]").select_option("deactivate")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_text("1 deactivated")).to_be_visible()


def questions(page: Page) -> list[str]:
    """What the rows of questions ask, in the order in which they would be posted."""
    fields = page.locator("#faqs-group tbody.form-group:not(.empty-form) input[type=text]")
    by_name = {str(field.get_attribute("name")): field.input_value() for field in fields.all()}
    return [by_name[f"faqs-{number}-question"] for number in range(len(by_name))]


def test_it_lets_staff_order_rows_by_mouse_and_by_keys(site: str, browser: Browser) -> None:
    page = signed_in(browser, site, "asha")
    page.goto(f"{site}/admin/catalog/service/?q=iv+drip")
    page.get_by_role("link", name="IV drip").first.click()
    handles = page.locator("#faqs-group .row-handle:visible")
    expect(handles).to_have_count(3)
    first, second, third = questions(page)

    handles.nth(2).drag_to(handles.nth(0), target_position={"x": 5, "y": 2})
    assert questions(page) == [third, first, second]
    handles.nth(0).press("ArrowDown")
    assert questions(page) == [first, third, second]
    add_row(page, "faqs", 3, question="New?", answer="Yes.")
    handles.nth(3).press("ArrowUp")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("was changed successfully")).to_be_visible()

    faqs = service(site, "iv-drip").json()["data"]["faqs"]
    assert [faq["question"] for faq in faqs] == [first, third, "New?", second]


def test_it_copies_a_service_once_staff_say_so(site: str, browser: Browser) -> None:
    page = signed_in(browser, site, "asha")
    page.goto(f"{site}/admin/catalog/service/?q=iv+drip")
    page.get_by_role("link", name="IV drip").first.click()

    page.get_by_role("link", name="Copy", exact=False).first.click()
    expect(page.get_by_text("under a name of its own")).to_be_visible()
    picture(page, "service-copy")
    page.get_by_role("button", name="Copy", exact=True).click()

    expect(page.get_by_text("This is the copy. It is not active yet.")).to_be_visible()
    expect(page.get_by_label("Code*")).to_have_value("IV_DRIP_COPY")
    assert service(site, "iv-drip-copy").status_code == 404
    page.goto(f"{site}/admin/catalog/servicechange/")
    picture(page, "service-changes")


def test_it_tells_the_second_of_two_editors_what_happened(site: str, browser: Browser) -> None:
    pages = [signed_in(browser, site, name) for name in ("asha", "ben")]
    for page in pages:
        page.goto(f"{site}/admin/catalog/service/?q=catheter")
        page.get_by_role("link", name="Catheter care").click()
    for page, price in zip(pages, ("950", "975"), strict=True):
        page.locator("#id_base_price").fill(price)

    pages[0].get_by_role("button", name="Save", exact=True).click()
    expect(pages[0].get_by_text("was changed successfully")).to_be_visible()
    pages[1].get_by_role("button", name="Save", exact=True).click()

    expect(pages[1].get_by_text("asha saved this service")).to_be_visible()
    expect(pages[1].locator("#id_base_price")).to_have_value("975")
    picture(pages[1], "service-conflict")
    assert service(site, "catheter-care").json()["data"]["pricing"]["basePrice"] == 950


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"base_price": "0"}, "The price must be more than nothing."),
        ({"category": "PACKAGE"}, "A package needs its number of sessions."),
    ],
)
def test_it_says_what_is_wrong_at_the_field(site: str, browser: Browser, broken: dict[str, Any], message: str) -> None:
    page = signed_in(browser, site, "asha")
    page.goto(f"{site}/admin/catalog/service/?q=catheter")
    page.get_by_role("link", name="Catheter care").click()
    for name, value in broken.items():
        field = page.locator(f"#id_{name}")
        field.select_option(value) if name == "category" else field.fill(value)

    page.get_by_role("button", name="Save", exact=True).click()

    expect(page.get_by_text(message)).to_be_visible()
    picture(page, "service-error")
    assert service(site, "catheter-care").json()["data"]["pricing"]["basePrice"] == 899


def test_it_shows_everything_and_changes_nothing_for_those_who_may_only_read(site: str, browser: Browser) -> None:
    page = signed_in(browser, site, "ravi")
    page.goto(f"{site}/admin/catalog/service/?q=catheter")
    page.get_by_role("link", name="Catheter care").click()

    expect(page.get_by_text("CATHETER_CARE").first).to_be_visible()
    expect(page.locator("#id_faqs-0-question")).to_have_value("How often must a catheter be changed?")
    expect(page.locator("#id_faqs-0-question")).to_be_disabled()
    expect(page.get_by_role("button", name="Save")).to_have_count(0)
    picture(page, "service-read-only")
