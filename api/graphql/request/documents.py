"""The document store: each text is parsed, limited and validated once, and kept under the text itself."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from graphql import (
    SKIP,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLInputType,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    ValueNode,
    ValuesOfCorrectTypeRule,
    VisitorAction,
    default_field_resolver,
    default_type_resolver,
    specified_rules,
    validate,
)
from graphql.execution.collect_fields import FragmentDetails
from graphql.execution.values import VariableValues
from graphql.utilities import validate_input_literal
from graphql.validation.rules import overlapping_fields_can_be_merged
from strawberry.execution import optimized_is_awaitable
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule
from strawberry.schema.validation_rules.one_of import OneOfInputValidationRule

from api.errors import RequestRefused, WrongLiteral, refusal_of
from api.graphql.cache_policy import CachePolicy, policy_of
from api.graphql.context import Context
from api.graphql.execution.executor import Executor, Selections
from api.graphql.planning.plans import Plans
from api.graphql.request.deprecations import Deprecations
from api.graphql.request.limits import Measurement, check_limits, is_dear, measure, units_of
from api.graphql.request.multipliers import ABSENT, key_of
from api.graphql.request.parsing import DocumentInvalid, count_tokens, drop_tokens, parse_document
from api.graphql.request.variables import Inputs, read_inputs
from api.graphql.types.permissions import check_permissions
from core.errors import TooManyElements

overlapping_fields_can_be_merged.MAX_COMPLEXITY_BUDGET = 100_000  # 500,000 would take a second


class LiteralsOfCorrectType(ValuesOfCorrectTypeRule):
    """graphql-core's rule, with errors as for variables: the same code, always with a place, if only the literal's."""

    def is_valid_value_node(self, node: ValueNode, input_type: GraphQLInputType | None) -> VisitorAction:
        """Report what is wrong with a literal, and do not look into it again."""

        def report(error: GraphQLError, _: object) -> None:
            placed = [one for one in error.nodes or () if one.loc is not None]  # graphql-core's copies have no place
            self.report_error(WrongLiteral(error.message, placed or node))

        if input_type:
            validate_input_literal(node, input_type, report, None, None, self.context.hide_suggestions)
        return SKIP


RULES = (
    *(LiteralsOfCorrectType if rule is ValuesOfCorrectTypeRule else rule for rule in specified_rules),
    MaybeNullValidationRule,
    OneOfInputValidationRule,
)
_LISTS = ("recommendations", "similar", "boughtTogether", "page")  # fields that decide how long an answer takes
_MAX_COSTS = 16  # per operation
_MAX_INPUTS = 8  # per operation
_MAX_OPERATIONS = 20  # each is measured and validated with all fragments it uses
_MAX_KEPT_TOKENS: Final = 15_000  # of all kept documents together: each garbage collection looks at all of them
_OWN_TOKENS: Final = 20  # a document costs as much as these, besides its tokens


@dataclass(slots=True)
class Operation:
    """One operation of a document.

    `inputs` are those of all fields, `inputs_by_scopes` those of the fields that tokens with other scopes may read.
    `costs` has the cost and the refusal (None: allowed) for each tuple of `first` variables seen lately. `selections`
    is shared by all requests for the operation; None when directives make selections differ from request to request.
    """

    node: OperationDefinitionNode
    measured: Measurement
    inputs: Inputs
    selections: Selections | None
    deprecations: Deprecations
    cache_policy: CachePolicy | None
    costs: dict[tuple[Any, ...], tuple[int, str | None]] = field(default_factory=dict)
    inputs_by_scopes: dict[frozenset[str], Inputs] = field(default_factory=dict)
    plans: Plans = field(default_factory=Plans)
    label: str = ""  # its name in metrics
    span: str = ""  # its name in traces
    fixed_cost: int | None = None  # None: it depends on variables
    is_query: bool = False
    is_subscription: bool = False
    names: tuple[str | None, ...] = ()  # what a request may call it that sends no other operation
    units: int = 0  # of the caller's limits, where the cost is fixed
    is_usual: bool = False  # a query of fixed cost that is neither dear nor about the schema

    def __post_init__(self) -> None:
        self.label = _label(self.node)
        self.span = f"{self.node.operation.value} {self.label}"
        self.fixed_cost = None if self.measured.first_variables else self.measured.size.cost
        self.is_query = self.node.operation is OperationType.QUERY
        self.is_subscription = self.node.operation is OperationType.SUBSCRIPTION
        self.names = (None, self.name)
        self.units = units_of(self.fixed_cost or 0)
        dear = is_dear(self.is_query, self.measured.size, self.units)
        self.is_usual = self.is_query and bool(self.fixed_cost) and not dear and not self.measured.introspects

    @property
    def name(self) -> str | None:
        """The name of the operation; None when it has none."""
        return self.node.name.value if self.node.name else None


@dataclass(slots=True)
class Document:
    """A valid document, and its operations by name. The key of an operation without a name is the empty string.

    `only` is the operation of a document with one.
    """

    node: DocumentNode
    operations: dict[str, Operation]
    fragments: dict[str, FragmentDetails]
    tokens: int
    only: Operation | None = None

    def operation(self, name: str | None) -> Operation:
        """The operation with this name, or the only one; raises RequestRefused when there is no such operation."""
        if not name and self.only is not None:
            return self.only
        if not name:
            raise RequestRefused("BAD_USER_INPUT", "The document has several operations: send operationName.")
        if name not in self.operations:
            raise RequestRefused("BAD_USER_INPUT", "The document has no operation with this operationName.")
        return self.operations[name]


class Documents:
    """A store of documents by text, bounded by the sum of their tokens. The least recently used is dropped first."""

    def __init__(self, schema: GraphQLSchema, max_tokens: int = _MAX_KEPT_TOKENS, max_length: int = 8_000) -> None:
        self._schema = schema
        self._max_tokens = max_tokens
        self._max_length = max_length  # characters of a text; longer ones are not kept
        self._kept: OrderedDict[str, Document] = OrderedDict()
        self.tokens = 0  # of the kept documents

    def __len__(self) -> int:
        return len(self._kept)

    def read(self, text: str, *, hide_suggestions: bool = True) -> Document:
        """The document of `text`, kept or prepared now; raises as `prepare`."""
        return self.find(text) or self.keep(text, self.prepare(text, hide_suggestions))

    def find(self, text: str) -> Document | None:
        """The document of `text` when it is kept."""
        document = self._kept.get(text)
        if document is not None:
            self._kept.move_to_end(text)
        return document

    def keep(self, text: str, document: Document) -> Document:
        """Keep the document of `text`, unless the text is long, and return the document."""
        if len(text) > self._max_length or text in self._kept:
            return document
        self._kept[text] = document
        self.tokens += document.tokens + _OWN_TOKENS
        while self.tokens > self._max_tokens:
            _, dropped = self._kept.popitem(last=False)
            self.tokens -= dropped.tokens + _OWN_TOKENS
        return document

    def prepare(self, text: str, hide_suggestions: bool = True) -> Document:
        """Parse, limit and validate `text`, without the store: any thread may do it.

        Raises DocumentInvalid, or RequestRefused when a limit is passed. `hide_suggestions` keeps "did you mean" out of
        the errors: suggestions reveal the names in the schema.
        """
        node = parse_document(text)
        measured = self._measure(node)
        errors = validate(self._schema, node, RULES, max_errors=5, hide_suggestions=hide_suggestions)
        if any(error.message == "Validation aborted." for error in errors):  # what graphql-core says at its own limits
            raise RequestRefused("QUERY_TOO_COMPLEX", "The document repeats its fields too often.")
        if errors:
            only_literals = all(isinstance(error, WrongLiteral) for error in errors)
            raise DocumentInvalid("BAD_USER_INPUT" if only_literals else "GRAPHQL_VALIDATION_FAILED", errors)
        fragments = {
            definition.name.value: FragmentDetails(definition)
            for definition in node.definitions
            if isinstance(definition, FragmentDefinitionNode)
        }
        document = Document(node, {}, fragments, count_tokens(node))
        for operation, size in measured:
            inputs = self._read_inputs(document, operation)
            deprecations = Deprecations(self._schema, _definitions(document), operation)
            policy = policy_of(self._schema, _definitions(document), operation)
            selections = None if size.directives else Selections()
            known = Operation(operation, size, inputs, selections, deprecations, policy)
            document.operations[known.name or ""] = known
        document.only = known if len(document.operations) == 1 else None
        drop_tokens(node)
        return document

    def cost(self, document: Document, operation: Operation, variables: Mapping[str, Any]) -> int:
        """The cost of the operation with these values of its `first` variables. Raises RequestRefused for too much."""
        if operation.fixed_cost is not None:
            return operation.fixed_cost
        key = tuple(key_of(variables.get(name, ABSENT)) for name in sorted(operation.measured.first_variables))
        if key not in operation.costs:
            if len(operation.costs) >= _MAX_COSTS:
                operation.costs.clear()
            measured = measure(self._schema, document.node, operation.node, variables)
            operation.costs[key] = measured.size.cost, _refusal(measured)
        cost, refusal = operation.costs[key]
        if refusal is not None:
            raise RequestRefused("QUERY_TOO_COMPLEX", refusal)
        return cost

    def inputs(self, document: Document, operation: Operation, scopes: frozenset[str]) -> Inputs:
        """The inputs of the fields that a token with these scopes may read."""
        needed = operation.inputs.scopes
        if needed <= scopes:
            return operation.inputs
        found = operation.inputs_by_scopes.get(needed & scopes)
        if found is None:
            if len(operation.inputs_by_scopes) >= _MAX_INPUTS:
                operation.inputs_by_scopes.clear()
            found = self._read_inputs(document, operation.node, needed & scopes)
            operation.inputs_by_scopes[needed & scopes] = found
        return found

    def _measure(self, node: DocumentNode) -> list[tuple[OperationDefinitionNode, Measurement]]:
        operations = [one for one in node.definitions if isinstance(one, OperationDefinitionNode)]
        if len(operations) > _MAX_OPERATIONS:
            raise RequestRefused("QUERY_TOO_COMPLEX", f"The document has more than {_MAX_OPERATIONS} operations.")
        found = []
        for operation in operations:
            measured = measure(self._schema, node, operation, {})
            check_limits(measured)
            found.append((operation, measured))
        return found

    def _read_inputs(
        self, document: Document, operation: OperationDefinitionNode, scopes: frozenset[str] | None = None
    ) -> Inputs:
        try:
            return read_inputs(self._schema, _definitions(document), operation, scopes)
        except GraphQLError as error:
            raise DocumentInvalid("BAD_USER_INPUT", [error]) from None
        except TooManyElements as error:
            raise refusal_of(error) from None


def executor_of(
    schema: GraphQLSchema, document: Document, operation: Operation, variables: VariableValues, context: Context
) -> Executor:
    """The executor of an operation with these variables, for the viewer of the context."""
    return Executor(
        schema,
        {name: details.definition for name, details in document.fragments.items()},
        document.fragments,
        None,
        context,
        operation.node,
        variables,
        default_field_resolver,
        default_type_resolver,
        default_field_resolver,
        selections=operation.selections,
        check=partial(check_permissions, context.viewer),
        is_awaitable=optimized_is_awaitable,
        hide_suggestions="schema:read" not in context.viewer.scopes,
    )


def _definitions(document: Document) -> dict[str, FragmentDefinitionNode]:
    """The fragments by name."""
    return {name: details.definition for name, details in document.fragments.items()}


def _label(operation: OperationDefinitionNode) -> str:
    """The only root field and the lists under it, such as `user.recommendations`; `several` for more root fields."""
    roots = operation.selection_set.selections
    if len(roots) != 1 or not isinstance(roots[0], FieldNode):
        return "several"
    inside = roots[0].selection_set.selections if roots[0].selection_set else ()
    names = {field.name.value for field in inside if isinstance(field, FieldNode)}
    return ".".join((roots[0].name.value, *(name for name in _LISTS if name in names)))


def _refusal(measured: Measurement) -> str | None:
    try:
        check_limits(measured)
    except RequestRefused as refusal:
        return str(refusal)
    return None
