"""The ground that kernels stand on: how a function is compiled, loads and stores at plain addresses, wrapping words.

A state machine over bytes is nearly twice as fast over addresses as over numpy arrays, whose every access brings
reference counts and wraparound, and an eight-byte load may stand anywhere. The price is care:

- everything is int64: numba turns a sum of uint64 and a literal into a float without a word;
- `+`, `-` and `*` promise the compiler that nothing overflows, and it draws conclusions: where words wrap around, as in
  hashes, `subtract` and `multiply` make no such promise;
- an address does not keep its array alive: whoever calls a kernel holds the arrays until it returns;
- nothing checks bounds: input buffers end in spare bytes, and a kernel that runs out of room returns, so
  that Python can give it more.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from llvmlite import ir
from numba import config, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from wholegpt.compiled import cache_folder

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def compiled(function: Kernel) -> Kernel:
    """Compile a function, which then runs without the interpreter's lock."""
    return _compile(function, inline=False)


def inlined(function: Kernel) -> Kernel:
    """The same for a small function that disappears into its callers."""
    return _compile(function, inline=True)


def _compile(function: Kernel, inline: bool) -> Kernel:
    """numba chooses the place of the cache when the function is decorated: only then it is told ours."""
    folder = cache_folder()
    settings: Any = config
    before = settings.CACHE_DIR
    settings.CACHE_DIR = str(folder or "")
    try:
        decorate = njit(nogil=True, error_model="numpy", cache=folder is not None, forceinline=inline)
        return cast(Kernel, decorate(function))
    finally:
        settings.CACHE_DIR = before


def _load(bits: int) -> Callable[[int], int]:
    """An intrinsic that reads so many bits at an address, zeros above."""

    @intrinsic
    def load(_typing: Any, _address: Any) -> Any:
        def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            value = builder.load(builder.inttoptr(arguments[0], ir.IntType(bits).as_pointer()))
            value.align = 1
            return value if bits == 64 else builder.zext(value, ir.IntType(64))

        return types.int64(types.int64), generate

    return cast(Callable[[int], int], load)


def _store(bits: int) -> Callable[[int, int], None]:
    """An intrinsic that writes the low bits of a value at an address."""

    @intrinsic
    def store(_typing: Any, _address: Any, _value: Any) -> Any:
        def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            value = arguments[1] if bits == 64 else builder.trunc(arguments[1], ir.IntType(bits))
            builder.store(value, builder.inttoptr(arguments[0], ir.IntType(bits).as_pointer())).align = 1
            return context.get_dummy_value()

        return types.void(types.int64, types.int64), generate

    return cast(Callable[[int, int], None], store)


def _prefetch() -> Callable[[int], None]:
    """An intrinsic that asks for the cache line at an address without waiting for it."""

    @intrinsic
    def prefetch(_typing: Any, _address: Any) -> Any:
        def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            pointer, number = ir.IntType(8).as_pointer(), ir.IntType(32)
            signature = ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
            function = cgutils.get_or_insert_function(builder.module, signature, "llvm.prefetch.p0")
            builder.call(function, [builder.inttoptr(arguments[0], pointer), number(0), number(3), number(1)])
            return context.get_dummy_value()

        return types.void(types.int64), generate

    return cast(Callable[[int], None], prefetch)


def _word(operation: str) -> Callable[[int, int], int]:
    """An intrinsic of two words that wraps around."""

    @intrinsic
    def compute(_typing: Any, _left: Any, _right: Any) -> Any:
        def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            return getattr(builder, operation)(*arguments)

        return types.int64(types.int64, types.int64), generate

    return cast(Callable[[int, int], int], compute)


def _bits(operation: str, *more: int) -> Callable[[int], int]:
    """An intrinsic that counts bits of a word."""

    @intrinsic
    def count(_typing: Any, _word: Any) -> Any:
        def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            return getattr(builder, operation)(arguments[0], *(ir.IntType(1)(flag) for flag in more))

        return types.int64(types.int64), generate

    return cast(Callable[[int], int], count)


load8, load32, load64 = _load(8), _load(32), _load(64)
store8, store32, store64 = _store(8), _store(32), _store(64)
prefetch = _prefetch()
subtract, multiply = _word("sub"), _word("mul")
# How many bits are set; how many zeros are below the lowest that is, 64 for none.
count_ones, count_zeros_below = _bits("ctpop"), _bits("cttz", 0)


@inlined
def code_point(position: int) -> int:
    """The code point at a lead byte above 0x7f and its width in bytes, as code point << 3 | width."""
    lead = load8(position)
    second = load8(position + 1) & 63
    if lead < 0xE0:
        return ((lead & 31) << 6 | second) << 3 | 2
    third = load8(position + 2) & 63
    if lead < 0xF0:
        return ((lead & 15) << 12 | second << 6 | third) << 3 | 3
    return ((lead & 7) << 18 | second << 12 | third << 6 | load8(position + 3) & 63) << 3 | 4
