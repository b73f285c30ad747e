import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

import explain  # noqa: F401  (a page run by itself puts pages/ first, where explain.py would hide the package)

if TYPE_CHECKING:
    import pandas as pd
    import playwright.sync_api

os.environ.setdefault("OMP_NUM_THREADS", "2")

# How long an example takes says more about the machine than about the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def corpora() -> Path:
    """The folder of real speech beside the checkout; tests that need it skip without it."""
    folder = ROOT.parent / "shared" / "corpora"
    if not folder.is_dir():
        pytest.skip("no corpora beside the checkout")
    return folder


@pytest.fixture(autouse=True)
def main_module() -> Iterator[None]:
    """Give the process its main module back, which AppTest replaces: processes that are started later run it again."""
    before = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = before


@pytest.fixture
def forget_encoders() -> Iterator[Callable[[], None]]:
    """What forgets every loaded encoder, and the models that hold one, so that two of a name are never in use."""
    from ser_core.encoders import frozen_encoder
    from ser_core.registry import drop_loaded

    def forget() -> None:
        drop_loaded()
        frozen_encoder.cache_clear()

    forget()
    yield forget
    forget()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The address of a server of the module's own."""
    from servers import started

    with started() as (url, _):
        yield url


@pytest.fixture(scope="module")
def browser() -> "Iterator[playwright.sync_api.Browser]":
    """A browser without a window; sound may play in it without a click."""
    from browsing import CHROMIUM, FLAGS, playwright

    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Add what the last opened page said to the report of a test that failed in a browser."""
    report = (yield).get_result()
    open_browser = getattr(item, "funcargs", {}).get("browser")
    if report.when == "call" and report.failed and open_browser is not None:
        from browsing import playwright

        pages = [page for context in open_browser.contexts for page in context.pages]
        with suppress(playwright.Error):
            said = [page.locator("body").inner_text(timeout=5_000) for page in pages[-1:]]
            report.sections.append(("the page", "\n".join(said)))


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    """The folder for screenshots: the one named by SHOTS, or the test's own."""
    folder = Path(os.environ.get("SHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """What stores answers where the pages look for them, and nothing but these is there."""
    import ser_core.evaluation

    folder = tmp_path / "evaluation"
    folder.mkdir()
    monkeypatch.setattr(ser_core.evaluation, "TABLES", folder)

    def keep(rows: "pd.DataFrame", model: str = "m") -> Path:
        path = folder / f"{model}.{rows['corpus'].iloc[0]}.parquet"
        rows.to_parquet(path)
        return path

    return keep
