"""The guard of the page: which requests get in, and what a browser may do with the answers.

    request --> Host (DNS rebinding) --> token, if there is one --> Origin and CSRF token, for actions --> page

Every answer carries a policy without inline scripts and styles, so text that slips into the page cannot run.
"""

import hmac
import secrets
from collections.abc import Collection
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from typing import Final
from urllib.parse import parse_qsl

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SAFE_METHODS: Final = ("GET", "HEAD")
CSRF_HEADER: Final = "x-csrf-token"
LONGEST_FORM: Final = 65_536
"""Bytes of a form."""
BROWSER: Final = "event_collector_browser"
"""The cookie that tells browsers apart; CSRF tokens belong to it."""
ACCESS: Final = "event_collector_access"
"""The cookie of a browser that has shown the token."""

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """Stands before an ASGI app.

    Args:
        app: the app.
        hosts: names, without port, under which browsers may ask for the page, beside addresses; None for any.
        token: what a visitor has to show once; None if everybody who reaches the page may see it.
    """

    def __init__(self, app: ASGIApp, *, hosts: Collection[str] | None, token: str | None) -> None:
        self._app, self._hosts = app, None if hosts is None else frozenset(map(str.lower, hosts))
        self._token = token
        self._secret = secrets.token_bytes(32)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it to the app."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        browser = _cookie(request, BROWSER)
        fresh = not browser
        browser = browser or secrets.token_urlsafe(16)
        scope.setdefault("state", {})["csrf"] = self.csrf_token(browser)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
                if fresh:
                    headers.append("Set-Cookie", _set_cookie(request, BROWSER, browser))
            await send(message)

        refusal = await self._refusal(request, "" if fresh else browser)
        await (refusal or self._app)(scope, receive, send_guarded)

    def csrf_token(self, browser: str) -> str:
        """Return the token that the forms of a browser carry."""
        return hmac.digest(self._secret, browser.encode(), "sha256").hex()

    async def _refusal(self, request: Request, browser: str) -> Response | None:
        """Return the answer to a request that does not get in."""
        if not self._is_known_host(request.headers):
            return _text(f"this page is not served under the name {request.headers.get('host', '')!r}", 421)
        path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
        if self._token is not None and path == "/login" and request.method == "POST":
            return await self._login(request)
        if not self._has_access(request) and not path.startswith("/static/") and path != "/login":
            return RedirectResponse(f"{request.scope.get('root_path', '')}/login", 303)
        if request.method in SAFE_METHODS:
            return None
        if not is_same_origin(request.headers):
            return _text("this request comes from another page: reload the page of the queue and try again", 403)
        given = request.headers.get(CSRF_HEADER, "")
        if not browser or not hmac.compare_digest(given.encode(), self.csrf_token(browser).encode()):
            return _text("this page is out of date: reload it and try again", 403)
        return None

    def _is_known_host(self, headers: Headers) -> bool:
        """Return whether a page of another site cannot have made its own name lead here. Addresses are no names."""
        name = _name_of(headers.get("host", ""))
        return self._hosts is None or name in self._hosts or _is_address(name)

    def _has_access(self, request: Request) -> bool:
        if self._token is None:
            return True
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self._token.encode()):
            return True
        return hmac.compare_digest(_cookie(request, ACCESS).encode(), self._proof().encode())

    def _proof(self) -> str:
        return hmac.digest((self._token or "").encode(), self._secret, "sha256").hex()

    async def _login(self, request: Request) -> Response:
        try:
            form = dict(parse_qsl((await read_body(request, LONGEST_FORM)).decode("utf-8", "replace")))
        except HTTPException as exc:
            return _text(exc.detail, exc.status_code)
        root = request.scope.get("root_path", "")
        if not is_same_origin(request.headers) or not hmac.compare_digest(
            form.get("token", "").strip().encode(), (self._token or "").encode()
        ):
            return RedirectResponse(f"{root}/login?wrong=1", 303)
        response = RedirectResponse(f"{root}/", 303)
        response.headers.append("Set-Cookie", _set_cookie(request, ACCESS, self._proof()))
        return response


async def read_body(request: Request, longest: int) -> bytes:
    """Return the body of a request; 413 for one of more than `longest` bytes."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > longest:
            raise HTTPException(413, f"the request has more than {longest:,} bytes")
    return bytes(body)


def is_same_origin(headers: Headers) -> bool:
    """Return whether a browser says that a request comes from a page of this host."""
    origin = headers.get("origin")
    if origin is None:
        return headers.get("sec-fetch-site") == "same-origin"
    return origin.partition("://")[2] == headers.get("host")


def _name_of(host: str) -> str:
    """Return a Host header without its port."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).lower()


def _is_address(name: str) -> bool:
    try:
        ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def _cookie(request: Request, name: str) -> str:
    jar: SimpleCookie = SimpleCookie()
    try:
        for line in request.headers.getlist("cookie"):
            jar.load(line)
    except CookieError:
        return ""
    return jar[name].value if name in jar else ""


def _set_cookie(request: Request, name: str, value: str) -> str:
    path = request.scope.get("root_path", "") or "/"
    secure = "; Secure" if request.scope.get("scheme") == "https" else ""
    return f"{name}={value}; Path={path}; HttpOnly; SameSite=Strict{secure}"


def _text(text: str, status: int) -> Response:
    return PlainTextResponse(f"{text}\n", status)
