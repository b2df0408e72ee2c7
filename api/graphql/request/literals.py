"""Checks the values that are written into a document, with errors as for variables: same code, always with a place."""

from graphql import SKIP, GraphQLError, GraphQLInputType, ValueNode, ValuesOfCorrectTypeRule, VisitorAction
from graphql.utilities import validate_input_literal

from api.errors import WrongLiteral


class LiteralsOfCorrectType(ValuesOfCorrectTypeRule):
    """graphql-core's rule. It reports WrongLiteral; where graphql-core names no place, it is the literal."""

    def is_valid_value_node(self, node: ValueNode, input_type: GraphQLInputType | None) -> VisitorAction:
        """Report what is wrong with a literal, and do not look into it again."""

        def report(error: GraphQLError, _: object) -> None:
            placed = [one for one in error.nodes or () if one.loc is not None]  # graphql-core's copies have no place
            self.report_error(WrongLiteral(error.message, placed or node))

        if input_type:
            validate_input_literal(node, input_type, report, None, None, self.context.hide_suggestions)
        return SKIP
