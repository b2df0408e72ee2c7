"""The pages as HTML: plain forms that need no script. Every value is escaped where it is inserted (MarkupSafe)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from markupsafe import Markup
from starlette.responses import HTMLResponse, RedirectResponse

from api.oauth.people.languages import Language
from api.oauth.people.style import STYLE, STYLE_SOURCE

WRONG: Final = 422  # the status of a form with a wrong or missing value
SECURITY: Final = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_PAGE: Final = Markup(
    '<!doctype html>\n<html lang="{language}">\n<head>\n<meta charset="utf-8">\n'
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="robots" content="noindex">\n'
    '<title>{title} · {shop}</title>\n<style>{style}</style>\n</head>\n<body>\n<main>\n<p class="shop">{shop}</p>\n'
    "<h1>{title}</h1>\n{body}\n</main>\n</body>\n</html>\n"
)
_FORM: Final = Markup('<form method="post" action="{action}">\n{hidden}\n{body}\n</form>')
_HIDDEN: Final = Markup('<input type="hidden" name="{name}" value="{value}">')
_BUTTON: Final = Markup('<button type="submit" name="decision" value="{value}"{more}>{text}</button>')
_CHOICES: Final = Markup('<div class="choices">\n{}\n</div>')
_TEXT: Final = Markup("<p>{}</p>")
_QUIET: Final = Markup('<p class="quiet">{}</p>')
_ALERT: Final = Markup('<p class="alert" role="alert" id="alert">{}</p>')
_LIST: Final = Markup("<ul>\n{}\n</ul>")
_ITEM: Final = Markup("<li>{}</li>")
_LINK: Final = Markup('<p class="quiet"><a href="{address}">{text}</a></p>')
_FIELD: Final = Markup(
    '<label for="{name}">{label}</label>\n<input id="{name}" name="{name}" type="{type}" value="{value}" '
    'autocomplete="{autocomplete}" autocapitalize="none" spellcheck="false" maxlength="256" required{state}>{wrong}'
)
_WRONG: Final = Markup('\n<p class="wrong" id="{name}-wrong">{text}</p>')
_INVALID: Final = Markup(' aria-invalid="true" aria-describedby="{}"')
_NAME: Final = Markup("<strong>{}</strong>")


@dataclass(frozen=True, slots=True)
class Asking:
    """What a form of ours has to send back: its token, and the sealed request that it is about, if there is one."""

    token: str
    request: str | None = None
    client: str | None = None  # its name, to be shown
    redirect_uri: str | None = None  # where the answer to the form may lead

    def fields(self) -> Markup:
        """The hidden fields."""
        carried = {"csrf": self.token} | ({"request": self.request} if self.request else {})
        return Markup("\n").join(_HIDDEN.format(name=name, value=value) for name, value in carried.items())


@dataclass(frozen=True, slots=True)
class Pages:
    """Builds the pages of one shop in one language. `base` is the path before the paths of our pages."""

    shop: str
    base: str
    language: Language

    def sign_in(
        self,
        asking: Asking,
        login: str = "",
        *,
        missing: Sequence[str] = (),
        alert: Markup | None = None,
        status: int = 200,
    ) -> HTMLResponse:
        """The form with name and password.

        `missing` are the fields without a value. `alert` says what is wrong, with both fields if the status is WRONG.
        """
        say = self.language.say
        intro = _TEXT.format(say("sign_in_for", client=_NAME.format(asking.client))) if asking.client else Markup()
        first = next(iter(missing), "password" if login else "login")
        wrong = () if missing or status != WRONG else ("login", "password")
        buttons = _BUTTON.format(value="sign_in", more="", text=say("sign_in"))
        if asking.request:
            more = Markup(' class="second" formnovalidate')
            buttons += Markup("\n") + _BUTTON.format(value="cancel", more=more, text=say("cancel"))
        fields = [
            self._field("login", "text", "username", login, missing, wrong, first),
            self._field("password", "password", "current-password", "", missing, wrong, first),
            _CHOICES.format(buttons),
        ]
        warning = _ALERT.format(alert) if alert else Markup()
        form = self._form("/login", asking, Markup("\n").join(fields))
        return self._page(say("sign_in_title"), intro + warning + form, asking.redirect_uri, status)

    def signed_in(self, asking: Asking, login: str) -> HTMLResponse:
        """Says who is signed in, and lets them sign out."""
        say = self.language.say
        button = _CHOICES.format(_BUTTON.format(value="sign_out", more=Markup(' class="second"'), text=say("sign_out")))
        who = _TEXT.format(say("signed_in_as", login=_NAME.format(login)))
        return self._page(say("signed_in_title"), who + self._form("/oauth/logout", asking, button))

    def consent(self, asking: Asking, login: str, scopes: Iterable[str], other_account: str) -> HTMLResponse:
        """Asks whether the client may have these scopes. `other_account` is the link to sign in with another one."""
        say = self.language.say
        allowed = dict.fromkeys(self.language.scope(scope) for scope in scopes)
        body = [
            _TEXT.format(say("consent_asks", client=_NAME.format(asking.client))),
            _LIST.format(Markup("\n").join(_ITEM.format(text) for text in allowed)),
            _QUIET.format(say("consent_returns", address=_NAME.format(shown_address(asking.redirect_uri or "")))),
            self._form(
                "/oauth/consent",
                asking,
                _CHOICES.format(
                    _BUTTON.format(value="allow", more="", text=say("allow"))
                    + Markup("\n")
                    + _BUTTON.format(value="deny", more=Markup(' class="second"'), text=say("deny"))
                ),
            ),
            _QUIET.format(say("signed_in_as", login=_NAME.format(login))),
            _LINK.format(address=self.base + other_account, text=say("other_account")),
        ]
        return self._page(say("consent_title"), Markup("\n").join(body), asking.redirect_uri)

    def sign_out(self, asking: Asking, login: str) -> HTMLResponse:
        """Asks whether to sign out."""
        say = self.language.say
        body = [
            _TEXT.format(say("sign_out_question", shop=_NAME.format(self.shop))),
            _QUIET.format(say("signed_in_as", login=_NAME.format(login))),
        ]
        button = _CHOICES.format(_BUTTON.format(value="sign_out", more="", text=say("sign_out")))
        body.append(self._form("/oauth/logout", asking, button))
        return self._page(say("sign_out_title"), Markup("\n").join(body), asking.redirect_uri)

    def signed_out(self) -> HTMLResponse:
        """Says that nobody is signed in any more."""
        return self._page(self.language.say("signed_out_title"), _TEXT.format(self.language.say("signed_out_text")))

    def failed(self, reason: str, status: int) -> HTMLResponse:
        """Says why something did not work; `reason` names a text."""
        return self._page(self.language.say("failed_title"), _ALERT.format(self.language.say(reason)), None, status)

    def _form(self, path: str, asking: Asking, body: Markup) -> Markup:
        return _FORM.format(action=self.base + path, hidden=asking.fields(), body=body)

    def _field(
        self,
        name: str,
        type: str,
        autocomplete: str,
        value: str,
        missing: Sequence[str],
        wrong: Sequence[str],
        first: str,
    ) -> Markup:
        invalid = _INVALID.format(f"{name}-wrong" if name in missing else "alert")
        state = invalid if name in (*missing, *wrong) else Markup()
        return _FIELD.format(
            name=name,
            type=type,
            value=value,
            autocomplete=autocomplete,
            label=self.language.say(f"{name}_label"),
            state=state + (Markup(" autofocus") if name == first else ""),
            wrong=_WRONG.format(name=name, text=self.language.say(f"{name}_missing")) if name in missing else "",
        )

    def _page(self, title: Markup, body: Markup, leads_to: str | None = None, status: int = 200) -> HTMLResponse:
        html = _PAGE.format(language=self.language.tag, title=title, shop=self.shop, style=STYLE, body=body)
        return HTMLResponse(html, status, SECURITY | {"Content-Security-Policy": _policy(leads_to)})


def redirect(location: str, status: int = 303) -> RedirectResponse:
    """A redirect that nobody stores, and that tells the next site nothing about this one."""
    response = RedirectResponse(location, status, SECURITY)
    response.headers["location"] = location  # as it is: Starlette would quote some of it again
    return response


def shown_address(uri: str) -> str:
    """What a person needs to know of a redirect URI: its host, or the scheme of an app."""
    parts = urlsplit(uri)
    return parts.netloc if parts.scheme in ("http", "https") else f"{parts.scheme}:"


def _policy(leads_to: str | None) -> str:
    sources = f"'self' {_scheme_of(leads_to)}" if leads_to else "'self'"
    return (
        f"default-src 'none'; style-src {STYLE_SOURCE}; form-action {sources}; frame-ancestors 'none'; base-uri 'none'"
    )


def _scheme_of(uri: str) -> str:
    """How `form-action` names where a form may lead: by the scheme.

    Chromium applies `form-action` to every redirect after a form, also to one that the app makes from its own address
    to another of its origins. So naming the origin alone would break apps.
    """
    return f"{urlsplit(uri).scheme}:"
