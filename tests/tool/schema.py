"""schema.py -- as much of JSON Schema as docs/lab.schema.json uses, and no more.

A keyword it does not know is an error, so that a schema cannot say what nobody checks.
"""
import re

TYPES = {
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str),
    "boolean": lambda v: isinstance(v, bool),
    "null": lambda v: v is None,
    "integer": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "number": lambda v: isinstance(v, (int, float)) and not isinstance(v, bool),
}
KNOWN = {
    "$schema", "$defs", "$ref", "title", "description", "oneOf", "const", "enum", "type", "pattern",
    "minimum", "maximum", "properties", "required", "additionalProperties", "items",
}


def same(a, b):
    return a == b and isinstance(a, bool) == isinstance(b, bool)


class Schema:
    def __init__(self, root):
        self.root = root

    def faults(self, value):
        """What is wrong with a value, in words; empty if nothing is."""
        return list(self.check(self.root, value, "$"))

    def resolve(self, reference):
        at = self.root
        for name in reference.removeprefix("#/").split("/"):
            at = at[name]
        return at

    def check(self, schema, value, where):
        unknown = set(schema) - KNOWN
        if unknown:
            raise ValueError(f"this validator does not know {unknown}")
        if "$ref" in schema:
            yield from self.check(self.resolve(schema["$ref"]), value, where)
        if "oneOf" in schema:
            tries = [list(self.check(one, value, where)) for one in schema["oneOf"]]
            if sum(not faults for faults in tries) != 1:
                yield f"{where} fits {sum(not f for f in tries)} of the alternatives: {tries}"
        if "const" in schema and not same(value, schema["const"]):
            yield f"{where} is {value!r}, not {schema['const']!r}"
        if "enum" in schema and not any(same(value, one) for one in schema["enum"]):
            yield f"{where} is {value!r}, which is none of {schema['enum']}"
        types = schema.get("type", [])
        types = [types] if isinstance(types, str) else types
        if types and not any(TYPES[name](value) for name in types):
            yield f"{where} is {value!r}, no {' or '.join(types)}"
            return
        yield from self.check_scalar(schema, value, where)
        if isinstance(value, dict):
            yield from self.check_object(schema, value, where)
        if isinstance(value, list) and "items" in schema:
            for index, one in enumerate(value):
                yield from self.check(schema["items"], one, f"{where}[{index}]")

    @staticmethod
    def check_scalar(schema, value, where):
        if "pattern" in schema and not re.search(schema["pattern"], value):
            yield f"{where} is {value!r}, unlike {schema['pattern']}"
        if "minimum" in schema and value < schema["minimum"]:
            yield f"{where} is {value}, less than {schema['minimum']}"
        if "maximum" in schema and value > schema["maximum"]:
            yield f"{where} is {value}, more than {schema['maximum']}"

    def check_object(self, schema, value, where):
        properties = schema.get("properties", {})
        more = schema.get("additionalProperties", True)
        for name in schema.get("required", []):
            if name not in value:
                yield f"{where} lacks {name}"
        for name, one in value.items():
            if name in properties:
                yield from self.check(properties[name], one, f"{where}.{name}")
            elif more is False:
                yield f"{where} has {name}"
            elif isinstance(more, dict):
                yield from self.check(more, one, f"{where}.{name}")
