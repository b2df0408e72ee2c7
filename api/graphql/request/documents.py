"""The document store: each text is parsed, limited and validated once, and kept under the text itself."""

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
from api.graphql.request.limits import MAX_TOKENS, Measurement, check_limits, measure

overlapping_fields_can_be_merged.MAX_COMPLEXITY_BUDGET = 100_000  # 500,000 would block the event loop for a second

RULES = (*specified_rules, MaybeNullValidationRule, OneOfInputValidationRule)
_LISTS = ("recommendations", "similar")  # fields that decide how long an answer takes
_MAX_COSTS = 256  # per operation
_MAX_OPERATIONS = 20  # each is measured and validated with all fragments it uses


class DocumentInvalid(RequestRefused):
    """The document or its variables are wrong; `errors` has every reason.

    GRAPHQL_PARSE_FAILED: the text is not GraphQL. GRAPHQL_VALIDATION_FAILED: it does not match the schema.
    BAD_USER_INPUT: the variables do not match the operation.
    """

    def __init__(self, code: str, errors: list[GraphQLError]) -> None:
        super().__init__(code, errors[0].message)
        self.errors = errors


@dataclass(slots=True)
class Operation:
    """One operation of a document.

    `costs` has the refusal (None: allowed) for each tuple of `first` variables seen so far. `selections` is shared by
    all requests for the operation; None when directives make selections differ from request to request.
    """

    node: OperationDefinitionNode
    measured: Measurement
    selections: Selections | None
    costs: dict[tuple[Any, ...], RequestRefused | None] = field(default_factory=dict)
    label: str = ""  # its name in metrics and spans

    def __post_init__(self) -> None:
        self.label = _label(self.node)

    @property
    def name(self) -> str | None:
        """The name of the operation; None when it has none."""
        return self.node.name.value if self.node.name else None

    @property
    def is_query(self) -> bool:
        """Whether it is a query."""
        return self.node.operation is OperationType.QUERY


@dataclass(slots=True)
class Document:
    """A valid document, and its operations by name. The key of an operation without a name is the empty string."""

    node: DocumentNode
    operations: dict[str, Operation]

    def operation(self, name: str | None) -> Operation:
        """The operation with this name, or the only one; raises RequestRefused when there is no such operation."""
        if not name and len(self.operations) == 1:
            return next(iter(self.operations.values()))
        if not name:
            raise RequestRefused("BAD_USER_INPUT", "The document has several operations: send operationName.")
        if name not in self.operations:
            raise RequestRefused("BAD_USER_INPUT", "The document has no operation with this operationName.")
        return self.operations[name]


class Documents:
    """A bounded store of documents by text. The least recently used one is dropped first; long texts are not kept."""

    def __init__(self, schema: GraphQLSchema, size: int = 500, max_length: int = 8_000) -> None:
        self._schema = schema
        self._size = size
        self._max_length = max_length
        self._kept: OrderedDict[str, Document] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def read(self, text: str, *, hide_suggestions: bool = True) -> Document:
        """The document of `text`; raises DocumentInvalid, or RequestRefused when a limit is passed.

        `hide_suggestions` keeps "did you mean" out of the errors: suggestions reveal the names in the schema.
        """
        document = self._kept.get(text)
        if document is None:
            document = self._prepare(text, hide_suggestions)
            if len(text) <= self._max_length:
                self._keep(text, document)
        else:
            self._kept.move_to_end(text)
        return document

    def check_cost(self, document: Document, operation: Operation, variables: Mapping[str, Any]) -> None:
        """Raise RequestRefused when the operation costs too much with these values of its `first` variables."""
        if not operation.measured.first_variables:
            return
        key = tuple(_number(variables.get(name)) for name in sorted(operation.measured.first_variables))
        if key not in operation.costs:
            if len(operation.costs) >= _MAX_COSTS:
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
            raise RequestRefused("QUERY_TOO_COMPLEX", "The fragments of the document are nested too deeply.") from None
        errors = validate(self._schema, node, RULES, max_errors=5, hide_suggestions=hide_suggestions)
        if any(error.message == "Validation aborted." for error in errors):  # what graphql-core says at its own limits
            raise RequestRefused("QUERY_TOO_COMPLEX", "The document repeats its fields too often.")
        if errors:
            raise DocumentInvalid("GRAPHQL_VALIDATION_FAILED", errors)
        return Document(node, operations)

    def _operations(self, node: DocumentNode) -> dict[str, Operation]:
        found = {}
        for definition in node.definitions:
            if isinstance(definition, OperationDefinitionNode):
                measured = measure(self._schema, node, definition, {})
                check_limits(measured)
                selections = None if measured.directives else Selections()
                operation = Operation(definition, measured, selections)
                found[operation.name or ""] = operation
            if len(found) > _MAX_OPERATIONS:
                raise RequestRefused("QUERY_TOO_COMPLEX", f"The document has more than {_MAX_OPERATIONS} operations.")
        return found


def _label(operation: OperationDefinitionNode) -> str:
    """The only root field and the lists under it, such as `user.recommendations`; `several` for more root fields."""
    roots = operation.selection_set.selections
    if len(roots) != 1 or not isinstance(roots[0], FieldNode):
        return "several"
    inside = roots[0].selection_set.selections if roots[0].selection_set else ()
    names = {field.name.value for field in inside if isinstance(field, FieldNode)}
    return ".".join((roots[0].name.value, *(name for name in _LISTS if name in names)))


def _parse(text: str) -> DocumentNode:
    try:
        return parse(text, max_lexical_tokens=MAX_TOKENS)
    except GraphQLSyntaxError as error:
        if error.message.endswith("Parsing aborted."):  # what graphql-core says at its token limit
            raise RequestRefused("QUERY_TOO_COMPLEX", f"The document has more than {MAX_TOKENS} tokens.") from None
        raise DocumentInvalid("GRAPHQL_PARSE_FAILED", [error]) from None


def _refusal(measured: Measurement) -> RequestRefused | None:
    try:
        check_limits(measured)
    except RequestRefused as refusal:
        return refusal
    return None


def _number(value: Any) -> Any:
    """The value of a variable as part of a key: every value that is not a number has the same cost."""
    return value if isinstance(value, int | float) else None
