"""The page and its question: links that are pasted, and a server that wants a token."""

from __future__ import annotations

from typing import Any

import pytest

from tests.service.conftest import Open, serving
from tests.service.test_serve import _command


def test_a_pasted_link_reaches_the_field_in_use(open_page: Open) -> None:
    """Another fragment fills every field, the focused one and a teacher's among them."""
    page = open_page("#budget=1e21&student=1B&teacher=size=7B,tokens=140B")
    page.focus("#budget")
    page.evaluate("location.hash = '#budget=3e22&student=2B&teacher=size=13B,loss=2.0'")
    title = "Plan for 3e22 FLOPs, 2B student, scenario teacher-inference"
    page.get_by_text(title, exact=True).wait_for()
    assert page.input_value("#budget") == "3e22"

    size = page.get_by_label("Parameters", exact=True)
    size.focus()
    page.evaluate("location.hash = '#budget=3e22&student=2B&teacher=size=9B,loss=2.1'")
    page.locator("#command", has_text="size=9B").wait_for()
    assert size.input_value() == "9B"
    size.fill("8B")  # the row belongs to the new question
    page.locator("#command", has_text="size=8B").wait_for()
    assert "size=8B" in page.url


@pytest.fixture
def locked(chromium: Any) -> Any:
    """A page of a server with a token, and the faults of its scripts."""
    with serving("--token", "sesame") as server:
        context = chromium.new_context()
        context.set_default_timeout(15_000)
        page = context.new_page()
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(server.url + "/")
        yield page
        context.close()
    assert faults == []


def test_a_wrong_token_can_be_put_right(locked: Any) -> None:
    """Wrong, unsendable, put off, right: each time a sentence, and no way leads into a trap."""
    dialog, field = locked.locator("#token-dialog"), locked.locator("#token")
    dialog.wait_for()
    assert locked.locator("#token-fault").is_hidden()

    field.fill("open")
    locked.get_by_role("button", name="Use it").click()
    locked.get_by_text("does not take this token").first.wait_for()
    dialog.wait_for()
    assert field.input_value() == ""

    for text, says in (("müsli", "“ü”"), ("ses ame", "no blanks"), ("", "Type the token")):
        field.fill(text)
        locked.get_by_role("button", name="Use it").click()
        assert says in locked.inner_text("#token-fault")
        assert dialog.is_visible()

    locked.get_by_role("button", name="Not now").click()
    dialog.wait_for(state="hidden")
    locked.wait_for_timeout(400)
    assert dialog.is_hidden(), "nobody should be asked again who said not now"
    assert "token" in locked.inner_text("#problem")

    locked.get_by_role("button", name="Enter a token").click()
    dialog.wait_for()
    field.fill(" sesame ")
    field.press("Enter")
    locked.wait_for_selector("body[data-state=answered]")
    assert dialog.is_hidden()
    assert locked.is_hidden("#problem")
    locked.reload()
    locked.wait_for_selector("body[data-state=answered]")


def test_a_token_that_no_header_carries_is_refused_at_the_start() -> None:
    """A server nobody could ask does not start."""
    for token in ("müsli", "two words", "tab\t"):
        run = _command("serve", "--port", "0", "--token", token)

        assert run.returncode == 2
        assert "ASCII" in run.stderr
        assert "Traceback" not in run.stderr
        assert token not in run.stderr
