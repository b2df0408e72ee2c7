"""Parses documents: too long ones are refused before, ones with too deep nesting or huge tokens right after."""

from typing import Final, cast

from graphql import DocumentNode, GraphQLError, GraphQLSyntaxError, NameNode, Node, Token, TokenKind, parse

from api.errors import RequestRefused

MAX_BYTES: Final = 64 * 1024  # of a document in UTF-8
MAX_TOKENS: Final = 2000
MAX_NESTING: Final = 64  # brackets of all kinds inside each other
MAX_NAME: Final = 100  # characters
MAX_NUMBER: Final = 100  # characters

_OPENING = frozenset({TokenKind.BRACE_L, TokenKind.BRACKET_L, TokenKind.PAREN_L})
_CLOSING = frozenset({TokenKind.BRACE_R, TokenKind.BRACKET_R, TokenKind.PAREN_R})
_LENGTHS = {
    TokenKind.NAME: ("name", MAX_NAME),
    TokenKind.INT: ("number", MAX_NUMBER),
    TokenKind.FLOAT: ("number", MAX_NUMBER),
}
_TOO_DEEP = f"The document is nested too deeply: at most {MAX_NESTING} brackets may be inside each other."


class DocumentInvalid(RequestRefused):
    """The document or its variables are wrong; `errors` has every reason.

    GRAPHQL_PARSE_FAILED: the text is not GraphQL. GRAPHQL_VALIDATION_FAILED: it does not match the schema.
    BAD_USER_INPUT: the variables, or values written into the document, do not match their types.
    """

    def __init__(self, code: str, errors: list[GraphQLError]) -> None:
        super().__init__(code, errors[0].message)
        self.errors = errors


def parse_document(text: str) -> DocumentNode:
    """The document of `text`; raises DocumentInvalid, or RequestRefused when a limit is passed."""
    if len(text) > MAX_BYTES or len(text.encode()) > MAX_BYTES:
        raise RequestRefused("QUERY_TOO_COMPLEX", f"The document is longer than {MAX_BYTES} bytes.")
    try:
        document = parse(text, max_lexical_tokens=MAX_TOKENS)
    except GraphQLSyntaxError as error:
        raise _refusal(error) from None
    _check_tokens(document)
    return document


def count_tokens(document: DocumentNode) -> int:
    """How many tokens the document has, comments included."""
    count, token = 0, _first_token(document)
    while token is not None:
        count, token = count + 1, token.next
    return count


def drop_tokens(document: DocumentNode) -> None:
    """Drop the tokens of a validated document, and the places of its names: errors name the places of other nodes.

    They are more than half of its objects, and tokens refer to each other in rings. Without them a document that leaves
    the store is freed at once, and garbage collections look at fewer objects.
    """
    token = _first_token(document)
    while token is not None:
        token.prev, token = None, token.next
    waiting: list[Node] = [document]
    while waiting:
        node = waiting.pop()
        if isinstance(node, NameNode):
            object.__setattr__(node, "loc", None)  # nodes are frozen
            continue
        if node.loc is not None:
            node.loc.start_token = node.loc.end_token = cast(Token, None)
        for key in node.keys:
            value = getattr(node, key, None)
            children = value if isinstance(value, tuple | list) else (value,)
            waiting += [child for child in children if isinstance(child, Node)]


def _refusal(error: GraphQLSyntaxError) -> RequestRefused:
    if "nested too deeply" in error.message:  # what graphql-core says at 200 levels
        return RequestRefused("QUERY_TOO_COMPLEX", _TOO_DEEP)
    if error.message.endswith("Parsing aborted."):  # what it says at its token limit
        return RequestRefused("QUERY_TOO_COMPLEX", f"The document has more than {MAX_TOKENS} tokens.")
    return DocumentInvalid("GRAPHQL_PARSE_FAILED", [error])


def _check_tokens(document: DocumentNode) -> None:
    depth, token = 0, _first_token(document)
    while token is not None:
        kind = token.kind
        if kind in _OPENING:
            depth += 1
            if depth > MAX_NESTING:
                raise RequestRefused("QUERY_TOO_COMPLEX", _TOO_DEEP)
        elif kind in _CLOSING:
            depth -= 1
        elif kind in _LENGTHS:
            _check_length(document, token)
        token = token.next


def _check_length(document: DocumentNode, token: Token) -> None:
    what, most = _LENGTHS[token.kind]
    if len(token.value or "") > most:
        assert document.loc is not None
        message = f"A {what} in the document is longer than {most} characters."
        error = GraphQLError(message, source=document.loc.source, positions=[token.start])
        raise DocumentInvalid("GRAPHQL_VALIDATION_FAILED", [error])


def _first_token(document: DocumentNode) -> Token | None:
    return document.loc.start_token if document.loc is not None else None
