"""What CUDA's built-in functions should give: by Python's integers and fractions, NumPy and SciPy."""

import decimal
import functools
import math
import operator
import re
from fractions import Fraction

import numpy as np
from scipy import special

# ---- Types and samples ------------------------------------------------------------------

SCALARS = {
    "bool": np.bool_,
    "char": np.int8,
    "signed char": np.int8,
    "unsigned char": np.uint8,
    "short": np.int16,
    "unsigned short": np.uint16,
    "int": np.int32,
    "unsigned int": np.uint32,
    "long": np.int64,
    "unsigned long": np.uint64,
    "long long": np.int64,
    "unsigned long long": np.uint64,
    "float": np.float32,
    "double": np.float64,
}
VECTORS = {
    "char": "char",
    "uchar": "unsigned char",
    "short": "short",
    "ushort": "unsigned short",
    "int": "int",
    "uint": "unsigned int",
    "long": "long",
    "ulong": "unsigned long",
    "longlong": "long long",
    "ulonglong": "unsigned long long",
    "float": "float",
    "double": "double",
}
TYPES = {name: (np.dtype(scalar), ()) for name, scalar in SCALARS.items()}
TYPES |= {f"{name}{n}": (np.dtype(SCALARS[of]), (n,)) for name, of in VECTORS.items() for n in (1, 2, 3, 4)}
COUNT = 256


def samples(dtype: np.dtype, shape: tuple, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    size = COUNT * math.prod(shape)
    if dtype == np.bool_:
        values = rng.random(size) < 0.5
    elif dtype.kind == "f":
        edges = [0, -0.0, 1, -1, 0.5, -0.5, 1.5, 2.5, -2.5, 0.25, 30, np.inf, -np.inf, np.nan]
        parts = [rng.uniform(-1, 1, size), 4 * rng.standard_normal(size), 10.0 ** rng.uniform(-7, 7, size)]
        values = np.concatenate([rng.permuted(edges * 2), rng.permuted(np.concatenate(parts))])[:size]
        values = values.astype(dtype)
    else:
        limits = np.iinfo(dtype)
        edges = [0, 1, limits.max, limits.min, limits.max - 1, 31, 32, 33, 7, limits.max // 2 + 1]
        small = rng.integers(0 if limits.min == 0 else -9, 9, size // 4)
        random = rng.integers(limits.min, limits.max, size, dtype, endpoint=True)
        values = np.concatenate([rng.permuted(np.array(edges * 2, dtype)), small.astype(dtype), random])[
            :size
        ]
    return np.ascontiguousarray(values[:size].reshape(COUNT, *shape))


def _integers(low: int, high: int):
    return lambda dtype, seed: np.random.default_rng(seed).integers(low, high, COUNT).astype(dtype)


def _reals(low: float, high: float):
    return lambda dtype, seed: np.random.default_rng(seed).uniform(low, high, COUNT).astype(dtype)


# Parameters that do not take any number: by function, the position and what to draw.
RESTRICTED = {
    **{
        name: {1: _integers(-30, 30)}
        for name in ("ldexp", "ldexpf", "scalbn", "scalbnf", "scalbln", "scalblnf")
    },
    **{name: {0: _integers(0, 6), 1: _reals(0.5, 30)} for name in ("jn", "jnf", "yn", "ynf")},
    **{
        name: {0: _reals(-1e9, 1e9)} for name in ("lrint", "lrintf", "llrint", "llrintf", "lround", "lroundf")
    },
    **{name: {0: _reals(-1e9, 1e9)} for name in ("llround", "llroundf")},
    **{name: {0: _reals(0.1, 40)} for name in ("y0", "y0f", "y1", "y1f", "j0", "j0f", "j1", "j1f")},
    **{name: {0: _reals(-4.9, 30)} for name in ("tgamma", "tgammaf")},
    **{name: {0: _reals(0.1, 100)} for name in ("lgamma", "lgammaf")},
    **{name: {0: _reals(-5, 60)} for name in ("erfcx", "erfcxf")},
    **{name: {0: _reals(-30, 7)} for name in ("normcdf", "normcdff")},
    **{name: {0: _reals(-1000, 1000)} for name in ("sin", "sinf", "__sinf", "cos", "cosf", "__cosf")},
    **{name: {0: _reals(-1000, 1000)} for name in ("tan", "tanf", "__tanf")},
    **{name: {0: _reals(-1000, 1000)} for name in ("sincos", "sincosf", "__sincosf")},
    "__fns": {1: _integers(0, 32), 2: _integers(-9, 10)},
}


# ---- What is expected ------------------------------------------------------------------
# Each function's expectation takes the arguments as arrays and gives the results: what it returns, then what
# it leaves behind its pointers.


def _wrap(value: int, bits: int, signed: bool) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if signed and value >> (bits - 1) else value


def _parts(value: int, bits: int, signed: bool) -> list[int]:
    return [_wrap(value >> at, bits, signed) for at in range(0, 32, bits)]


def _packed(values, bits: int) -> int:
    return sum((value & ((1 << bits) - 1)) << bits * at for at, value in enumerate(values))


def _simd(name: str):
    """Of __vadd2 and its kin, by what the name says."""
    match = re.fullmatch(
        r"__v(?:(cmp|set)(eq|ne|ge|gt|le|lt)(s|u|)|(abs|neg|add|sub)(ss|us|)|"
        r"(avg|absdiff|max|min|sad|hadd)(s|u))([24])",
        name,
    )
    bits = 32 // int(match[8])
    signed = "u" not in (match[3] or match[5] or match[7] or "")
    least, most = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    kind = match[1] or match[4] or match[6]
    compare = getattr(operator, match[2]) if match[2] else None
    calculate = {
        "cmp": lambda x, y: -compare(x, y),
        "set": lambda x, y: int(compare(x, y)),
        "abs": lambda x: abs(x),
        "neg": lambda x: -x,
        "add": operator.add,
        "sub": operator.sub,
        "absdiff": lambda x, y: abs(x - y),
        "sad": lambda x, y: abs(x - y),
        "max": max,
        "min": min,
        # A half is rounded away from zero.
        "avg": lambda x, y: math.floor(Fraction(x + y, 2) + Fraction(1, 2))
        if x + y >= 0
        else -((-(x + y) + 1) // 2),
        "hadd": lambda x, y: (x + y) // 2,
    }[kind]

    def expected(*values):
        results = [
            calculate(*pair) for pair in zip(*(_parts(value, bits, signed) for value in values), strict=True)
        ]
        if kind == "sad":
            return sum(results)
        if (match[5] or "") in ("ss", "us"):
            results = [min(max(result, least), most) for result in results]
        return _packed(results, bits)

    return expected


def _of_three(name: str):
    """Of __vimax3_s16x2_relu and its kin, by what the name says."""
    match = re.fullmatch(r"__vi(add|b|)(max|min)(3?)_(s|u)(32|16)(?:x2)?(_relu)?", name)
    bits, signed = int(match[5]), match[4] == "s"
    best = {"max": max, "min": min}[match[2]]

    def expected(*values):
        parts = list(zip(*(_parts(value, bits, signed) for value in values), strict=True))
        if match[1] == "add":
            parts = [(_wrap(a + b, bits, signed), c) for a, b, c in parts]
        results = [best(part) for part in parts]
        if match[6]:
            results = [max(result, 0) for result in results]
        if match[1] != "b":
            return _packed(results, bits)
        return _packed(results, bits), [
            result == part[0] for result, part in zip(results, parts, strict=True)
        ][::-1]

    return expected


def _dot(bits_a: int, first: int):
    def expected(signed: bool):
        def of(a, b, c):
            numbers = _parts(b, 8, signed)[first : first + 32 // bits_a]
            return c + sum(x * y for x, y in zip(_parts(a, bits_a, signed), numbers, strict=True))

        return of

    return expected


def _nth_set_bit(mask: int, base: int, offset: int) -> int:
    if offset == 0:
        return base if mask >> base & 1 else 2**32 - 1
    places = [bit for bit in range(32) if mask >> bit & 1 and (bit >= base if offset > 0 else bit <= base)]
    places = places if offset > 0 else places[::-1]
    return places[abs(offset) - 1] if abs(offset) <= len(places) else 2**32 - 1


def _byte_perm(x: int, y: int, selector: int) -> int:
    written = (y << 32 | x).to_bytes(8, "little")
    return int.from_bytes(bytes(written[selector >> at & 7] for at in (0, 4, 8, 12)), "little")


def _unsigned(value: int, bits: int = 32) -> int:
    return value % 2**bits


def _low_24(value: int) -> int:
    return _wrap(value, 24, True)


INTEGERS = {
    "abs": abs,
    "labs": abs,
    "llabs": abs,
    "min": min,
    "max": max,
    "umin": min,
    "umax": max,
    "llmin": min,
    "llmax": max,
    "ullmin": min,
    "ullmax": max,
    "__popc": lambda x: x.bit_count(),
    "__popcll": lambda x: x.bit_count(),
    "__clz": lambda x: 32 - _unsigned(x).bit_length(),
    "__clzll": lambda x: 64 - _unsigned(x, 64).bit_length(),
    "__ffs": lambda x: (x & -x).bit_length(),
    "__ffsll": lambda x: (x & -x).bit_length(),
    "__brev": lambda x: int(f"{x:032b}"[::-1], 2),
    "__brevll": lambda x: int(f"{x:064b}"[::-1], 2),
    "__mul24": lambda x, y: _low_24(x) * _low_24(y),
    "__umul24": lambda x, y: x % 2**24 * (y % 2**24),
    "__mulhi": lambda x, y: x * y >> 32,
    "__umulhi": lambda x, y: x * y >> 32,
    "__mul64hi": lambda x, y: x * y >> 64,
    "__umul64hi": lambda x, y: x * y >> 64,
    "__hadd": lambda x, y: (x + y) // 2,
    "__uhadd": lambda x, y: (x + y) // 2,
    "__rhadd": lambda x, y: (x + y + 1) // 2,
    "__urhadd": lambda x, y: (x + y + 1) // 2,
    "__sad": lambda x, y, z: abs(x - y) + z,
    "__usad": lambda x, y, z: abs(x - y) + z,
    "__byte_perm": _byte_perm,
    "__fns": _nth_set_bit,
    "__funnelshift_l": lambda low, high, n: (high << 32 | low) << n % 32 >> 32,
    "__funnelshift_r": lambda low, high, n: (high << 32 | low) >> n % 32,
    "__funnelshift_lc": lambda low, high, n: (high << 32 | low) << min(n, 32) >> 32,
    "__funnelshift_rc": lambda low, high, n: (high << 32 | low) >> min(n, 32),
}

# What is left at the address; the function itself returns what was there.
ATOMICS = {
    "Add": operator.add,
    "Sub": operator.sub,
    "And": operator.and_,
    "Or": operator.or_,
    "Xor": operator.xor,
    "Min": min,
    "Max": max,
    "Exch": lambda old, value: value,
    "Inc": lambda old, value: 0 if old >= value else old + 1,
    "Dec": lambda old, value: value if old == 0 or old > value else old - 1,
    "CAS": lambda old, compare, value: value if old == compare else old,
}


def _round_half_away(x):
    whole = np.trunc(x)
    return np.copysign(np.where(np.abs(x - whole) >= 0.5, np.abs(whole) + 1, np.abs(whole)), x)


@functools.cache
def _erfc(x: decimal.Decimal) -> decimal.Decimal:
    """To 40 digits: its series, or far from 0 its continued fraction."""
    with decimal.localcontext(prec=90):
        pi = decimal.Decimal("3.14159265358979323846264338327950288419716939937510582097494459")
        scale = (-x * x).exp() / pi.sqrt()
        if abs(x) < 6:
            term = total = 2 * x
            for k in range(1, 400):
                term *= 2 * x * x / (2 * k + 1)
                total += term
            return 1 - scale * total
        below = abs(x)
        for k in range(200, 0, -1):
            below = abs(x) + decimal.Decimal(k) / 2 / below
        return scale / below if x > 0 else 2 - scale / below


def _by_decimal(function):
    """Of finite numbers; function gives a Decimal."""
    return np.vectorize(
        lambda x: float(function(decimal.Decimal(float(x)))) if math.isfinite(x) else x, otypes=[np.float64]
    )


def _complement(x):
    return np.where(np.isinf(x), 1 - np.sign(x), _by_decimal(_erfc)(x))


def _normal_distribution(x):
    root = decimal.Decimal("0.7071067811865475244008443621048490392848359376884740365883398689954")
    return _by_decimal(lambda value: _erfc(-value * root) / 2)(x)


def _of_pi(function, shift):
    """Of sin and cos of pi x: exact for halves, and by long doubles in between."""

    def expected(x):
        x = np.asarray(x, np.longdouble)
        turn = np.fmod(x, 2)  # exact
        exact = {0: 0, 0.5: 1, 1: 0, 1.5: -1} if shift else {0: 1, 0.5: 0, 1: -1, 1.5: 0}
        result = function(turn * np.longdouble("3.14159265358979323846264338327950288"))
        for place, value in exact.items():
            result = np.where(np.abs(turn) == place, value * (np.sign(turn) if shift else 1), result)
        return result

    return expected


def _length(*x):
    """Of a vector: infinite if a component is, even if another one is a NaN."""
    return np.where(np.any(np.isinf(x), axis=0), np.inf, np.sqrt(sum(each * each for each in x)))


def _to_infinity(function):
    """SciPy has a NaN for infinity."""
    return lambda x: np.where(np.isinf(x), np.abs(x) if function is special.i0 else x, function(x))


def _logb(x):
    exponent = np.where(np.isfinite(x), np.frexp(x)[1] - 1.0, np.abs(x))
    return np.where(x == 0, -np.inf, exponent)


def _remainder(x: float, y: float) -> float:
    if math.isnan(x) or math.isnan(y) or math.isinf(x) or y == 0:
        return math.nan
    return math.remainder(x, y)


REALS = {
    "acos": np.arccos,
    "acosh": np.arccosh,
    "asin": np.arcsin,
    "asinh": np.arcsinh,
    "atan": np.arctan,
    "atanh": np.arctanh,
    "cbrt": np.cbrt,
    "ceil": np.ceil,
    "cos": np.cos,
    "cosh": np.cosh,
    "erf": special.erf,
    "erfc": _complement,
    "erfcx": special.erfcx,
    "erfinv": special.erfinv,
    "erfcinv": special.erfcinv,
    "exp": np.exp,
    "exp10": lambda x: np.power(10.0, x),
    "exp2": np.exp2,
    "expm1": np.expm1,
    "fabs": np.abs,
    "abs": np.abs,
    "floor": np.floor,
    "lgamma": special.gammaln,
    "log": np.log,
    "log10": np.log10,
    "log1p": np.log1p,
    "log2": np.log2,
    "logb": _logb,
    "nearbyint": np.rint,
    "rint": np.rint,
    "normcdf": _normal_distribution,
    "normcdfinv": special.ndtri,
    "rcbrt": lambda x: 1 / np.cbrt(x),
    "round": _round_half_away,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "sin": np.sin,
    "sinh": np.sinh,
    "sqrt": np.sqrt,
    "tan": np.tan,
    "tanh": np.tanh,
    "tgamma": special.gamma,
    "trunc": np.trunc,
    "j0": special.j0,
    "j1": special.j1,
    "y0": special.y0,
    "y1": special.y1,
    "cyl_bessel_i0": _to_infinity(special.i0),
    "cyl_bessel_i1": _to_infinity(special.i1),
    "sinpi": _of_pi(np.sin, 1),
    "cospi": _of_pi(np.cos, 0),
    "saturate": lambda x: np.nan_to_num(np.clip(x, 0, 1), nan=0),
    "atan2": np.arctan2,
    "copysign": np.copysign,
    "fdim": lambda x, y: np.where(x != x, x, np.where(y != y, y, np.where(x > y, x - y, 0))),
    "fdivide": operator.truediv,
    "fmax": np.fmax,
    "fmin": np.fmin,
    "max": np.fmax,
    "min": np.fmin,
    "fmod": np.fmod,
    "hypot": np.hypot,
    "rhypot": lambda x, y: 1 / np.hypot(x, y),
    "pow": np.power,
    "norm3d": _length,
    "norm4d": _length,
    "rnorm3d": lambda *x: 1 / _length(*x),
    "rnorm4d": lambda *x: 1 / _length(*x),
    "remainder": np.vectorize(_remainder, otypes=[np.float64]),
    "ldexp": np.ldexp,
    "scalbn": np.ldexp,
    "scalbln": lambda x, n: np.ldexp(x, n.astype(np.int32)),
    "jn": special.jv,
    "yn": special.yn,
}

# Rounded to a direction, of exact fractions.
EXACT = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "fma": lambda x, y, z: x * y + z,
    "rcp": lambda x: 1 / x,
    "sqrt": None,
    "rsqrt": None,
}


def _rounded(exact, dtype, direction: str):
    """A fraction, or a test whether the result is above a number, as a number of a type."""
    nearest = dtype(float(exact))
    at = Fraction(float(nearest))
    down = nearest if at <= exact else np.nextafter(nearest, dtype(-np.inf))
    up = nearest if at >= exact else np.nextafter(nearest, dtype(np.inf))
    if direction == "rn" and down != up:
        middle = (Fraction(float(down)) + Fraction(float(up))) / 2
        return down if exact < middle else up if exact > middle else nearest
    return {"rn": nearest, "rd": down, "ru": up, "rz": down if exact > 0 else up}[direction]


def _square_root(x: Fraction, inverse: bool) -> Fraction:
    """To 60 digits, which no number of 53 bits is so near to without being it."""
    root = math.isqrt(int(x * 10**120))
    return Fraction(10**60, root) if inverse else Fraction(root, 10**60)


def _exactly(operation: str, direction: str, dtype):
    def of(*values):
        numbers = [float(value) for value in values]
        finite = all(map(math.isfinite, numbers))
        if operation in ("sqrt", "rsqrt"):
            if not finite or numbers[0] <= 0:
                return None
            return _rounded(_square_root(Fraction(numbers[0]), operation == "rsqrt"), dtype, direction)
        if not finite or (operation in ("div", "rcp") and numbers[-1] == 0):
            return None  # special numbers are IEEE's in every direction
        exact = EXACT[operation](*map(Fraction, numbers))
        return _rounded(exact, dtype, direction) if exact else None

    return lambda *arrays: [of(*values) for values in zip(*arrays, strict=True)]


def _converted(source, to, direction: str):
    limits = np.iinfo(to)
    function = {"rn": np.rint, "rz": np.trunc, "rd": np.floor, "ru": np.ceil}[direction]

    def of(x):
        if math.isnan(x):  # the PTX manual on cvt
            return 1 << limits.bits - 1 if 64 in (limits.bits, 8 * np.dtype(source).itemsize) else 0
        return int(min(max(function(float(x)) if math.isfinite(x) else x, limits.min), limits.max))

    return lambda array: np.array([of(x) for x in array], object)


_LETTERS = {
    "int": np.int32,
    "uint": np.uint32,
    "ll": np.int64,
    "ull": np.uint64,
    "float": np.float32,
    "double": np.float64,
}


def expectation(prototype):
    """What a function should give, as (kind, function of its arguments); None if it is tested elsewhere."""
    name, result = prototype.name, prototype.result
    dtype = SCALARS.get(result)
    if re.match(r"__ld[gcl]|__st[cw]", name) or name.startswith("make_"):
        return "same", None
    if match := re.fullmatch(r"atomic(\w+?)(?:_block|_system)?", name):
        return "atomic", ATOMICS[match[1]]
    if re.match(r"__v(cmp|set|abs|neg|add|sub|avg|max|min|sad|hadd)", name):
        return "integer", _simd(name)
    if name.startswith("__vi"):
        return "integer", _of_three(name)
    if match := re.fullmatch(r"__dp4a|__dp2a_(lo|hi)", name):
        signed = result == "int"
        return "integer", _dot(16 if match[1] else 8, 2 if match[1] == "hi" else 0)(signed)
    if name in INTEGERS and dtype is not None and np.dtype(dtype).kind in "iu":
        return "integer", INTEGERS[name]
    if match := re.fullmatch(r"__(float|double)2(int|uint|ll|ull)_(r.)", name):
        return "integer array", _converted(_LETTERS[match[1]], _LETTERS[match[2]], match[3])
    if match := re.fullmatch(r"__(int|uint|ll|ull|double)2(float|double)_(r.)", name):
        of = _LETTERS[match[2]]
        return "exact", lambda x: [
            _rounded(Fraction(v if np.dtype(type(v)).kind == "f" else int(v)), of, match[3])
            if v and np.isfinite(v)
            else None
            for v in x
        ]
    if match := re.fullmatch(r"__[fd](add|sub|mul|div|rcp|sqrt|rsqrt|ma|maf)_(r.)", name):
        operation = {"ma": "fma", "maf": "fma"}.get(match[1], match[1])
        return "exact", _exactly(operation, match[2], dtype)
    if name in ("fma", "fmaf"):
        return "exact", _exactly("fma", "rn", dtype)
    if match := re.fullmatch(r"__f(add|mul|fma)2_(r.)", name):
        return "exact pairs", _exactly(match[1], match[2], np.float32)
    if match := re.fullmatch(r"__(\w+)_as_(\w+)", name):
        return "bits", None
    base = re.fullmatch(r"_*(\w+?)f?", name)[1]
    base = next((each for each in (name.lstrip("_"), base) if each in REALS), None)
    if base is not None and dtype in (np.float32, np.float64):
        return "real", REALS[base]
    return OTHERS.get(name)


def _exponent(x):
    return [-(2**31) if v == 0 or v != v else 2**31 - 1 if np.isinf(v) else math.frexp(v)[1] - 1 for v in x]


def _nearest_quotient(x, y):
    """The remainder of the nearest whole quotient, and the quotient's last three bits."""
    pairs = [(float(a), float(b)) for a, b in zip(x, y, strict=True)]
    usable = [math.isfinite(a) and math.isfinite(b) and b != 0 for a, b in pairs]
    quotients = [
        round(Fraction(a) / Fraction(b)) if ok else 0 for (a, b), ok in zip(pairs, usable, strict=True)
    ]
    return REALS["remainder"](x, y), np.where(usable, [quotient % 8 for quotient in quotients], -1)


OTHERS = {
    **dict.fromkeys(("nextafter", "nextafterf"), ("native", np.nextafter)),
    **dict.fromkeys(("remquo", "remquof"), ("quotient", _nearest_quotient)),
    "__double2loint": ("integer array", lambda x: x.view(np.uint64) & np.uint64(0xFFFFFFFF)),
    "__double2hiint": ("integer array", lambda x: x.view(np.uint64) >> np.uint64(32)),
    "__hiloint2double": (
        "real",
        lambda hi, lo: (hi.view(np.uint32).astype(np.uint64) << np.uint64(32) | lo.view(np.uint32)).view(
            np.float64
        ),
    ),
    **dict.fromkeys(("ilogb", "ilogbf"), ("integer array", _exponent)),
    **dict.fromkeys(("lrint", "lrintf", "llrint", "llrintf"), ("integer array", np.rint)),
    **dict.fromkeys(("lround", "lroundf", "llround", "llroundf"), ("integer array", _round_half_away)),
    **dict.fromkeys(("sincos", "sincosf", "__sincosf"), ("reals", lambda x: (np.sin(x), np.cos(x)))),
    **dict.fromkeys(("sincospi", "sincospif"), ("reals", lambda x: (REALS["sinpi"](x), REALS["cospi"](x)))),
    **dict.fromkeys(("frexp", "frexpf"), ("reals", np.frexp)),
    **dict.fromkeys(("modf", "modff"), ("reals", np.modf)),
}
