"""Signing in through a real OpenID Connect provider, run here from a package, in a real browser."""

import re
from pathlib import Path

import pytest
from bad_inputs import voice, wav
from browsing import IN_A_BROWSER, PATIENCE_MS, visit
from servers import serving

provider_package = pytest.importorskip("oidc_provider_mock", reason="oidc-provider-mock is not installed")

pytestmark = IN_A_BROWSER


def secrets(folder: Path, provider: str, home: str) -> Path:
    path = folder / "secrets.toml"
    path.write_text(
        f'[auth]\nredirect_uri = "{home}/oauth2callback"\ncookie_secret = "{"c0ffee" * 8}"\n'
        f'client_id = "serscope"\nclient_secret = "kept"\n'
        f'server_metadata_url = "{provider}/.well-known/openid-configuration"\n'
    )
    return path


def test_who_is_on_the_list_comes_in_and_others_read_one_sentence(browser, tmp_path):
    with (
        provider_package.run_server_in_thread() as provider,
        serving(
            tmp_path,
            lambda url: ("--secrets.files", str(secrets(tmp_path, f"http://localhost:{provider.server_port}", url))),
            SERSCOPE_ALLOWED="anna@clinic.example,@lab.example",
            SERSCOPE_IDLE_MINUTES="0.05",
        ) as served,
    ):
        for who, enters in (("eve@clinic.example", False), ("anna@clinic.example", True)):
            context = browser.new_context(viewport={"width": 1280, "height": 900})
            # The provider's own pages ask a content network for their looks.
            context.route("**/*jsdelivr*/**", lambda route: route.abort())
            page = context.new_page()
            page.goto(served.url)
            page.get_by_role("button", name="Sign in").click(timeout=PATIENCE_MS)
            page.get_by_placeholder("sub").fill(who)
            page.get_by_role("button", name="Authorize").click()
            if enters:
                page.get_by_role("button", name="Explain this clip").first.wait_for(timeout=PATIENCE_MS)
            else:
                page.get_by_text(f"{who} may not use this server.").wait_for(timeout=PATIENCE_MS)
                assert page.get_by_text("Where they fail").count() == page.locator("input").count() == 0
            cookie = "; ".join(f"{kept['name']}={kept['value']}" for kept in context.cookies(served.url))
            assert served.get("/media/none.wav")[0] == 403
            assert served.get("/media/none.wav", Cookie=cookie)[0] == (404 if enters else 403)

        # An upload is left alone for the three seconds that this server allows.
        visit(page, "More speech", "Many clips")
        page.get_by_role("button", name="Take these clips").wait_for(timeout=PATIENCE_MS)
        sound = {"name": "voice.wav", "mimeType": "audio/wav", "buffer": wav(voice(1.0))}
        page.locator("input[type=file]").set_input_files(sound)
        served.comes_to("uploads", 1)
        page.get_by_text("Nothing was done here for 0.05 minutes").wait_for(timeout=PATIENCE_MS)
        served.comes_to("uploads", 0)
        assert "clinic.example" not in served.printed and "127.0.0.1" not in served.printed
        called = {re.findall(r", (\d+)", place)[0] for place in served.noted("connect")}
        assert called == {str(provider.server_port)}
