"""The plans of one operation: they live as long as its document does."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import structlog
from graphql import GraphQLError, OperationDefinitionNode, SelectionSetNode, VariableNode
from graphql.execution.collect_fields import FragmentDetails
from graphql.execution.values import VariableValues

from api.graphql.execution.executor import Executor
from api.graphql.planning.plan import Plan, compile_plan

log = structlog.get_logger()

_COMPILED_AT: Final = 3  # requests: compiling takes as long as some requests without a plan
_MAX_PLANS: Final = 8  # per operation: the first values of the variables in its directives


class Plans:
    """The plans of one operation, by the values of the variables that include and skip selections."""

    def __init__(self) -> None:
        self._requests = 0
        self._deciding: tuple[str, ...] | None = None
        self._plans: dict[tuple[Any, ...], Plan | None] = {}
        self.only: Plan | None = None  # that of all requests, where no variable includes or skips selections

    def find(self, variables: VariableValues, make_executor: Callable[[], Executor]) -> Plan | None:
        """The plan for a request with these variables, compiled with its executor; None: graphql-core executes it."""
        if self._requests < _COMPILED_AT:
            self._requests += 1
            return None
        if self._deciding is None:
            executor = make_executor()
            self._deciding = tuple(sorted(_deciding_variables(executor.operation, executor.fragments.values())))
        key = tuple([variables.coerced.get(name) for name in self._deciding])
        if key not in self._plans:
            if len(self._plans) >= _MAX_PLANS:  # compiling more, again and again, would cost more than it saves
                return None
            self._plans[key] = _compiled(make_executor())
            self.only = None if self._deciding else self._plans[key]
        return self._plans[key]


def _compiled(executor: Executor) -> Plan | None:
    try:
        return compile_plan(executor)
    except GraphQLError:  # of a directive's argument: graphql-core reports it, in each request
        return None
    except Exception:  # an answer does not depend on plans
        log.exception("plan_not_compiled")
        return None


def _deciding_variables(operation: OperationDefinitionNode, fragments: Iterable[FragmentDetails]) -> set[str]:
    """The variables in the directives of an operation and of all fragments of its document."""
    found = set(_variables_in_directives(operation.selection_set))
    for fragment in fragments:
        found.update(_variables_in_directives(fragment.definition.selection_set))
    return found


def _variables_in_directives(selected: SelectionSetNode) -> Iterator[str]:
    for node in selected.selections:
        for directive in node.directives or ():
            for argument in directive.arguments or ():
                if isinstance(argument.value, VariableNode):
                    yield argument.value.name.value
        inner = getattr(node, "selection_set", None)
        if inner is not None:
            yield from _variables_in_directives(inner)
