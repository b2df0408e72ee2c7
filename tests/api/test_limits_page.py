"""`docs/limits.md` says what the code enforces."""

import re
from pathlib import Path
from typing import Any

from api import errors
from api.graphql import context
from api.graphql.entities import federation
from api.graphql.request import documents, limits, parsing, reading
from api.graphql.subscriptions import messages, session
from api.graphql.topics import pages as slots
from api.graphql.topics.insight import placements, rules
from api.graphql.types import connections
from api.http import json_body
from api.http.connections import websockets
from api.http.streaming import streams
from api.oauth import form
from api.oauth.clients import guesses, registration
from api.oauth.foreign import keys as foreign_keys
from api.oauth.foreign import reading as foreign_reading
from api.oauth.foreign import registration as foreign_registration
from api.oauth.foreign import tokens as foreign_tokens
from api.oauth.people import accounts
from api.oauth.people import endpoints as people_pages
from api.oauth.people import guesses as password_guesses
from api.oauth.tokens import verifier
from api.routes import bulk
from bus import webhook
from core import addresses, amounts, choices, events, events_v1, rates, texts, uploads
from core.settings import Gateway, Ingest, Rates, Tokens
from db import authorizations, automatic_documents, client_audit, purges, sessions, signing_keys
from db import documents as trusted_documents
from db import placements as stored_placements
from db import rules as stored_rules
from db import segments as stored_segments
from engine import outcomes, scopes
from engine.catalogue import filter_documents, purging
from engine.clients import administering, changing
from engine.explaining import rule_effects
from engine.intake import ingest
from engine.jobs import feed
from engine.placements import placement as placed
from engine.placements import settings as placement_settings
from engine.reasons import texts as reasons
from engine.recommending import list_kinds, page_slots, pages
from engine.recommending import recommendations as lists
from engine.rules import queries, rule_book
from engine.rules import settings as rule_settings
from engine.segments import settings as segment_settings
from ml.hazard import forecasts


def longest(kind: Any) -> int:
    """The `max_length` of a constrained text."""
    return int(next(one.max_length for one in kind.__metadata__ if hasattr(one, "max_length")))


def a_minute(setting: str) -> int:
    """The units of a default rate, which is by the minute."""
    rate = rates.read_rate(Rates.model_fields[setting].default)
    assert rate is not None
    assert rate.get_expiry() == 60
    return rate.amount


PAGE = Path(__file__).parents[2] / "docs" / "limits.md"
ENFORCED = {
    "elements of a page (`first`)": (connections.MAX_FIRST, ""),
    "items of a list, all pages together": (pages.MAX_ITEMS, ""),
    "ids in `ids`, `exclude` or `among`": (list_kinds.MAX_IDS, ""),
    "ids in the lists of a context, all together": (lists.MAX_CONTEXT_ITEMS, ""),
    "`placement`": (placed.MAX_PLACEMENT, " characters"),
    "slots of a page": (page_slots.MAX_SLOTS, ""),
    "placements with settings": (stored_placements.MOST_PLACEMENTS, ""),
    "price bands of a placement": (placement_settings.MOST_BANDS, ""),
    "`explore` of a placement": (placement_settings.MOST_EXPLORED, ""),
    "`first` of a placement": (placement_settings.MOST_UNNAMED, ""),
    "users of `previewPlacement` and `previewRules`": (placements.MOST_PEOPLE, ""),
    "rules": (stored_rules.MOST_RULES, ""),
    "rules that `previewRules` tries out": (rules.MOST_TRIED, ""),
    "placements, markets, searches or segments that a rule names": (rule_settings.MOST_NAMES, ""),
    "`ranges` of a rule": (rule_settings.MOST_RANGES, ""),
    "`query` of a context, and a search that a rule names": (queries.LONGEST_QUERY, " characters"),
    "items, or categories, of pages that a rule names": (rule_settings.MOST_PAGES, ""),
    "position of a pin": (rule_settings.LAST_POSITION, ""),
    "rules of the items, categories and search of one page that hold there": (rule_book.MOST_OF_PAGE, ""),
    "rules that `explain` names": (rule_effects.MOST_TOLD, ""),
    "`key` of a slot": (slots.MAX_KEY, " characters"),
    "items that a person hides": (choices.MOST_ITEMS, ""),
    "categories that a person hides": (choices.MOST_CATEGORIES, ""),
    "a category that a person hides": (choices.LONGEST_CATEGORY, " characters"),
    "filters in a filter, itself counted": (filter_documents.MAX_FILTERS, ""),
    "filters inside each other, the outermost counted": (filter_documents.MAX_DEPTH, ""),
    "values in a filter, all levels together": (filter_documents.MAX_VALUES, ""),
    "`events` of a reason": (context.MAX_EVENTS, ""),
    "a title inside the text of a reason": (reasons.LONGEST_TITLE, " characters"),
    "a shop's own text of a reason": (reasons.LONGEST_TEXT, " characters"),
    "segments": (stored_segments.MOST_SEGMENTS, ""),
    "conditions of a segment, all levels together": (segment_settings.MOST_CONDITIONS, ""),
    "conditions of a segment inside each other, the outermost counted": (segment_settings.MOST_LEVELS, ""),
    "conditions on events and affinities, all levels together": (segment_settings.MOST_COUNTS, ""),
    "values of a trait, categories or brands of a condition": (segment_settings.MOST_VALUES, ""),
    "days that a condition on forecasts or events looks ahead or back": (forecasts.LONGEST, ""),
    "a document": (parsing.MAX_BYTES, " bytes"),
    "tokens": (parsing.MAX_TOKENS, ""),
    "brackets inside each other": (parsing.MAX_NESTING, ""),
    "a name or a number": (parsing.MAX_NAME, " characters"),
    "operations": (documents._MAX_OPERATIONS, ""),
    "fields inside each other": (limits.MAX_DEPTH, ""),
    "root fields": (limits.MAX_ROOT_FIELDS, ""),
    "aliases": (limits.MAX_ALIASES, ""),
    "directives": (limits.MAX_DIRECTIVES, ""),
    "cost: 2 for an object, 1 for a scalar, times `first` (of a page: those of all slots together)": (
        limits.MAX_COST,
        "",
    ),
    "trusted documents of a client": (trusted_documents.MOST_DOCUMENTS, ""),
    "all trusted documents of a client": (trusted_documents.MOST_BYTES, " bytes"),
    "other ids of a client's trusted documents": (trusted_documents.MOST_ALIASES, ""),
    "an id of a document": (reading.LONGEST_DOCUMENT_ID, " characters"),
    "automatic documents of a client; the oldest are dropped": (automatic_documents.MOST_DOCUMENTS, ""),
    "an automatic document that is kept": (automatic_documents.LONGEST, " bytes"),
    "errors in an answer": (errors.MAX_ERRORS, ""),
    "an error message": (errors.MAX_MESSAGE, " characters"),
    "events, items, users or ids of a call": (outcomes.MAX_ELEMENTS, ""),
    "a body, also after decompression (`PENCHANT_MAX_BODY`)": (Gateway.model_fields["max_body"].default, " bytes"),
    "JSON values of a body": (json_body.MAX_NODES, ""),
    "levels of JSON": (json_body.MAX_LEVELS, ""),
    "parameters of a URL": (bulk.MAX_PARAMETERS, ""),
    "WebSockets of a gateway process": (streams.MOST_WEBSOCKETS, ""),
    "event streams of a gateway process": (streams.MOST_EVENT_STREAMS, ""),
    "WebSockets of one address that have not sent `connection_init` yet, in a process": (streams.MOST_BEGINNING, ""),
    "WebSockets and event streams of a client, or of one of its people, in a process": (streams.MOST_OF_CALLER, ""),
    "operations that run on a WebSocket": (session.MOST_OPERATIONS, ""),
    "operations without a stream that run on all WebSockets of a process": (streams.MOST_OPERATIONS, ""),
    "a WebSocket message": (websockets.MAX_MESSAGE, " bytes"),
    "fragments of a WebSocket message": (websockets.MAX_FRAGMENTS, ""),
    f"WebSocket messages in {session.PERIOD:g} s": (session.MOST_MESSAGES, ""),
    "the id of an operation": (messages.MAX_ID, " characters"),
    "jobs that are followed": (feed.MOST_JOBS, ""),
    "entities of `_entities`": (federation.MOST, ""),
    "an id, of whatever": (texts.LONGEST_ID, " characters"),
    "`impressionId`, `query` of an event": (texts.LONGEST_TEXT, " characters"),
    "`title`, `brand`, a category of an item": (longest(uploads.Line), " characters"),
    "`description` of an item": (longest(uploads.LongText), " characters"),
    "an address of an item": (longest(uploads.Link), " characters"),
    "`itemIds` of an event": (events.MOST_ITEMS, ""),
    "`properties` of an event": (events_v1.LARGEST_PROPERTIES, " bytes"),
    "`attributes` of an item, `traits` of a user": (uploads.LARGEST_JSON, " bytes"),
    "`categories` of an item": (uploads.MOST_CATEGORIES, ""),
    "`offers` of an item": (uploads.MOST_OFFERS, ""),
    "`quantity`": (events.LARGEST_QUANTITY, ""),
    "`unitPrice` times `quantity`": (amounts.LARGEST_LINE, ""),
    "digits of an amount before the point": (amounts.WHOLE_DIGITS, ""),
    "digits of an amount after the point": (amounts.DECIMAL_PLACES, ""),
    "days back of an event, with a person's token (`PENCHANT_PERSON_EVENTS_BACK`)": (
        Ingest.model_fields["person_events_back"].default,
        "",
    ),
    "days back of an event, with a client's token": (ingest.CLIENT_EVENTS_BACK, ""),
    "the reason of a decision": (texts.LONGEST_REASON, " characters"),
    "a client's secret": (registration.MAX_SECRET, " characters"),
    "a list of scopes": (scopes.LONGEST_LIST, " characters"),
    "clients, for `createClient`": (administering.MAX_CLIENTS, ""),
    "changes of a client in its audit trail": (client_audit.MOST_CHANGES, ""),
    "days of refusals in an audit trail": (client_audit.DAYS_OF_REFUSALS, ""),
    "the old secret beside a new one": (changing.MAX_OVERLAP, " s"),
    "keys that verify tokens": (signing_keys.MAX_KEYS, ""),
    "lifetime of a token": (registration.MAX_TTL, " s"),
    "lifetime of a person's token (`PENCHANT_PERSON_TTL`)": (Tokens.model_fields["person_ttl"].default, " s"),
    "an access token": (verifier.MAX_LENGTH, " characters"),
    "foreign issuers": (foreign_registration.MOST_ISSUERS, ""),
    "keys of a foreign issuer": (foreign_keys.MOST_KEYS, ""),
    "a document of a foreign issuer": (foreign_reading.LARGEST, " bytes"),
    "lifetime left of a foreign token": (foreign_tokens.LONGEST_LIFE, " s"),
    "a form sent to `/oauth/token`": (form.MAX_BYTES, " bytes"),
    "wrong secrets of a client from one address, a minute": (guesses.MAX_FAILURES, ""),
    "wrong secrets from one address, a minute": (guesses.MAX_FAILURES_OF_ADDRESS, ""),
    "keys of a purge": (purging.MOST_KEYS, ""),
    "bytes of the keys of a purge": (purging.MOST_BYTES, ""),
    "items that are purged one by one, of those that changed meanwhile; `catalogue` for more": (purging.MOST_ITEMS, ""),
    "purges that wait, after which changes wait in the catalogue": (purging.MOST_WAITING, ""),
    "time until a receiver has answered": (int(webhook.TOTAL_TIMEOUT), " s"),
    "pause after failures": (int(purging.LONGEST_PAUSE), " s"),
    "time that a purge is tried": (int(purging.PATIENCE.total_seconds()), " s"),
    "dead purges that are kept, for a day": (purges.MOST_DEAD, ""),
    "`PENCHANT_PURGE_URL`": (addresses.LONGEST, " characters"),
    "units of a client, a minute (`PENCHANT_RATE_CLIENT`)": (a_minute("rate_client"), ""),
    "units of a person, a minute (`PENCHANT_RATE_PERSON`)": (a_minute("rate_person"), ""),
    "units of an address, a minute (`PENCHANT_RATE_ADDRESS`)": (a_minute("rate_address"), ""),
    "units of a rate": (rates.MOST_UNITS, ""),
    "time of a rate": (rates.LONGEST_WINDOW, " s"),
    "a login name": (accounts.LONGEST_LOGIN, " characters"),
    "a password": (accounts.LONGEST_PASSWORD, " characters"),
    "wrong passwords of a login name from one address, in 15 minutes": (password_guesses.MAX_FAILURES, ""),
    "wrong passwords from one address, in 15 minutes": (password_guesses.MAX_FAILURES_OF_ADDRESS, ""),
    "wrong passwords of a login name from addresses where its owner never signed in, an hour": (
        password_guesses.MAX_FAILURES_OF_ACCOUNT,
        "",
    ),
    "sessions of an account; the oldest end": (sessions.MOST_SESSIONS, ""),
    "sign-ins of one person to one client; the oldest end": (authorizations.MOST_OF_PERSON, ""),
    "a query of a sign-in page": (people_pages.MAX_QUERY, " bytes"),
}


def test_the_page_of_limits_says_what_the_code_enforces() -> None:
    rows = re.findall(r"^\| (.+?) \| (.+?) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    said = dict(row for row in rows if row != ("what", "at most"))
    assert said == {what: f"{most:,}{unit}" for what, (most, unit) in ENFORCED.items()}
    assert len(rows) == len(said) + 9, "no row is there twice"
