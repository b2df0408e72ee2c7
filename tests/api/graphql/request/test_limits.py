"""The limits of an operation are checked before it runs, in time that is linear in its text."""

import pytest
from graphql import build_schema, parse

from api.errors import RequestRefused
from api.graphql.request.documents import Documents
from api.graphql.request.limits import measure
from api.graphql.request.parsing import DocumentInvalid
from api.graphql.types.connections import UNNAMED, UNNAMED_IN_SLOT
from engine.placements.settings import MOST_UNNAMED

SCHEMA = build_schema("""
    type Query { me: Person person(id: ID): Person people(first: Int! = 20): [Person!] }
    type Person { id: ID name: String friend: Person friends(first: Int! = 20): [Person!]
                  page(requests: [Slot!]!): [Shelf!] }
    type Shelf { key: ID people: [Person!] }
    input Slot { key: ID first: Int! = 12 }
""")


def cost(text: str) -> int:
    return Documents(SCHEMA).read(text).operation(None).measured.size.cost


def prepare(text: str, variables: dict[str, object]) -> None:
    documents = Documents(SCHEMA)
    document = documents.read(text)
    documents.cost(document, document.operation(None), variables)


def refusal(text: str, **variables: object) -> str:
    with pytest.raises(RequestRefused) as refused:
        prepare(text, variables)
    assert refused.value.code == "QUERY_TOO_COMPLEX"
    return str(refused.value)


def nested(depth: int) -> str:
    return "{ me " + "{ friend " * (depth - 2) + "{ id }" + " }" * (depth - 1)


def test_at_most_12_levels_are_allowed() -> None:
    assert Documents(SCHEMA).read(nested(12)).operation(None).measured.size.depth == 12
    assert "depth is 13" in refusal(nested(13))


def test_levels_inside_introspection_do_not_count() -> None:
    text = "{ __schema { types { fields { type " + "{ ofType " * 8 + "{ name }" + " }" * 12
    assert Documents(SCHEMA).read(text).operation(None).measured.introspects


def test_at_most_30_aliases_are_allowed() -> None:
    def aliased(count: int) -> str:
        return "{ me { " + " ".join(f"a{number}: id" for number in range(count)) + " } }"

    assert Documents(SCHEMA).read(aliased(30))
    assert "aliases is 31" in refusal(aliased(31))


def test_at_most_20_root_fields_are_allowed_fragments_included() -> None:
    assert Documents(SCHEMA).read("{ " + "me { id } " * 20 + "}")
    assert "root fields is 21" in refusal("{ " + "me { id } " * 21 + "}")
    assert "root fields is 22" in refusal("{ ...F ...F } fragment F on Query { " + "me { id } " * 11 + "}")


def test_at_most_20_directives_are_allowed() -> None:
    def directed(count: int) -> str:
        return "{ me { " + " ".join("id @include(if: true)" for _ in range(count)) + " } }"

    assert Documents(SCHEMA).read(directed(20))
    assert "directives is 21" in refusal(directed(21))
    assert "directives is 40" in refusal("{ me { id " + "@x " * 40 + "} }")


def test_at_most_2000_tokens_are_allowed() -> None:
    comments = "#\n" * 3000
    assert Documents(SCHEMA).read(comments + "{ me { " + "id " * 300 + "} }")
    assert "2000 tokens" in refusal("{ me { " + "id " * 2000 + "} }")


def test_an_object_costs_two_and_a_scalar_one() -> None:
    assert cost("{ me { id name } }") == 2 + 1 + 1


def test_first_multiplies_what_is_below_it() -> None:
    assert cost("{ people(first: 10) { id name } }") == 2 + 10 * 2
    assert cost("{ people(first: 10) { friends(first: 5) { id } } }") == 2 + 10 * (2 + 5)


def test_a_first_that_is_left_out_counts_with_its_default() -> None:
    assert cost("{ people { id } }") == 2 + 20
    assert cost("query($n: Int! = 7) { people(first: $n) { id } }") == 2 + 7


def test_a_first_that_the_placement_says_counts_with_the_most_it_may_say() -> None:
    schema = build_schema("""
        type Query { list(first: Int): [ID!] page(requests: [Slot!]!): [Shelf!] lists(first: Int): [Shelf!] }
        type Shelf { id: ID } input Slot { first: Int }
    """)
    for text, elements in {
        "{ lists { id } }": UNNAMED,
        "{ lists(first: null) { id } }": UNNAMED,
        "query ($n: Int) { lists(first: $n) { id } }": UNNAMED,
        "{ lists(first: 30) { id } }": 30,
        "{ page(requests: [{}, {first: null}, {first: 3}]) { id } }": 2 * UNNAMED_IN_SLOT + 3,
    }.items():
        assert Documents(schema).read(text).operation(None).measured.size.cost == 2 + elements, text
    assert UNNAMED == MOST_UNNAMED


def test_a_first_out_of_bounds_counts_with_the_nearest_bound() -> None:
    assert cost("{ people(first: 999999999) { id } }") == 2 + 100
    assert cost("{ people(first: -5) { id } }") == 2 + 1


def test_the_cost_includes_fragments() -> None:
    text = "{ people(first: 10) { ...F } me { ...F ... on Person { id } } } fragment F on Person { id name }"
    assert cost(text) == 2 + 10 * 2 + 2 + 2 + 1


def test_a_field_repeated_hundreds_of_times_is_refused_quickly() -> None:
    Documents(SCHEMA).read("{ me { " + "friend { id } " * 50 + "} }")
    assert "too often" in refusal("{ me { " + "friend { id } " * 390 + "} }")


def test_a_cost_above_five_thousand_is_refused() -> None:
    assert "cost is 10202" in refusal("{ people(first: 100) { friends(first: 100) { id } } }")


def test_a_cost_that_depends_on_variables_is_checked_per_request() -> None:
    text = "query($n: Int!) { people(first: $n) { friends(first: $n) { id name } } }"
    documents = Documents(SCHEMA)
    document = documents.read(text)
    documents.cost(document, document.operation(None), {"n": 20})
    assert "cost is 20202" in refusal(text, n=100)
    assert "cost is 20202" in refusal(text, n=1e300)


SLOTS = "query($s: [Slot!]! = [{key: 1, first: 2}]) { me { page(requests: $s) { people { id } } } }"
ONE = 2 + 1  # of a person on a shelf


def cost_of_page(text: str, **variables: object) -> int:
    documents = Documents(SCHEMA)
    document = documents.read(text)
    return documents.cost(document, document.operation(None), variables) - 2 - 2


def test_a_page_costs_as_much_as_the_elements_of_its_slots() -> None:
    literal = "{ me { page(requests: [{first: 5}, {key: 2}, {first: 900}]) { people { id } } } }"
    assert cost_of_page(literal) == (5 + 12 + 100) * ONE
    assert cost_of_page("{ me { page(requests: {first: 7}) { people { id } } } }") == 7 * ONE
    assert cost_of_page("{ me { page(requests: []) { people { id } } } }") == ONE


def test_the_slots_of_a_page_are_counted_in_variables_too() -> None:
    assert cost_of_page(SLOTS, s=[{"first": 5}, {}, {"first": 900}, {"first": None}]) == (5 + 12 + 100 + 12) * ONE
    assert cost_of_page(SLOTS) == 2 * ONE
    assert cost_of_page(SLOTS, s={"first": 7}) == 7 * ONE
    one = "query($o: Slot!, $n: Int!) { me { page(requests: [$o, {first: $n}]) { people { id } } } }"
    assert cost_of_page(one, o={"first": 3}, n=4) == (3 + 4) * ONE
    assert "cost is 5104" in refusal(SLOTS, s=[{"first": 100}] * 17)


def test_pages_of_other_sizes_have_other_costs_with_the_same_document() -> None:
    documents = Documents(SCHEMA)
    document = documents.read(SLOTS)
    sizes = [[{"first": 5}], [{"first": 6}], [{}], [{}, {}], [{"first": 5}]]
    found = [documents.cost(document, document.operation(None), {"s": one}) - 4 for one in sizes]
    assert found == [5 * ONE, 6 * ONE, 12 * ONE, 24 * ONE, 5 * ONE]


@pytest.mark.parametrize("value", ["20", None, [], {}, True, [[]], [None, "x", 3], [{"first": "x"}], [{"first": []}]])
def test_slots_of_another_type_are_left_to_the_executor(value: object) -> None:
    assert cost_of_page(SLOTS, s=value) >= ONE


@pytest.mark.parametrize("value", ["20", None, [], {}, True, float("inf")])
def test_a_first_variable_of_another_type_is_left_to_the_executor(value: object) -> None:
    documents = Documents(SCHEMA)
    document = documents.read("query($n: Int) { people(first: $n) { id } }")
    documents.cost(document, document.operation(None), {"n": value})


def test_the_number_of_cached_costs_is_bounded() -> None:
    documents = Documents(SCHEMA)
    document = documents.read("query($n: Int!) { people(first: $n) { id } }")
    operation = document.operation(None)
    for number in range(5000):
        documents.cost(document, operation, {"n": number})
    assert len(operation.costs) <= 256


def doubling(fragments: int) -> str:
    chain = " ".join(f"fragment F{n} on Query {{ ...F{n + 1} ...F{n + 1} }}" for n in range(fragments))
    return f"{{ ...F0 }} {chain} fragment F{fragments} on Query {{ me {{ id }} }}"


def test_doubling_fragments_are_refused_after_one_visit_per_selection() -> None:
    document = parse(doubling(40))  # unfolded, a trillion fields
    measured = measure(SCHEMA, document, document.definitions[0], {})  # type: ignore[arg-type]
    assert measured.visits == 1 + 40 * 2 + 2
    assert "root fields" in refusal(doubling(40))


def test_fragments_that_use_themselves_are_invalid() -> None:
    with pytest.raises(DocumentInvalid) as refused:
        Documents(SCHEMA).read("{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }")
    assert refused.value.code == "GRAPHQL_VALIDATION_FAILED"


def test_a_long_chain_of_fragments_is_refused() -> None:
    chain = " ".join(f"fragment F{n} on Query{{...F{n + 1}}}" for n in range(240))
    with pytest.raises(RequestRefused):
        Documents(SCHEMA).read(f"{{...F0}} {chain} fragment F240 on Query{{me{{id}}}}")


@pytest.mark.parametrize("text", ["{ me " + "{ friend " * 400, "{ person(id: " + "[" * 1500, "query($a: " + "[" * 1500])
def test_deep_nesting_is_refused(text: str) -> None:
    with pytest.raises(RequestRefused):
        Documents(SCHEMA).read(text)


def test_many_operations_in_one_document_are_refused() -> None:
    assert "operations" in refusal(" ".join(f"query q{n} {{ me {{ id }} }}" for n in range(21)))


@pytest.mark.parametrize(
    "query",
    [
        "{ a: __schema { types { name } } }",
        "{ __schema { a: types { name } b: types { name } } }",
        "{ __schema { ...T } } fragment T on __Schema { types { n: name } }",
        "{ __schema { types { name } } root { leaf } }",
        '{ a: __type(name: "Query") { name } b: __type(name: "Query") { name } }',
    ],
)
def test_introspection_is_sent_alone_and_without_aliases(query: str) -> None:
    with pytest.raises(RequestRefused, match="Introspection must be sent alone"):
        Documents(SCHEMA).prepare(query)


def test_both_introspection_fields_and_the_name_of_the_root_may_be_together() -> None:
    Documents(SCHEMA).prepare('{ __typename __schema { queryType { name } } __type(name: "Query") { name } }')


def test_a_variable_that_was_not_sent_costs_its_default_also_when_it_was_null_before() -> None:
    text = "query ($slots: [Slot!] = [{first: 50}]) { me { page(requests: $slots) { key people { id } } } }"
    documents = Documents(SCHEMA)
    document = documents.read(text)
    one = documents.cost(document, document.operation(None), {"slots": None})
    assert documents.cost(document, document.operation(None), {}) == cost(text) > 40 * one - 200


def test_a_long_list_in_a_variable_is_not_read_for_each_field_that_takes_it() -> None:
    class Slot(dict[str, int]):
        reads = 0

        def get(self, *sent: object) -> int:
            Slot.reads += 1
            return 1

    fields = " ".join(f"a{number}: page(requests: $slots) {{ people {{ id }} }}" for number in range(25))
    refusal(f"query ($slots: [Slot!]!) {{ me {{ {fields} }} }}", slots=[Slot() for _ in range(10_000)])
    assert Slot.reads < 5_000
