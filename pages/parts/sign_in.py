"""Signing in through any OpenID Connect provider, where the deployer has set one up in Streamlit's secrets file.

Streamlit does the protocol (st.login); this module says who may come in, and keeps the uploads and the media of the
server from those who may not, as these go past the pages.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import streamlit as st
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from streamlit import config
from streamlit.auth_util import get_secrets_auth_section, validate_auth_credentials
from streamlit.errors import StreamlitAuthError
from streamlit.runtime.secrets import secrets_singleton
from streamlit.web.server.starlette.starlette_server_config import USER_COOKIE_NAME
from streamlit.web.server.starlette.starlette_websocket import _get_signed_cookie_with_chunks

from pages.parts import session
from pages.parts.words import plain
from ser_core.errors import SettingError
from ser_core.settings import settings

THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "::1"})
OF_VOICES = ("/media/", "/_stcore/upload_file/")


def providers() -> list[str]:
    """Return the providers that are set up, by name; Streamlit calls one without a name "default"."""
    section = get_secrets_auth_section()
    if "client_id" in section:
        return ["default"]
    return [name for name, value in section.items() if isinstance(value, Mapping)]


def check() -> None:
    """Look at what is set up before the server starts.

    Raises:
        SettingError: something is missing, or people are named who could not sign in.
    """
    allowed = settings().allowed
    if not secrets_singleton.load_if_toml_exists() or "auth" not in secrets_singleton:
        if allowed:
            raise SettingError(
                "SERSCOPE_ALLOWED names who may come in, but no sign-in is set up, so everyone could; "
                "put a section [auth] into .streamlit/secrets.toml, as docs/deploy.md says."
            )
        if settings().study_owners:
            raise SettingError(
                "SERSCOPE_STUDY_OWNERS names who may take away the answers of the rating study, but no sign-in is set "
                "up, so nobody can be known; set one up, as docs/deploy.md says, or leave it out."
            )
        return
    if not allowed:
        raise SettingError(
            "Sign-in is set up, but SERSCOPE_ALLOWED does not say who may come in; name people (name@domain), "
            "domains (@domain), or * for everyone whom the provider lets in."
        )
    if not (names := providers()):
        raise SettingError("The section [auth] of the secrets file names no provider; docs/deploy.md says how.")
    try:
        for name in names:
            validate_auth_credentials(name)
    except StreamlitAuthError as fault:
        raise SettingError(f"The sign-in cannot work: {' '.join(str(fault).split())}") from None


def may_enter(user: Mapping[str, Any], allowed: tuple[str, ...]) -> bool:
    """Return whether somebody has signed in and is on the list; an address that is not verified is on none."""
    email = str(user.get("email") or "").lower()
    if not user.get("is_logged_in"):
        return False
    if "*" in allowed:
        return True
    known = email.count("@") == 1 and user.get("email_verified", True) in (True, "true")
    return known and (email in allowed or f"@{email.partition('@')[2]}" in allowed)


def runs_study() -> bool:
    """Return whether this reader may see and take away all answers of the rating study.

    With sign-in those whom SERSCOPE_STUDY_OWNERS names; without, whoever sits at the machine where only that reaches
    the server.
    """
    if providers():
        return may_enter(st.user.to_dict(), settings().study_owners)
    return at_this_machine()


def at_this_machine() -> bool:
    """Return whether server and reader are surely on one machine."""
    return surely_here(
        config.get_option("server.address"), config.get_option("server.allowedHosts"), st.context.headers
    )


def surely_here(address: str | None, hosts: Sequence[str] | None, headers: Mapping[str, str]) -> bool:
    """Return whether nobody but the machine itself reaches the server, nor asks through a proxy or a tunnel.

    Args:
        address: that the server listens on; None is every one.
        hosts: names under which it may be reached; None or none is any.
        headers: of the browser's request, names in any case; a proxy adds some, and a tunnel tells another origin.
    """
    told = {name.lower(): value for name, value in headers.items()}
    alone = address in THIS_MACHINE and bool(hosts) and set(hosts or ()) <= THIS_MACHINE
    passed_on = any(name.startswith(("forwarded", "x-forwarded", "via")) for name in told)
    reached = {urlsplit(f"//{told.get('host', '')}").hostname, urlsplit(told.get("origin", "")).hostname}
    return alone and not passed_on and reached <= THIS_MACHINE


def admit() -> None:
    """Let the run go on for those who may come in; show the others how to sign in, or that they may not, and end it."""
    names = providers()
    if not names:
        return
    if not st.user.is_logged_in:
        st.title("SERscope")
        st.write("Please sign in; your clips are then kept in the memory of your own session alone.")
        for name in names:
            words = "Sign in" if len(names) == 1 else f"Sign in with {plain(name)}"
            st.button(words, type="primary", on_click=st.login, args=() if name == "default" else (name,))
        st.stop()
    if not may_enter(st.user.to_dict(), settings().allowed):
        st.title("SERscope")
        who = plain(str(st.user.get("email") or "This account"))
        st.error(f"{who} may not use this server. Ask whoever runs it to add the address to SERSCOPE_ALLOWED.")
        st.button("Sign out", on_click=sign_out)
        st.stop()


def sign_out() -> None:
    """Delete the session's data and sign out."""
    session.delete_all()
    st.logout()


class Door:
    """Refuses uploads and media to those who have not signed in, or may not come in, where sign-in is set up."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        held_back = scope["type"] == "http" and any(part in scope["path"] for part in OF_VOICES)
        if held_back and providers() and not may_enter(_user(HTTPConnection(scope)), settings().allowed):
            await PlainTextResponse("Please sign in.", 403)(scope, receive, send)
            return
        await self.app(scope, receive, send)


def _user(connection: HTTPConnection) -> Mapping[str, Any]:
    """Return who sent a request, by the cookie that Streamlit signed; nobody where there is none that is good."""
    found = _get_signed_cookie_with_chunks(connection.cookies, USER_COOKIE_NAME)
    user = json.loads(found) if found else {}
    home = urlsplit(get_secrets_auth_section().get("redirect_uri", ""))
    return user if user.get("origin") == f"{home.scheme}://{home.netloc}" else {}
