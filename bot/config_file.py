"""How a TOML file and its overrides become a checked model, and how a mistake in them is told in one sentence."""

import difflib
import tomllib
import typing
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Final, Literal, TypeVar, get_args, get_origin

import annotated_types
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from bot.errors import ConfigError

PREFIX: Final = "HEDGEROW__"
VERSION: Final = 1
KEY: Final = "[key]"  # pydantic's name for the key of a table where that is wrong

Location = tuple[str | int, ...]
Table = dict[str, Any]
Override = str | tuple[str, str]
M = TypeVar("M", bound=BaseModel)


def resolve(
    model: type[M], path: Path, overrides: Sequence[Override] = (), environ: Mapping[str, str] | None = None
) -> M:
    """The file at `path`, overridden by `HEDGEROW__…` in `environ`, then by `section.key=value`, as a `model`.

    An override is what `--set` was given, or a pair of the option that stands for one key and the same text.
    Raises ConfigError for an unreadable file, bad TOML, another version, an unknown key or a bad value.
    """
    table = read(path)
    sources: dict[Location, str] = {}
    for where, key, text in _overrides(overrides, environ or {}):
        sources[_set(table, key, text, where)] = where
    found = table.get("version")
    if found != VERSION or isinstance(found, bool):
        what = "has no version" if found is None else f"has version {_shown(found)}"
        raise ConfigError(
            f"{path} {what}; this program reads version {VERSION}, so write version = {VERSION}"
        )
    try:
        return model.model_validate(table)
    except ValidationError as error:
        raise ConfigError(_sentence(model, error, path, sources)) from None


def read(path: Path) -> Table:
    """The tables of a TOML file. ConfigError where it cannot be read or is not TOML, with the line."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"cannot read the config {path}: {error.strerror or error}; check the path"
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None


def _overrides(
    overrides: Sequence[Override], environ: Mapping[str, str]
) -> Iterator[tuple[str, list[str], str]]:
    """(where it was said, key parts, value as text), the later the stronger."""
    for name in sorted(environ):
        if name.startswith(PREFIX):
            yield name, name.removeprefix(PREFIX).lower().split("__"), environ[name]
    for each in overrides:
        where, override = ("--set", each) if isinstance(each, str) else each
        key, equals, text = override.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--set '{override}' has no value; write it as --set section.key=value")
        yield where, key.strip().split("."), text.strip()


def _set(table: Table, key: list[str], text: str, where: str) -> Location:
    """Put a value into nested tables; an element of a list is named by its number or by its `name` or `plugin`."""
    here: Any = table
    location: list[str | int] = []
    for part in key[:-1]:
        step: str | int = part
        if isinstance(here, list):
            step = _element(here, part, where)
            here = here[step]
        else:
            here = here.setdefault(part, {})
        location.append(step)
        if not isinstance(here, dict | list):
            raise ConfigError(
                f"{where}: {'.'.join(key)} is not a key, since {part} is a value, not a section"
            )
    if isinstance(here, list):
        raise ConfigError(f"{where}: {'.'.join(key)} is a whole element of a list; name one of its keys")
    here[key[-1]] = _parsed(text)
    return (*location, key[-1])


def _element(elements: list[Any], part: str, where: str) -> int:
    names = [
        {str(element.get("name", "")).lower(), Path(str(element.get("plugin", ""))).stem.lower()}
        if isinstance(element, dict)
        else set()
        for element in elements
    ]
    for index, known in enumerate(names):
        if part == str(index) or part.lower() in known - {""}:
            return index
    listed = ", ".join(sorted(set().union(*names) - {""})) or "none"
    raise ConfigError(f"{where}: there is no '{part}' in that list; it has {listed}")


def _parsed(text: str) -> Any:
    """A TOML value, or the text itself where it is not one. 0x is how an address begins, never a number here."""
    if text.lower().startswith("0x"):
        return text
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return parsed["value"] if len(parsed) == 1 else text


def _sentence(
    model: type[BaseModel], error: ValidationError, path: Path, sources: Mapping[Location, str]
) -> str:
    """The first mistake, misspelt keys before all others, since they explain what else seems to be missing."""
    found = error.errors(include_url=False)
    # A list whose element is wrong is reported as too short as well; only the element is worth telling.
    problems = [
        problem
        for problem in found
        if not any(
            other["loc"] != problem["loc"] and other["loc"][: len(problem["loc"])] == problem["loc"]
            for other in found
        )
    ]
    problems.sort(key=lambda problem: problem["type"] != "extra_forbidden")
    first = problems[0]
    location = _known_location(model, first)
    where = _said_in(location, first["type"] == "extra_forbidden", sources) or str(path)
    more = f" ({len(problems) - 1} more to mend)" if len(problems) > 1 else ""
    return f"{where}: {_problem(model, location, first)}{more}"


def _said_in(location: Location, unknown: bool, sources: Mapping[Location, str]) -> str | None:
    """The override that set a key or something around it, or, for an unknown section, something in it."""
    for length in range(len(location), 0, -1):
        if location[:length] in sources:
            return sources[location[:length]]
    inside = (where for key, where in sources.items() if key[: len(location)] == location)
    return next(inside, None) if unknown else None


def _problem(model: type[BaseModel], location: Location, problem: ErrorDetails) -> str:
    key = _dotted(location)
    if problem["type"] == "extra_forbidden":
        return f"{key} is not a known key; {_suggestion(model, location)}"
    if problem["loc"][-1:] == (KEY,):
        return f"{key} is not a known key; [{_dotted(location[:-1])}] has {_names(model, location[:-1])}"
    if problem["type"] == "missing":
        return f"{key} is missing; add it ({_allowed(model, location)})"
    if problem["type"] == "value_error":
        message = str(problem["ctx"]["error"])
        return f"{key}: {message}" if key else message
    return f"{key} is {_shown(problem['input'])}, but must be {_allowed(model, location) or problem['msg']}"


def _known_location(model: type[BaseModel], problem: ErrorDetails) -> Location:
    """The key an error is about, without pydantic's notes on which branch of a union it tried."""
    location: list[str | int] = []
    here: Any = model
    parts = problem["loc"]
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        tables = _models(here)
        if isinstance(part, int):
            location.append(part)
            here = _inner(here)
        elif any(part in table.model_fields for table in tables):
            location.append(part)
            here = next(table.model_fields[part] for table in tables if part in table.model_fields)
        elif part != KEY and (named := _named(here)) is not None:
            location.append(part)
            here = named[1]
        elif last and problem["type"] == "extra_forbidden":
            location.append(part)
    return tuple(location)


def _suggestion(model: type[BaseModel], location: Location) -> str:
    section, name = location[:-1], str(location[-1])
    known = _keys(model, section)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if near:
        return f"did you mean {_dotted((*section, near[0]))}?"
    elsewhere = [key for key in _leaves(model) if key.rpartition(".")[2] == name]
    if elsewhere:
        return f"did you mean {elsewhere[0]}?"
    return f"{f'[{_dotted(section)}]' if section else 'a config'} has {', '.join(known)}"


def _keys(model: type[BaseModel], section: Location) -> list[str]:
    here: Any = model
    for part in section:
        here = _within(here, part)
    return [name for table in _models(here) for name in table.model_fields]


def _field(here: Any, name: str) -> Any:
    return next((table.model_fields[name] for table in _models(here) if name in table.model_fields), None)


def _leaves(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}"
        for table in _models(field):
            yield from _leaves(table, f"{prefix}{name}.")
        named = _named(field)
        for table in () if named is None else _models(named[1]):
            yield from _leaves(table, f"{prefix}{name}.NAME.")


def _models(hint: Any) -> list[type[BaseModel]]:
    """The sections a type hint or field can hold, not those inside a list."""
    return [option for option in _options(hint) if isinstance(option, type) and issubclass(option, BaseModel)]


def _inner(hint: Any) -> Any:
    """What a list of the hint holds."""
    for option in _options(hint):
        if get_origin(option) in (tuple, list):
            return get_args(option)[0]
    return hint


def _named(hint: Any) -> tuple[Any, Any] | None:
    """The keys and values of a table whose keys are names, such as `[cex]`."""
    tables = (get_args(option) for option in _options(hint) if get_origin(option) is dict)
    return next(((names, values) for names, values in tables if _models(values)), None)


def _names(model: type[BaseModel], location: Location) -> str:
    here: Any = model
    for part in location:
        here = _within(here, part)
    named = _named(here)
    return "" if named is None else ", ".join(map(str, get_args(named[0])))


def _within(here: Any, part: str | int) -> Any:
    """What may stand in an element of a list, or under a key of a table."""
    if isinstance(part, int):
        return _inner(here)
    named = _named(here)
    return _field(here, part) if named is None else named[1]


def _options(hint: Any) -> Iterator[Any]:
    """The plain types behind aliases, `Annotated` and unions, None left out."""
    hint = getattr(hint, "annotation", hint)
    origin = get_origin(hint)
    if origin is Annotated:
        yield from _options(get_args(hint)[0])
    elif origin in (typing.Union, UnionType):
        for option in get_args(hint):
            yield from _options(option)
    elif hint is not type(None):
        yield hint


_TYPE_NAMES: Final = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    Decimal: "an amount",
    str: "text",
    Path: "a path as text",
    dict: "a table",
    tuple: "a list",
}


def _allowed(model: type[BaseModel], location: Location) -> str:
    """What may stand at a key, in words: `a whole number from 1 to 50`."""
    here: Any = model
    for part in location:
        here = _within(here, part)
    return _described(here, ())


def _described(hint: Any, constraints: tuple[Any, ...]) -> str:
    if isinstance(hint, FieldInfo):
        return hint.title or _described(hint.annotation, (*hint.metadata, *constraints))
    origin = get_origin(hint)
    if origin is Annotated:
        inner, *notes = get_args(hint)
        title = next((note.title for note in notes if isinstance(note, FieldInfo) and note.title), None)
        if title:
            return title
        unfolded = [note.metadata if isinstance(note, FieldInfo) else [note] for note in notes]
        return _described(inner, (*(each for notes in unfolded for each in notes), *constraints))
    if origin in (typing.Union, UnionType):
        return " or ".join(_described(option, constraints) for option in get_args(hint))
    if hint is type(None):
        return '"none"'
    if origin is Literal:
        choices = [_shown(choice) for choice in get_args(hint)]
        return choices[0] if len(choices) == 1 else f"one of {', '.join(choices)}"
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return f"a table of {', '.join(hint.model_fields)}"
    if origin is tuple:
        size = " that is not empty" if _not_empty(constraints) else ""
        return f"a list{size}, each {_described(get_args(hint)[0], ())}"
    return f"{_TYPE_NAMES.get(origin or hint, str(hint))}{_bounds(constraints)}"


def _bounds(constraints: tuple[Any, ...]) -> str:
    low = next((f"from {_plain(c.ge)}" for c in constraints if isinstance(c, annotated_types.Ge)), "")
    low = next((f"above {_plain(c.gt)}" for c in constraints if isinstance(c, annotated_types.Gt)), low)
    high = next((f"to {_plain(c.le)}" for c in constraints if isinstance(c, annotated_types.Le)), "")
    high = next((f"below {_plain(c.lt)}" for c in constraints if isinstance(c, annotated_types.Lt)), high)
    if low.startswith("from") and not high:
        low = low.replace("from", "of at least", 1)
    elif low.startswith("above") and high.startswith("to"):
        high = high.replace("to", "up to", 1)
    size = "that is not empty" if _not_empty(constraints) else ""
    return "".join(f" {part}" for part in (low, high, size) if part)


def _not_empty(constraints: tuple[Any, ...]) -> bool:
    return any(isinstance(c, annotated_types.MinLen) and c.min_length > 0 for c in constraints)


def _plain(bound: Any) -> str:
    return f"{bound:g}" if isinstance(bound, float) else str(bound)


def _shown(value: object) -> str:
    """A value the way TOML would write it, cut where it is long."""
    if isinstance(value, bool):
        return str(value).lower()
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _dotted(location: Location) -> str:
    return ".".join(str(part) for part in location)
