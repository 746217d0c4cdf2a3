"""Find a strategy by name, file or module, and make one from the parameters that a config gives it.

A bare name is looked for as `strategies/NAME.py` in the current directory and beside the config, then among the
installed entry points, then in the package that comes with the bot. Whatever is wrong with a plugin or with its
parameters is a ConfigError: one sentence that names the file, the line or the parameter.
"""

import dataclasses
import difflib
import hashlib
import importlib
import importlib.metadata
import importlib.util
import math
import pkgutil
import sys
import traceback
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, NoneType, UnionType
from typing import Any, Final, Literal, get_args, get_origin

from bot.errors import ConfigError
from bot.strategy import Strategy

ENTRY_POINTS: Final = "hedgerow.strategies"
FOLDER: Final = "strategies"
"""Both the folder in which one's own strategies are looked for and the package that comes with the bot."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a strategy; `default` is meaningless where it is `required`."""

    name: str
    type: str
    default: object
    required: bool


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """A strategy that a config may name. Where it can't be loaded, `problem` says why and the rest is empty."""

    name: str
    origin: str
    summary: str = ""
    parameters: tuple[Parameter, ...] = ()
    problem: str = ""


def load_plugin(reference: str, base: Path | None = None) -> type[Strategy]:
    """The class that `reference` names: NAME, FILE.py, FILE.py:Class or module:Class.

    Relative files are seen from the current directory, then from `base`, the folder of the config.
    """
    module, class_name, said = _module(reference, base)
    if class_name:
        found = getattr(module, class_name, None)
        if not (isinstance(found, type) and issubclass(found, Strategy)):
            raise ConfigError(f"{said} has no strategy {class_name!r}; {_defined(module)}")
        return _checked(found, said)
    classes = _strategies_in(module)
    if len(classes) != 1:
        what = "defines no strategy" if not classes else "defines several strategies"
        raise ConfigError(f"{said} {what}; {_defined(module)}")
    return _checked(classes[0], said)


def build(reference: str, parameters: Mapping[str, Any], base: Path | None = None) -> Strategy:
    """The strategy that `reference` names, with `parameters` checked against the class's own fields."""
    cls = load_plugin(reference, base)
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
    for name in parameters:
        if name not in fields:
            near = difflib.get_close_matches(name, fields, n=1, cutoff=0.5)
            meant = f"did you mean {near[0]}? " if near else ""
            has = f"its parameters are {', '.join(fields)}" if fields else "it has no parameters"
            raise ConfigError(f"strategy {reference}: {name} is not a parameter; {meant}{has}")
    missing = [
        field.name for field in fields.values() if _is_required(field) and field.name not in parameters
    ]
    if missing:
        raise ConfigError(f"strategy {reference}: the parameter {missing[0]} has no default; give it a value")
    hints = _hints(cls)
    values = {}
    for name, value in parameters.items():
        try:
            values[name] = _fitted(value, hints[name])
        except _Misfit:
            wanted = _described(hints[name])
            raise ConfigError(
                f"strategy {reference}: {name} is {_shown(name, value)}, but must be {wanted}"
            ) from None
    try:
        return cls(**values)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"strategy {reference}: {error}") from error


def available(base: Path | None = None) -> list[PluginInfo]:
    """Every strategy that a config may name without a path, in the order in which a name is looked for."""
    known: dict[str, PluginInfo] = {}
    for name, origin in _names(base):
        if name not in known:
            known[name] = _info(name, origin, base)
    return list(known.values())


def parameters_of(cls: type[Strategy]) -> tuple[Parameter, ...]:
    """What a config may set on a strategy, in the order of the class."""
    hints = _hints(cls)
    return tuple(
        Parameter(field.name, _type_name(hints[field.name]), _default(field), _is_required(field))
        for field in dataclasses.fields(cls)
        if field.init
    )


def _info(name: str, origin: str, base: Path | None) -> PluginInfo:
    try:
        cls = load_plugin(name, base)
        parameters = parameters_of(cls)
    except ConfigError as error:
        return PluginInfo(name, origin, problem=str(error))
    told = (cls.__dict__.get("__doc__") or "", sys.modules[cls.__module__].__doc__ or "")
    # A dataclass without a docstring is given its signature for one; a module's first line says more.
    own = next((text for text in reversed(told) if text and not text.startswith(f"{cls.__name__}(")), "")
    return PluginInfo(name, origin, own.strip().partition("\n")[0], parameters)


def _names(base: Path | None) -> Iterator[tuple[str, str]]:
    for folder in _folders(base):
        for path in sorted((folder / FOLDER).glob("*.py")):
            if path.stem.isidentifier() and not path.stem.startswith("_"):
                yield path.stem, _short(path)
    for point in sorted(importlib.metadata.entry_points(group=ENTRY_POINTS), key=lambda point: point.name):
        yield point.name, f"installed: {point.value}"
    for found in pkgutil.iter_modules(_bundled_paths()):
        if not found.name.startswith("_"):
            yield found.name, f"bundled: {FOLDER}.{found.name}"


def _module(reference: str, base: Path | None) -> tuple[ModuleType, str, str]:
    """The module, the class asked for in it ("" for the only one), and how messages call the module."""
    where, _, class_name = reference.rpartition(":") if ":" in reference else (reference, "", "")
    if where.endswith(".py"):
        for folder in _folders(base):
            if (folder / where).is_file():
                return _from_file(folder / where), class_name, _short(folder / where)
        looked = " and ".join(dict.fromkeys(str(folder / where) for folder in _folders(base)))
        raise ConfigError(f"there is no strategy file {looked}; check the path")
    if class_name:
        return _imported(where), class_name, where
    for folder in _folders(base):
        path = folder / FOLDER / f"{where}.py"
        if where.isidentifier() and path.is_file():
            return _from_file(path), "", _short(path)
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS, name=where):
        return _imported(point.module), point.attr, point.module
    if where.isidentifier() and any(found.name == where for found in pkgutil.iter_modules(_bundled_paths())):
        return _imported(f"{FOLDER}.{where}"), "", f"{FOLDER}.{where}"
    known = list(dict.fromkeys(name for name, _ in _names(base)))
    near = difflib.get_close_matches(where, known, n=1, cutoff=0.5)
    meant = f"did you mean {near[0]}? " if near else ""
    raise ConfigError(
        f"there is no strategy {where!r}; {meant}there are {', '.join(known)}, or name a file, FILE.py or FILE.py:Class"
    )


def _folders(base: Path | None) -> list[Path]:
    return [Path()] if base is None else list(dict.fromkeys((Path(), base)))


def _bundled_paths() -> list[str]:
    spec = importlib.util.find_spec(FOLDER)
    return [] if spec is None else list(spec.submodule_search_locations or ())


def _short(path: Path) -> str:
    resolved, here = path.resolve(), Path.cwd()
    return str(resolved.relative_to(here)) if resolved.is_relative_to(here) else str(path)


def _from_file(path: Path) -> ModuleType:
    """The module of a file, named after its content: an unchanged file is the same module, an edited one is not."""
    path = path.resolve()
    if any(path.parent == Path(folder).resolve() for folder in _bundled_paths()):
        return _imported(f"{FOLDER}.{path.stem}")  # one class, however it is named
    try:
        source = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"cannot read the strategy {path}: {error.strerror or error}; check the path"
        ) from None
    name = f"hedgerow_plugin_{path.stem}_{hashlib.sha256(bytes(path) + source).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up while they are made
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)  # noqa: S102 - running the plugin is the point
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise ConfigError(_failure(_short(path), str(path), error)) from error
    return module


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        spec = None
        if not (isinstance(error, ModuleNotFoundError) and error.name and name.startswith(error.name)):
            spec = importlib.util.find_spec(name)
        raise ConfigError(_failure(name, (spec and spec.origin) or "", error)) from error


def _failure(said: str, file: str, error: BaseException) -> str:
    """One sentence with the line of `file` at which loading it failed."""
    line = None
    if isinstance(error, SyntaxError) and error.filename == file:
        line = error.lineno
    else:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        line = frames[-1].lineno if frames else None
    what = error.msg if isinstance(error, SyntaxError) else str(error) or type(error).__name__
    if "non-frozen" in what:
        what = "a strategy must be frozen; write @dataclass(frozen=True) above the class"
    elif not isinstance(error, SyntaxError | ImportError):
        what = f"{type(error).__name__}: {what}"
    at = f", line {line}" if line else ""
    return f"cannot load the strategy {said}{at}: {what}"


def _strategies_in(module: ModuleType) -> list[type[Strategy]]:
    return [
        each
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, Strategy) and each.__module__ == module.__name__
    ]


def _defined(module: ModuleType) -> str:
    names = [cls.__name__ for cls in _strategies_in(module)]
    if not names:
        return "write a class that inherits from bot.strategy.Strategy"
    return f"it defines {', '.join(names)}; name one behind a colon, as in FILE.py:{names[0]}"


def _checked(cls: type[Strategy], said: str) -> type[Strategy]:
    if "__dataclass_fields__" not in cls.__dict__:
        raise ConfigError(
            f"{said}: {cls.__name__} is not a dataclass; write @dataclass(frozen=True) above the class"
        )
    for method in ("signals", "forecast"):
        if getattr(cls, method) is getattr(Strategy, method):
            raise ConfigError(
                f"{said}: {cls.__name__} has no {method}(); a strategy defines signals and forecast"
            )
    for name, hint in _hints(cls).items():
        if not _is_supported(hint):
            raise ConfigError(
                f"{said}: {cls.__name__}.{name} is annotated {_type_name(hint)}, which a config can't give; "
                "use bool, int, float, str, Literal, a tuple of these, or one of them | None"
            )
    return cls


def _hints(cls: type[Strategy]) -> dict[str, Any]:
    try:
        hints = typing.get_type_hints(cls)
    except Exception as error:  # whatever evaluating an annotation raises
        raise ConfigError(f"{cls.__name__}: its annotations can't be read ({error}); mend them") from error
    return {field.name: hints[field.name] for field in dataclasses.fields(cls) if field.init}


def _is_required(field: "dataclasses.Field[Any]") -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _default(field: "dataclasses.Field[Any]") -> object:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return None if field.default is dataclasses.MISSING else field.default


class _Misfit(Exception):
    """A value that is not of the type asked for."""


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (typing.Union, UnionType)


def _is_supported(hint: Any) -> bool:
    if _is_union(hint):
        return all(_is_supported(option) for option in get_args(hint))
    if get_origin(hint) is tuple:
        return all(option is Ellipsis or _is_supported(option) for option in get_args(hint))
    return get_origin(hint) is Literal or hint in (bool, int, float, str, tuple, NoneType)


def _fitted(value: Any, hint: Any) -> Any:
    """`value` as the annotation asks for it. TOML has neither tuples nor None: lists and "none" stand for them."""
    if _is_union(hint):
        return _fitted_to_one(value, get_args(hint))
    if hint is tuple or get_origin(hint) is tuple:
        return _fitted_tuple(value, get_args(hint))
    if get_origin(hint) is Literal:
        if any(value == option and type(value) is type(option) for option in get_args(hint)):
            return value
    elif hint is NoneType:
        if value is None or value == "none":
            return None
    elif hint is float:
        if type(value) in (int, float) and not math.isnan(value):
            return float(value)
    elif type(value) is hint:  # and so a bool is no int
        return value
    raise _Misfit


def _fitted_to_one(value: Any, options: tuple[Any, ...]) -> Any:
    """The first option that fits, an exact type before one that converts, so that `int | float` keeps an int."""
    for option in sorted(options, key=lambda option: option is not type(value)):
        try:
            return _fitted(value, option)
        except _Misfit:
            continue
    raise _Misfit


def _fitted_tuple(value: Any, items: tuple[Any, ...]) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise _Misfit
    if not items:
        return tuple(value)
    if len(items) == 2 and items[1] is Ellipsis:
        return tuple(_fitted(item, items[0]) for item in value)
    if len(value) != len(items):
        raise _Misfit
    return tuple(_fitted(item, hint) for item, hint in zip(value, items, strict=True))


def _described(hint: Any) -> str:
    if _is_union(hint):
        return " or ".join(_described(option) for option in get_args(hint))
    if get_origin(hint) is Literal:
        return " or ".join(repr(option) for option in get_args(hint))
    if get_origin(hint) is tuple:
        items = get_args(hint)
        if len(items) == 2 and items[1] is Ellipsis:
            return f"a list, each {_described(items[0])}"
        return f"a list of {len(items)}: {', '.join(_described(item) for item in items)}"
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", tuple: "a list"}
    return words.get(hint, '"none"')


def _type_name(hint: Any) -> str:
    return (
        hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint).replace("typing.", "")
    )


def _shown(name: str, value: object) -> str:
    from bot.logs import MASK, is_secret_name  # here, since few have something to hide

    if is_secret_name(name):
        return MASK
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value)
