"""The pages where people sign in, allow a client and sign out. They read `People` from the request's state."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final
from urllib.parse import parse_qsl, urlencode

import structlog
from authlib.oauth2.rfc6749.errors import InvalidRequestError, OAuth2Error
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.http.addresses import caller_of
from api.oauth.authorizing.requests import RefusedAuthorization, UnsafeRedirect
from api.oauth.clients.guesses import TooManyGuesses
from api.oauth.form import MEDIA_TYPE, read_form
from api.oauth.people.forms import About, Expired, OtherSite, Pending, check_same_site
from api.oauth.people.pages import WRONG, Asking, redirect
from api.oauth.people.people import People
from api.oauth.people.sessions import Browser
from api.oauth.people.signing_out import WrongReturn
from core import clock
from core.errors import Overloaded, StoreUnavailable

log = structlog.get_logger()

Handler = Callable[[Request, People], Awaitable[Response]]

MAX_PARAMETERS: Final = 32  # of a query
MAX_QUERY: Final = 8192  # bytes
ABOUT: Final[About] = "authorization request"


def routes() -> list[Route]:
    """All routes. The lifespan of the app yields `{"people": People}`."""
    return [
        Route("/oauth/authorize", page(authorize), methods=["GET", "POST"]),
        Route("/login", page(login), methods=["GET", "POST"]),
        Route("/oauth/consent", page(consent), methods=["GET", "POST"]),
        Route("/oauth/logout", page(logout), methods=["GET", "POST"]),
    ]


def page(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint of this handler, which answers every expected failure with a page, or by sending the client why."""

    async def answer(request: Request) -> Response:
        people: People = request.state.people
        try:
            return await handler(request, people)
        except RefusedAuthorization as refusal:
            return redirect(refusal.location, 302 if request.method == "GET" else 303)
        except (UnsafeRedirect, WrongReturn, Expired, OtherSite, OAuth2Error) as error:
            return people.pages(request).failed(*_reason_of(error))
        except (StoreUnavailable, Overloaded, TimeoutError) as error:
            if not isinstance(error, Overloaded):
                log.warning("page_not_answered", reason=type(error).__name__, error=str(error))
            failed = people.pages(request).failed("unavailable", 503)
            failed.headers["Retry-After"] = "1"
            return failed

    return answer


async def authorize(request: Request, people: People) -> Response:
    """`/oauth/authorize`: begin what a client's request needs. A POST is continued as a GET, to which cookies come."""
    if request.method == "POST":
        return redirect(f"{people.base}/oauth/authorize?{await _posted_query(request)}")
    parameters, repeated = _query_of(request)
    browser = await people.sessions.browser_of(request)
    pending = Pending(parameters, clock.now())
    response = await people.authorizing.go_on(browser, pending, caller_of(request.scope), repeated, status=302)
    people.sessions.set_cookies(response, browser)
    return response


async def login(request: Request, people: People) -> Response:
    """`/login`: the form with name and password."""
    if request.method == "POST":
        return await _sign_in(request, people, await read_form(request))
    browser = await people.sessions.browser_of(request)
    sealed = request.query_params.get("request")
    if sealed is None and browser.session is not None:
        token = people.forms.token(browser.session_id or "")
        return people.pages(request).signed_in(Asking(token), browser.session.login)
    response = await _sign_in_page(request, people, browser, sealed)
    people.sessions.set_cookies(response, browser)
    return response


async def consent(request: Request, people: People) -> Response:
    """`/oauth/consent`: whether the client may have the scopes that it asks for."""
    caller = caller_of(request.scope)
    if request.method == "POST":
        form = await read_form(request)
        check_same_site(request.headers, people.issuer)
        browser = await people.sessions.browser_of(request)
        people.forms.check_token(form.get("csrf"), browser.session_id)
        pending = people.forms.unseal(ABOUT, form.get("request"), browser.session_id)
        if form.get("decision") == "allow":
            return await people.authorizing.allow(browser, pending, caller)
        return await people.authorizing.deny(pending, caller)
    browser, sealed = await people.sessions.browser_of(request), request.query_params.get("request")
    pending = people.forms.unseal(ABOUT, sealed, browser.session_id)
    wanted = await people.authorizing.read(pending, caller)
    if browser.session is None:
        raise Expired()
    asking = people.authorizing.asking(wanted, sealed or "", browser.session_id or "")
    other_account = people.authorizing.sign_in_path(browser, pending)
    pages = people.pages(request, wanted.ui_locales)
    response = pages.consent(asking, browser.session.login, wanted.scopes, other_account)
    people.sessions.set_cookies(response, browser)
    return response


async def logout(request: Request, people: People) -> Response:
    """`/oauth/logout`: OpenID Connect RP-Initiated Logout 1.0. A client's POST is continued as a GET."""
    if request.method == "POST":
        form = await read_form(request)
        if "csrf" not in form:
            return redirect(f"{people.base}/oauth/logout?{urlencode(form)}")
        check_same_site(request.headers, people.issuer)
        return await _sign_out(request, people, form)
    parameters, repeated = _query_of(request)
    if repeated:
        raise InvalidRequestError("A parameter is repeated.")
    browser = await people.sessions.browser_of(request)
    wanted = await people.signing_out.read(parameters, caller_of(request.scope))
    pages = people.pages(request)
    if browser.session is None or people.signing_out.may_skip_question(wanted, browser.session):
        await people.signing_out.end(wanted, browser)
        response = redirect(wanted.return_to, 302) if wanted.return_to else pages.signed_out()
        people.sessions.forget_session(response)
        return response
    owner = browser.session_id or ""
    sealed = people.forms.seal("sign-out request", Pending(parameters, clock.now()), owner)
    return pages.sign_out(Asking(people.forms.token(owner), sealed, None, wanted.return_to), browser.session.login)


async def _sign_in(request: Request, people: People, form: dict[str, str]) -> Response:
    check_same_site(request.headers, people.issuer)
    browser, caller = await people.sessions.browser_of(request), caller_of(request.scope)
    people.forms.check_token(form.get("csrf"), None if browser.is_new else browser.mark)
    sealed = form.get("request")
    pending = None if sealed is None else people.forms.unseal(ABOUT, sealed, browser.mark)
    if pending is not None and form.get("decision") == "cancel":
        return await people.authorizing.deny(pending, caller)
    started = await _sign_in_with(request, people, browser, form)
    if isinstance(started, Response):
        return started
    response = (
        redirect(f"{people.base}/login")
        if pending is None
        else await people.authorizing.go_on(started, pending, caller)
    )
    people.sessions.set_session(response, started)
    return response


async def _sign_in_with(request: Request, people: People, browser: Browser, form: dict[str, str]) -> Browser | Response:
    """The browser with a new session, or the form again, with what is wrong."""
    if missing := [name for name in ("login", "password") if not form.get(name, "").strip()]:
        return await _sign_in_page(request, people, browser, form.get("request"), form, missing=missing)
    try:
        account = await people.passwords.account_of(form["login"], form["password"], caller_of(request.scope))
    except TooManyGuesses as error:
        return await _sign_in_page(request, people, browser, form.get("request"), form, retry_after=error.retry_after)
    started = account and await people.sessions.start(browser, account)
    return started or await _sign_in_page(request, people, browser, form.get("request"), form, missing=())


async def _sign_in_page(
    request: Request,
    people: People,
    browser: Browser,
    sealed: str | None,
    form: dict[str, str] | None = None,
    *,
    missing: list[str] | tuple[()] = (),
    retry_after: int | None = None,
) -> Response:
    """The form. With `form`, as it was sent: with what is missing in it, or wrong, or for how long it is refused."""
    asking, hint = Asking(people.forms.token(browser.mark)), ""
    locales: tuple[str, ...] = ()
    if sealed is not None:
        pending = people.forms.unseal(ABOUT, sealed, None if browser.is_new else browser.mark)
        wanted = await people.authorizing.read(pending, caller_of(request.scope))
        asking = people.authorizing.asking(wanted, sealed, browser.mark)
        locales, hint = wanted.ui_locales, wanted.login_hint or ""
    pages = people.pages(request, locales)
    if form is None:
        return pages.sign_in(asking, hint)
    name, say = form.get("login", ""), pages.language.say
    if retry_after is not None:
        alert = say("too_many_attempts", minutes=-(-retry_after // 60))
        refused = pages.sign_in(asking, name, alert=alert, status=429)
        refused.headers["Retry-After"] = str(retry_after)
        return refused
    return pages.sign_in(asking, name, missing=missing, alert=None if missing else say("wrong_password"), status=WRONG)


async def _sign_out(request: Request, people: People, form: dict[str, str]) -> Response:
    """Sign out: the person pressed the button."""
    browser = await people.sessions.browser_of(request)
    if browser.session is None:
        return people.pages(request).signed_out()
    people.forms.check_token(form["csrf"], browser.session_id)
    parameters: Mapping[str, str] = {}
    if "request" in form:
        parameters = people.forms.unseal("sign-out request", form["request"], browser.session_id).parameters
    pages = people.pages(request, parameters.get("ui_locales", "").split())
    wanted = await people.signing_out.read(parameters, caller_of(request.scope))
    await people.signing_out.end(wanted, browser)
    response = redirect(wanted.return_to) if wanted.return_to else pages.signed_out()
    people.sessions.forget_session(response)
    return response


def _query_of(request: Request) -> tuple[dict[str, str], frozenset[str]]:
    """The parameters of the query, and the names of those that are repeated. Raises InvalidRequestError."""
    return _read_query(request.scope["query_string"])


def _read_query(query: bytes) -> tuple[dict[str, str], frozenset[str]]:
    try:
        if len(query) > MAX_QUERY:
            raise ValueError("too long")
        pairs = parse_qsl(query.decode("ascii"), errors="strict", max_num_fields=MAX_PARAMETERS)
    except ValueError:
        raise InvalidRequestError("The query is too long, has too many parameters, or is not UTF-8.") from None
    names = [name for name, _ in pairs]
    return dict(reversed(pairs)), frozenset(name for name in names if names.count(name) > 1)


async def _posted_query(request: Request) -> str:
    """The body of a client's form, as a query. Raises InvalidRequestError."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != MEDIA_TYPE:
        raise InvalidRequestError(f"The body must be {MEDIA_TYPE}.")
    body = await request.body()
    _read_query(body)
    if not body.decode("ascii").isprintable() or b" " in body or b"#" in body:
        raise InvalidRequestError("The body is not percent-encoded.")
    return body.decode("ascii")


def _reason_of(error: Exception) -> tuple[str, int]:
    """The text that says why, and the status."""
    match error:
        case UnsafeRedirect():
            return "unknown_client", 400
        case WrongReturn():
            return "wrong_return", 400
        case Expired():
            return "expired", 400
        case OtherSite():
            return "other_site", 403
        case OAuth2Error():
            return "wrong_request", error.status_code or 400
        case _:
            return "wrong_request", 400
