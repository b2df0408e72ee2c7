"""Query texts, each parsed, limited and validated once and kept in a bounded store under the text itself."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    GraphQLError,
    GraphQLSchema,
    GraphQLSyntaxError,
    OperationDefinitionNode,
    OperationType,
    parse,
    specified_rules,
    validate,
)
from graphql.validation.rules import overlapping_fields_can_be_merged
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule
from strawberry.schema.validation_rules.one_of import OneOfInputValidationRule

from api.errors import RequestRefused
from api.graphql.execution.executor import Selections
from api.graphql.request.limits import TOKENS, Measure, check, measure

overlapping_fields_can_be_merged.MAX_COMPLEXITY_BUDGET = 100_000  # five times as much is a second of the event loop

RULES = (*specified_rules, MaybeNullValidationRule, OneOfInputValidationRule)
_LISTS = ("recommendations", "similar")  # they decide how long an answer takes
_MOST_COSTS = 256
_MOST_OPERATIONS = 20  # each is weighed and validated with all the fragments it reaches


class DocumentInvalid(RequestRefused):
    """A text that is not GraphQL (`GRAPHQL_PARSE_FAILED`) or not of our schema (`GRAPHQL_VALIDATION_FAILED`)."""

    def __init__(self, code: str, errors: list[GraphQLError]) -> None:
        super().__init__(code, errors[0].message)
        self.errors = errors


@dataclass(slots=True)
class Operation:
    """One operation of a document.

    `costs` remembers what it cost with which `first` variables; `selections` what executing it worked out, None when
    directives make that differ from request to request.
    """

    node: OperationDefinitionNode
    measured: Measure
    selections: Selections | None
    costs: dict[tuple[Any, ...], RequestRefused | None] = field(default_factory=dict)
    label: str = ""  # what its metrics and spans are called

    def __post_init__(self) -> None:
        self.label = _label(self.node)

    @property
    def name(self) -> str | None:
        """Its name, None when it has none."""
        return self.node.name.value if self.node.name else None

    @property
    def is_query(self) -> bool:
        """Whether it only reads."""
        return self.node.operation is OperationType.QUERY


@dataclass(slots=True)
class Document:
    """A valid document and its operations by name; an operation without a name is under the empty string."""

    node: DocumentNode
    operations: dict[str, Operation]

    def operation(self, name: str | None) -> Operation:
        """The operation to run; raises RequestRefused when the name does not choose exactly one."""
        if not name and len(self.operations) == 1:
            return next(iter(self.operations.values()))
        if not name:
            raise RequestRefused("BAD_USER_INPUT", "operationName must choose one of the document's operations.")
        if name not in self.operations:
            raise RequestRefused("BAD_USER_INPUT", "The document has no operation of this operationName.")
        return self.operations[name]


class Documents:
    """The store: least recently used texts go first; long texts are never kept, so its memory is bounded."""

    def __init__(self, schema: GraphQLSchema, size: int = 500, longest: int = 8_000) -> None:
        self._schema = schema
        self._size = size
        self._longest = longest
        self._kept: OrderedDict[str, Document] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def read(self, text: str, *, hide_suggestions: bool = True) -> Document:
        """The document of `text`; raises DocumentInvalid, or RequestRefused when a limit is passed.

        `hide_suggestions` keeps "did you mean" out of the errors: it would tell the schema name by name.
        """
        document = self._kept.get(text)
        if document is None:
            document = self._prepare(text, hide_suggestions)
            if len(text) <= self._longest:
                self._keep(text, document)
        else:
            self._kept.move_to_end(text)
        return document

    def check_cost(self, document: Document, operation: Operation, variables: Mapping[str, Any]) -> None:
        """Raise RequestRefused when the operation costs too much with these variables as its `first`s."""
        if not operation.measured.firsts:
            return
        key = tuple(_plain(variables.get(name)) for name in sorted(operation.measured.firsts))
        if key not in operation.costs:
            if len(operation.costs) >= _MOST_COSTS:
                operation.costs.clear()
            operation.costs[key] = _refusal(measure(self._schema, document.node, operation.node, variables))
        refusal = operation.costs[key]
        if refusal is not None:
            raise RequestRefused(refusal.code, str(refusal))

    def _keep(self, text: str, document: Document) -> None:
        self._kept[text] = document
        if len(self._kept) > self._size:
            self._kept.popitem(last=False)

    def _prepare(self, text: str, hide_suggestions: bool) -> Document:
        node = _parse(text)
        try:
            operations = self._operations(node)
        except RecursionError:
            raise RequestRefused("QUERY_TOO_COMPLEX", "The document's fragments are nested too deeply.") from None
        errors = validate(self._schema, node, RULES, max_errors=5, hide_suggestions=hide_suggestions)
        if any(error.message == "Validation aborted." for error in errors):  # graphql-core's words for its own limits
            raise RequestRefused("QUERY_TOO_COMPLEX", "The document repeats its fields too often.")
        if errors:
            raise DocumentInvalid("GRAPHQL_VALIDATION_FAILED", errors)
        return Document(node, operations)

    def _operations(self, node: DocumentNode) -> dict[str, Operation]:
        found = {}
        for definition in node.definitions:
            if isinstance(definition, OperationDefinitionNode):
                measured = measure(self._schema, node, definition, {})
                check(measured)
                selections = None if measured.directives else Selections()
                operation = Operation(definition, measured, selections)
                found[operation.name or ""] = operation
            if len(found) > _MOST_OPERATIONS:
                raise RequestRefused("QUERY_TOO_COMPLEX", f"The document has more than {_MOST_OPERATIONS} operations.")
        return found


def _label(operation: OperationDefinitionNode) -> str:
    """The operation's one root field, with the list that is asked of it; both are of our schema once it is valid."""
    roots = operation.selection_set.selections
    if len(roots) != 1 or not isinstance(roots[0], FieldNode):
        return "several"
    inside = roots[0].selection_set.selections if roots[0].selection_set else ()
    names = {field.name.value for field in inside if isinstance(field, FieldNode)}
    return ".".join((roots[0].name.value, *(name for name in _LISTS if name in names)))


def _parse(text: str) -> DocumentNode:
    try:
        return parse(text, max_lexical_tokens=TOKENS)
    except GraphQLSyntaxError as error:
        if error.message.endswith("Parsing aborted."):  # graphql-core's words for its token limit
            raise RequestRefused("QUERY_TOO_COMPLEX", f"The document has more than {TOKENS} tokens.") from None
        raise DocumentInvalid("GRAPHQL_PARSE_FAILED", [error]) from None


def _refusal(measured: Measure) -> RequestRefused | None:
    try:
        check(measured)
    except RequestRefused as refusal:
        return refusal
    return None


def _plain(value: Any) -> Any:
    """A variable as part of a key: what is no number weighs the same whatever it is."""
    return value if isinstance(value, int | float) else None
