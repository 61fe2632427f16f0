"""What a person does on the exchange's page, in a browser: sign up, fill a cart, pay, watch the orders."""

from __future__ import annotations

from playwright.async_api import Page, expect

from tests.services.ingress import PASSWORD
from tests.tui.web.browser import SEEN, BrowserPage


async def sign_up(page: Page, email: str) -> None:
    await page.get_by_label("Email").fill(email)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign up").click()
    await expect(page.get_by_role("heading", name="Orders")).to_be_visible(timeout=SEEN)


async def add(page: Page, product: str) -> None:
    await page.get_by_role("button", name=f"Add {product}").click()
    await expect(page.get_by_role("status")).to_contain_text(f"{product}:", timeout=SEEN)


async def pay(page: Page, card: str, message: str, status: str) -> None:
    """Pay with a card, and wait until the newest order has a status."""
    await page.get_by_label("Card").select_option(label=card)
    await page.get_by_role("button", name="Pay").click()
    await expect(page.get_by_role("status")).to_contain_text(message, timeout=SEEN)
    await expect(page.locator("#order-rows tr").first).to_contain_text(status, timeout=SEEN)


async def buy(browser: BrowserPage, url: str, email: str) -> None:
    """Order twice: the first card is declined, which keeps the cart, the second one pays.

    Nothing but the ingress is asked, and the browser reports no error and no violated policy.
    """
    page, problems = browser.page, []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda line: problems.append(line.text) if "Content Security" in line.text else None)
    response = await page.goto(url)
    assert response
    assert "default-src 'none'" in response.headers["content-security-policy"]
    await expect(page.get_by_role("button", name="Add Cold wallet")).to_be_disabled(timeout=SEEN)
    await sign_up(page, email)
    await page.get_by_label("Category").select_option(label="Wallets")
    await expect(page.get_by_text("Seed plate")).to_have_count(0, timeout=SEEN)
    await add(page, "Cold wallet")
    await add(page, "Paper wallet")
    await expect(page.locator("#total")).to_have_text("138.00", timeout=SEEN)
    await pay(page, "that is declined", "card declined", "cancelled")
    await expect(page.locator("#items li")).to_have_count(2, timeout=SEEN)
    await pay(page, "that pays", "is confirmed", "confirmed")
    await expect(page.locator("#items")).to_contain_text("Empty", timeout=SEEN)
    stored = "[localStorage.length, sessionStorage.length, document.cookie]"
    assert await page.evaluate(stored) == [0, 0, ""]
    await page.get_by_role("button", name="Log out").click()
    await expect(page.get_by_label("Email")).to_be_visible(timeout=SEEN)
    assert all(requested.startswith(f"{url}/") for requested in browser.requested)
    assert problems == []
