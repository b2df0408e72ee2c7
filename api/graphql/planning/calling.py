"""Writes the Python code that runs the steps of a plan: it calls the resolvers, and completes what they return.

For `{ user(id: $id) { id recommendations { edges { rank } } } }` the code is like this, where each step also has the
lines of `_Writer._step` for its errors and for values that have to be awaited:

    def fields_0(run, source):
        data = {}
        value = user(source, info=StepInfo(run, step_1), id=run.given["id"])
        if value.__class__ is User: value = fields_1(run, value)
        ...
        return data, or the coroutine in `waiting`, or one that awaits all of them

    def fields_1(run, source):
        data = {}
        data["id"] = complete_id(source.id)
        waiting += (awaited_3(run, recommendations(source, info=StepInfo(run, step_3)), data),)
        ...

    async def awaited_3(run, value, data):
        data["recommendations"] = complete_recommendations(await value)
        return data

The order of calls and the errors are those of graphql-core, which completes whatever is unexpected.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from inspect import iscoroutinefunction
from types import CoroutineType
from typing import Any

from api.graphql.planning.running import Run, StepInfo
from api.graphql.planning.steps import Call, Fields, Step


def write_calls(fields: Fields) -> Callable[[Run, None], Any]:
    """The function that answers the root fields of an operation: it returns their data, or a coroutine of it."""
    writer = _Writer()
    root = writer.fields(fields)
    exec(compile("\n".join(writer.lines), "<plan>", "exec"), writer.names)  # noqa: S102 - as in `write_completer`
    function: Callable[[Run, None], Any] = writer.names[root]
    return function


@dataclass(slots=True)
class _Writer:
    """Collects the code of one plan, and the names that it uses."""

    lines: list[str] = field(default_factory=list)
    names: dict[str, Any] = field(default_factory=lambda: {"StepInfo": StepInfo, "CoroutineType": CoroutineType})

    def fields(self, fields: Fields) -> str:
        """The name of a function for the fields of one object. As graphql-core's `execute_fields`."""
        body = [line for step in fields.steps for line in self._step(step)]
        lines = ["data = {}", "waiting = ()", "try:", *_indented(body)]
        lines += ["except Exception:", " if waiting: run.settle(waiting)", " raise"]
        lines += ["if not waiting: return data"]
        lines += ["return waiting[0] if len(waiting) == 1 else run.all_of(waiting, data)"]
        return self._function("def", "fields", "run, source", lines)

    def _step(self, step: Step) -> list[str]:
        """Lines for one field. As graphql-core's `execute_field`."""
        key = repr(step.key)
        if step.typename:
            return [f"data[{key}] = {step.typename!r}"]
        known = self._name("step", step)
        if step.call is None:
            lines = [f"value = run.executed({known}, source)"]
        else:
            scopes = self._name("scopes", step.scopes)
            lines = [f"if not run.scopes >= {scopes}: run.check({known}, source)"] if step.permissions else []
            lines += self._call(step.call, known)
            if iscoroutinefunction(step.call.function):
                lines += [f"waiting += ({self._awaited(step, known)}(run, value, data),)", "value = None"]
            else:
                lines += self._completion(step, known, "unusual")
        lines = ["try:", *_indented(lines), f"except Exception as error: value = run.failed({known}, error)"]
        if step.call is None or not iscoroutinefunction(step.call.function):
            lines += ["if value.__class__ is CoroutineType:"]
            lines += [f" waiting += (run.stored({known}, value, data),)", " value = None"]
        return [*lines, f"data[{key}] = value"]  # None while it waits: this keeps the order of the keys

    def _call(self, call: Call, known: str) -> list[str]:
        """Lines that set `value` to what the resolver returns."""
        if call.function is None:
            return [f"value = source.{call.declared.python_name}"]
        if call.arguments.fixed is None:
            return [f"value = run.resolved({known}, source)"]
        sent = ["source"] if call.source == "" else []
        sent += [f"{call.source}=source"] if call.source else []
        if call.arguments.info is not None:
            sent.append(f"{call.arguments.info}=StepInfo(run, {known})")
        sent += [f"{name}={self._name(name, value)}" for name, value in call.arguments.fixed.items()]
        variables = {name: f"given_{name}" for name in call.arguments.variables}
        sent += [f"{name}={given}" for name, given in variables.items()]
        value = f"{self._name(call.declared.python_name, call.function)}({', '.join(sent)})"
        if not variables:
            return [f"value = {value}"]
        absent = " or ".join(f"{given} is None" for given in variables.values())  # or null: graphql-core knows more
        lines = [f"{given} = run.given.get({call.arguments.variables[name]!r})" for name, given in variables.items()]
        return [*lines, f"value = run.resolved({known}, source) if {absent} else {value}"]

    def _completion(self, step: Step, known: str, otherwise: str) -> list[str]:
        """Lines that complete `value`; the method `otherwise` of the Run does for any other value than a usual one."""
        other = f"value = run.{otherwise}({known}, value)"
        if step.complete is not None:
            return [f"try: value = {self._complete(step)}", f"except Exception: {other}"]
        if step.fields is None:
            return [other]
        lines = [f"if value.__class__ is {self._name('class', step.expected)}:"]
        lines += [f" value = {self.fields(step.fields)}(run, value)"]
        return [*lines, f"elif value is not None: {other}" if step.fields.nullable else f"else: {other}"]

    def _complete(self, step: Step) -> str:
        assert step.complete is not None
        if step.complete.constant is None:
            return f"{self._name('complete', step.complete.complete)}(value, run.variables, run.context)"
        function, given = step.complete.function, step.complete.constant
        return f"{self._name('complete', function)}(value, {self._name('arguments', given)})"

    def _awaited(self, step: Step, known: str) -> str:
        """The name of a coroutine function that awaits what a resolver returned, and puts its answer into `data`."""
        completion = [*self._completion(step, known, "completed_by_graphql_core")]
        lines = ["try:", " value = await value", *_indented(completion)]
        lines += [" if value.__class__ is CoroutineType: value = await value"]
        lines += [f"except Exception as error: value = run.failed({known}, error)"]
        lines += [f"data[{step.key!r}] = value", "return data"]
        return self._function("async def", "awaited", "run, value, data", lines)

    def _function(self, start: str, kind: str, parameters: str, body: list[str]) -> str:
        name = self._name(kind, None)
        self.lines += [f"{start} {name}({parameters}):", *_indented(body)]
        return name

    def _name(self, kind: str, value: Any) -> str:
        name = f"{kind}_{len(self.names)}"
        self.names[name] = value
        return name


def _indented(lines: list[str]) -> list[str]:
    return [f" {line}" for line in lines]
