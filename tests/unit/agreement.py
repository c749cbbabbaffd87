#!/usr/bin/python3
"""Our decoders and an independent validator must agree: on every vector, and on thousands of seeded mutations.

    agreement.py DECODE_CHECK [MUTATIONS] [SEED]

MUTATIONS of messages, and as many of a lease's line. The independent side is Debian's msgpack and jsonschema with
schemas/*.schema.json, and below, written without a look at the C code, what JSON Schema cannot say: size, depth and number
of values, a key twice, bytes of a text, floats that are whole numbers, argv and env together, clashing file paths, and
which JSON a lease's line stands for.

It proves itself, too: every limit of every schema is moved by one, both ways, and every other rule is left out; the
vectors have to catch each of those schemas.
"""
import base64
import copy
import json
import os
import re
import struct
import subprocess
import sys
import threading

import jsonschema
import msgpack
from mutations import line_mutations, mutations
from vectors import ROOT, generate

KINDS = ("task", "result", "output", "control", "lease")
LIMITS = {"task": (1000000, 8, 4096), "result": (1000000, 8, 4096), "output": (262144 + 1024, 4, 256),
          "control": (1024, 4, 256)}


# --- the independent validator -------------------------------------------------------------------------------------

class Opaque:
    """What JSON cannot hold: no type of a schema fits it."""


class Base64(str):
    """Bytes in the JSON form; `size` is theirs."""


class Map(list):
    """A map as msgpack has it: pairs."""


def is_text(value):
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:  # a surrogate escape: not UTF-8
        return False
    return True


def measure(value, depth=0):
    """(deepest nesting, number of values)"""
    if not isinstance(value, list):
        return depth, 1
    children = [part for pair in value for part in pair] if isinstance(value, Map) else value
    measured = [measure(child, depth + 1) for child in children]
    return max([depth + 1] + [deep for deep, _ in measured]), 1 + sum(n for _, n in measured)


def resolve(schema, root):
    while "$ref" in schema:
        target = root
        for step in schema["$ref"][2:].split("/"):
            target = target[step]
        schema = {**target, **{key: value for key, value in schema.items() if key != "$ref"}}
    return schema


def to_json(value, schema, root):
    schema = resolve(schema, root)
    if schema.get("contentEncoding") == "base64" and isinstance(value, (bytes, str)):
        raw = value if isinstance(value, bytes) else value.encode(errors="surrogateescape")
        text = Base64(base64.b64encode(raw).decode())
        text.size = len(raw)
        return text
    if isinstance(value, Map):
        keys = [key for key, _ in value]
        if not all(is_text(key) for key in keys) or len(set(keys)) != len(keys):
            return Opaque()
        if "propertyNames" not in schema and any("\0" in key for key in keys):  # else the schema says it
            return Opaque()
        properties, others = schema.get("properties", {}), schema.get("additionalProperties", {})
        return {key: to_json(inner, properties.get(key, others if isinstance(others, dict) else {}), root)
                for key, inner in value}
    if isinstance(value, list):
        items = schema.get("items", {})
        return [to_json(inner, items, root) for inner in value]
    if value is None or isinstance(value, (bool, int)) or is_text(value):
        return value
    return Opaque()


def max_bytes(_validator, limit, instance, _schema):
    size = instance.size if isinstance(instance, Base64) else len(instance.encode()) if isinstance(instance, str) else 0
    if size > limit:
        yield jsonschema.ValidationError(f"{size} bytes, at most {limit}")


def pattern(_validator, regex, instance, _schema):
    """As ECMA-262 has it, where '$' is the end only; Python's allows a newline after it."""
    if isinstance(instance, str) and not re.search(regex.replace("$", r"\Z"), instance):
        yield jsonschema.ValidationError("does not match the pattern")


Validator = jsonschema.validators.extend(jsonschema.Draft202012Validator, {"maxBytes": max_bytes, "pattern": pattern})


def clash(a, b):
    a, b = a.split("/"), b.split("/")
    shorter = min(len(a), len(b))
    return a[:shorter] == b[:shorter]


def is_task_coherent(task):
    strings = task["argv"] + [f"{key}={value}" for key, value in task.get("env", {}).items()]
    paths = [file["path"] for file in task.get("files", [])]
    return (sum(len(text.encode()) + 1 for text in strings) <= 131072 and
            not any(clash(a, b) for i, a in enumerate(paths) for b in paths[:i]))


LEASE_FIELDS = "state owner token attempt host slot expires_ms topic partition offset victim key content vm_id tenant".split()
LEASE_NUMBERS = "token attempt slot expires_ms partition offset".split()


def lease_to_json(line):
    """Any byte is a character here: the schema has to refuse those that a line must not hold."""
    words = line.decode("latin-1").split(" ")
    message = dict(zip(LEASE_FIELDS, words))
    message.update({"more": word for word in words[len(LEASE_FIELDS):]})
    for field in LEASE_NUMBERS:
        if re.fullmatch("0|-?[1-9][0-9]*", message.get(field, "")):
            message[field] = int(message[field])
    return message


class Independent:
    def __init__(self, schemas, limits=None):
        self.schemas, self.limits = schemas, limits or LIMITS
        self.validators = {kind: Validator(schema) for kind, schema in schemas.items()}

    def read(self, kind, data):
        """The JSON form, or None when the message must be refused."""
        message = self.form(kind, data)
        if message is None or not self.validators[kind].is_valid(message):
            return None
        return message if kind != "task" or is_task_coherent(message) else None

    def form(self, kind, data):
        """The JSON form before the schema is asked, or None when there is none."""
        if kind == "lease":
            return lease_to_json(data)
        size, depth, nodes = self.limits[kind]
        if len(data) > size:
            return None
        try:
            value = msgpack.unpackb(data, raw=False, unicode_errors="surrogateescape", strict_map_key=False,
                                    object_pairs_hook=Map, ext_hook=lambda *_: Opaque())
        except (ValueError, msgpack.UnpackException, RecursionError):
            return None
        deepest, n = measure(value)
        if deepest > depth or n > nodes:
            return None
        return to_json(value, self.schemas[kind], self.schemas[kind])


def load_schemas():
    schemas = {}
    for kind in KINDS:
        with open(os.path.join(ROOT, "schemas", f"{kind}.schema.json"), encoding="utf-8") as file:
            schemas[kind] = json.load(file)
        jsonschema.Draft202012Validator.check_schema(schemas[kind])
    return schemas


# --- our decoders --------------------------------------------------------------------------------------------------

def ask_decoders(program, cases):
    """[(is_good, again or None, field, message)] for [(kind, bytes)]"""
    stream = b"".join(kind[0].encode() + struct.pack(">I", len(data)) + data for kind, data in cases)
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        def feed():
            process.stdin.write(stream)
            process.stdin.close()
        feeder = threading.Thread(target=feed)
        feeder.start()
        lines = process.stdout.read().decode().splitlines()
        feeder.join()
        if process.wait() != 0 or len(lines) != len(cases):
            sys.exit(f"{program} ended with {process.returncode} after {len(lines)} of {len(cases)} records")
    answers = []
    for line in lines:
        word, _, rest = line.partition(" ")
        field, _, message = rest.partition("\t")
        answers.append((True, bytes.fromhex(rest), "", "") if word == "ok" else (False, None, field, message))
    return answers


# --- the checks ----------------------------------------------------------------------------------------------------

class Tally:
    def __init__(self):
        self.failures = 0

    def fail(self, text):
        self.failures += 1
        if self.failures <= 20:
            print("FAIL:", text)


def kind_of(name):
    return name.split("-", 1)[0]


def vectors():
    """[(name, bytes, is_good, field or meaning)], those too large to keep included."""
    made = [(name, data, True, meaning) for name, data, meaning in generate.good_cases()]
    made += [(name, data, False, field) for name, data, field, _ in generate.bad_cases()]
    made += [(name, data, field is None, field) for name, data, field in generate.large_cases()]
    return made


def check_vectors(program, independent, tally):
    cases = vectors()
    answers = ask_decoders(program, [(kind_of(name), data) for name, data, *_ in cases])
    for (name, data, is_good, about), (decoded, again, field, message) in zip(cases, answers):
        if decoded != is_good:
            tally.fail(f"{name}: our decoder says {'ok' if decoded else field + ': ' + message}")
        elif not is_good and (field != about or not message):
            tally.fail(f"{name}: our decoder names the field '{field}', not '{about}' ({message})")
        if kind_of(name) == "frame":
            continue
        if (independent.read(kind_of(name), data) is not None) != is_good:
            tally.fail(f"{name}: the independent validator says {'bad' if is_good else 'ok'}")
        if decoded and isinstance(about, dict):
            check_meaning(name, independent.read(kind_of(name), again), about, independent, tally)
    print(f"vectors: {len(cases)} of them, {sum(is_good for _, _, is_good, _ in cases)} good")


def understood(kind, message, schemas):
    """Of a message what a reader keeps, with the defaults of what it leaves out."""
    if kind == "task":
        message = {**generate.TASK_DEFAULTS, **message}
        return {**message, "files": [{"mode": 0o644, **file} for file in message["files"]]}
    if kind == "lease":
        return {"victim": "-", "key": "-", "vm_id": "-", "tenant": "-", **message, "slot": 0, "content": ""}
    return {field: value for field, value in message.items() if field in schemas[kind]["properties"]}


def check_meaning(name, again, meaning, independent, tally):
    """What our decoder understood, encoded again, must mean what the vector says."""
    if again is None:
        tally.fail(f"{name}: encoded again it is refused by the independent validator")
    elif understood(kind_of(name), again, independent.schemas) != understood(kind_of(name), meaning, independent.schemas):
        tally.fail(f"{name}: understood as {json.dumps(again)[:300]}, means {json.dumps(meaning)[:300]}")


def is_same(kind, again, expected, schemas):
    """A result's absent fields are written with defaults and its texts are mended: there numbers and words are compared."""
    again, expected = understood(kind, again, schemas), understood(kind, expected, schemas)
    if kind != "result":
        return again == expected
    return all(again.get(field) == value for field, value in expected.items()
               if (value is None or isinstance(value, int) or field in ("id", "event", "kind", "outcome", "ran"))
               and (field in again or again["event"] != "started"))


def check_mutation(kind, data, answer, independent, tally):
    decoded, again, field, message = answer
    expected = independent.read(kind, data)
    about = f"{kind} {data.hex()[:2000]}"
    if decoded != (expected is not None):
        tally.fail(f"{about}: ours {'ok' if decoded else field + ': ' + message}, theirs the contrary")
    elif decoded:
        again = independent.read(kind, again)
        if again is None:
            tally.fail(f"{about}: encoded again it is refused by the independent validator")
        elif not is_same(kind, again, expected, independent.schemas):
            tally.fail(f"{about}: understood differently")
    elif not message:
        tally.fail(f"{about}: refused without a reason")


def check_mutations(program, independent, n, seed, tally):
    cases = list(mutations(n, seed)) + list(line_mutations(n, seed))
    answers = ask_decoders(program, cases)
    good, bad = dict.fromkeys(KINDS, 0), dict.fromkeys(KINDS, 0)
    for (kind, data), answer in zip(cases, answers):
        (good if answer[0] else bad)[kind] += 1
        check_mutation(kind, data, answer, independent, tally)
    counts = ", ".join(f"{kind} {good[kind]}/{good[kind] + bad[kind]}" for kind in KINDS)
    print(f"mutations: {len(cases)} with seed {seed}, accepted of each kind: {counts}")
    for kind in KINDS:
        if good[kind] < bad[kind] // 50 or not good[kind] or not bad[kind]:
            tally.fail(f"{good[kind]} mutations of a {kind} are good, {bad[kind]} bad: they prove nothing")


LIMIT_RULES = ("maximum", "maxItems", "maxProperties", "maxBytes", "minimum", "minItems", "minLength")
OTHER_RULES = ("type", "pattern", "enum", "const", "additionalProperties", "uniqueItems", "if", "then", "else", "not", "propertyNames",
               "prefixItems", "items", "allOf", "$ref")


def walk(node, path=()):
    """Every (path, value) inside."""
    for key, inner in node.items() if isinstance(node, dict) else enumerate(node):
        yield (*path, key), inner
        if isinstance(inner, (dict, list)):
            yield from walk(inner, (*path, key))


def holder_of(schema, path):
    for part in path[:-1]:
        schema = schema[part]
    return schema


def is_field(path):
    """Not a rule, but the name of what rules are about."""
    return len(path) > 1 and path[-2] in ("properties", "$defs")


def moved_schemas(schema):
    """(what, schema) for each limit, moved by one in both directions."""
    for path, limit in walk(schema):
        for step in (1, -1) if path[-1] in LIMIT_RULES and not is_field(path) else ():
            broken = copy.deepcopy(schema)
            holder_of(broken, path)[path[-1]] = limit + step
            if limit + step >= 0 or path[-1] == "minimum":
                yield f"{'.'.join(map(str, path))} {step:+d}", broken


def is_given(kind, path, rule):
    """A lease's line is always an object of texts, of which only the end can be missing."""
    return kind == "lease" and (path[-1] == "type" and rule in ("object", "string") or
                                path[-2:-1] == ("required",) and rule != "offset")


def loosened_schemas(kind, schema):
    """(what, schema) for each rule that is no limit, left out, and each word of a list of words."""
    for path, rule in walk(schema):
        is_rule = path[-1] in OTHER_RULES and not is_field(path) or path[-2:-1] in (("required",), ("enum",))
        if is_rule and not is_given(kind, path, rule):
            broken = copy.deepcopy(schema)
            del holder_of(broken, path)[path[-1]]
            yield f"{'.'.join(map(str, path))} without {json.dumps(rule)[:60]}", broken


def check_whole_message_limits(schemas, tally):
    """A task or control message with every field it may have stays far from these."""
    for kind in ("result", "output"):
        cases = [(data, is_good) for name, data, is_good, _ in vectors() if kind_of(name) == kind]
        for i, what in enumerate(("bytes", "depth", "values")):
            for step in (1, -1):
                moved = [limit + step * (i == j) for j, limit in enumerate(LIMITS[kind])]
                independent = Independent(schemas, {**LIMITS, kind: moved})
                if all((independent.read(kind, data) is not None) == is_good for data, is_good in cases):
                    tally.fail(f"no vector notices a {kind}'s limit of {what} {step:+d}")


def check_itself(schemas, tally):
    """A schema that is wrong anywhere must disagree with some vector."""
    independent, counts = Independent(schemas), []
    for kind in KINDS:
        forms = [(independent.form(kind, data), is_good) for name, data, is_good, _ in vectors() if kind_of(name) == kind]
        forms = [(form, is_good) for form, is_good in forms
                 if form is not None and independent.validators[kind].is_valid(form) == is_good]
        moved, loosened = list(moved_schemas(schemas[kind])), list(loosened_schemas(kind, schemas[kind]))
        counts.append(f"{kind} {len(moved)} + {len(loosened)}")
        for what, broken in moved + loosened:
            validator = Validator(broken)
            if all(validator.is_valid(form) == is_good for form, is_good in forms):
                tally.fail(f"no vector notices the {kind} schema with {what}")
        if not moved or not loosened:
            tally.fail(f"the self-check found nothing to break in the {kind} schema")
    print(f"self-check: schemas with a limit off by one + with a rule left out: {', '.join(counts)}")


def main():
    program = sys.argv[1]
    n = int(sys.argv[2]) if len(sys.argv) > 2 else 6000
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 20261123
    schemas, tally = load_schemas(), Tally()
    independent = Independent(schemas)
    check_vectors(program, independent, tally)
    check_mutations(program, independent, n, seed, tally)
    check_itself(schemas, tally)
    check_whole_message_limits(schemas, tally)
    print(f"{tally.failures} failures")
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
