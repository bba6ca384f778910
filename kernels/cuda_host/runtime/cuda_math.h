// Floating-point functions that CUDA has beyond the C library's (CUDA Math API).
#pragma once

#include <fenv.h>

// ---- Overloads for float, where <math.h> has the function only for double ---------------------------------

MINIALEX_API float exp10(float x) { return exp10f(x); }
MINIALEX_API float j0(float x) { return j0f(x); }
MINIALEX_API float j1(float x) { return j1f(x); }
MINIALEX_API float jn(int n, float x) { return jnf(n, x); }
MINIALEX_API float y0(float x) { return y0f(x); }
MINIALEX_API float y1(float x) { return y1f(x); }
MINIALEX_API float yn(int n, float x) { return ynf(n, x); }
MINIALEX_API float rcbrt(float x) { return rcbrtf(x); }
MINIALEX_API void sincos(float x, float* sine, float* cosine) { sincosf(x, sine, cosine); }

// name(double) as defined; namef(float) and name(float) through it.
#define MINIALEX_FLOAT_TOO(name)                                         \
    MINIALEX_API float name##f(float x) { return float(name(double(x))); } \
    MINIALEX_API float name(float x) { return name##f(x); }

// ---- sin and cos of pi x ---------------------------------------------------------------------------------

MINIALEX_API double cospi(double x) {
    const double r = fabs(x) - 2 * floor(fabs(x) / 2);  // exact, from 0 to 2
    const double quarter = rint(2 * r), t = M_PI * (r - quarter / 2);
    switch (int(quarter) & 3) {
        case 0: return cos(t);
        case 1: return 0 - sin(t);
        case 2: return -cos(t);
        default: return sin(t) + 0.0;
    }
}
MINIALEX_API double sinpi(double x) {
    const double r = fabs(x) - 2 * floor(fabs(x) / 2);
    const double quarter = rint(2 * r), t = M_PI * (r - quarter / 2);
    double result;
    switch (int(quarter) & 3) {
        case 0: result = sin(t); break;
        case 1: result = cos(t); break;
        case 2: result = 0 - sin(t); break;
        default: result = -cos(t);
    }
    return x - x != 0 ? x - x : result == 0 ? copysign(0.0, x) : x < 0 ? -result : result;
}
MINIALEX_FLOAT_TOO(cospi)
MINIALEX_FLOAT_TOO(sinpi)
MINIALEX_API void sincospi(double x, double* sine, double* cosine) { *sine = sinpi(x), *cosine = cospi(x); }
MINIALEX_API void sincospif(float x, float* sine, float* cosine) { *sine = sinpif(x), *cosine = cospif(x); }
MINIALEX_API void sincospi(float x, float* sine, float* cosine) { sincospif(x, sine, cosine); }

// ---- Euclidean lengths -----------------------------------------------------------------------------------

MINIALEX_API double norm3d(double a, double b, double c) { return hypot(hypot(a, b), c); }
MINIALEX_API double norm4d(double a, double b, double c, double d) { return hypot(hypot(a, b), hypot(c, d)); }
MINIALEX_API double norm(int count, const double* x) {
    double length = 0;
    for (int i = 0; i < count; ++i) length = hypot(length, x[i]);
    return length;
}
MINIALEX_API double rhypot(double a, double b) { return 1 / hypot(a, b); }
MINIALEX_API double rnorm3d(double a, double b, double c) { return 1 / norm3d(a, b, c); }
MINIALEX_API double rnorm4d(double a, double b, double c, double d) { return 1 / norm4d(a, b, c, d); }
MINIALEX_API double rnorm(int count, const double* x) { return 1 / norm(count, x); }
// A double holds the sum of squares of floats.
MINIALEX_API float norm3df(float a, float b, float c) { return float(norm3d(a, b, c)); }
MINIALEX_API float norm4df(float a, float b, float c, float d) { return float(norm4d(a, b, c, d)); }
MINIALEX_API float rhypotf(float a, float b) { return float(rhypot(double(a), double(b))); }
MINIALEX_API float rhypot(float a, float b) { return rhypotf(a, b); }
MINIALEX_API float rnorm3df(float a, float b, float c) { return float(rnorm3d(a, b, c)); }
MINIALEX_API float rnorm4df(float a, float b, float c, float d) { return float(rnorm4d(a, b, c, d)); }
namespace minialex {
MINIALEX_API double length(int count, const float* x) {
    double length = 0;
    for (int i = 0; i < count; ++i) length = hypot(length, double(x[i]));
    return length;
}
}  // namespace minialex
MINIALEX_API float normf(int count, const float* x) { return float(minialex::length(count, x)); }
MINIALEX_API float rnormf(int count, const float* x) { return float(1 / minialex::length(count, x)); }

// ---- The error function and the normal distribution ------------------------------------------------------

// exp(x * x) erfc(x)
MINIALEX_API double erfcx(double x) {
    if (x < 25) {
        const double square = x * x, rest = __builtin_fma(x, x, -square);
        const double power = exp(square);
        return (power + (isinf(power) ? 0 : power * rest)) * erfc(x);
    }
    // Its asymptotic series: 1 - 1 / (2 x^2) + 1 * 3 / (2 x^2)^2 - ...
    const double u = 0.5 / (x * x);
    return 0.56418958354775628695 / x * (1 - u * (1 - 3 * u * (1 - 5 * u * (1 - 7 * u * (1 - 9 * u)))));
}

namespace minialex {
// The x with erf(x) = 1 - q, for 0 < q <= 1: a first guess (Winitzki), and Halley's steps on the logarithm of erfc.
MINIALEX_API double inverse_of_erfc(double q) {
    const double l = log(q * (2 - q)), a = 0.147, h = 2 / (M_PI * a) + l / 2;
    double x = sqrt(sqrt(h * h - l / a) - h);
    for (int i = 0; i < 3; ++i) {
        // erfc'(x) / erfc(x) = -2 / (sqrt(pi) erfcx(x)), and log(erfc(x)) without a loss for large x.
        const double scaled = erfcx(x), slope = 1.1283791670955125739 / scaled;
        const double excess = x < 1 ? log(erfc(x) / q) : log(scaled) - x * x - log(q);
        x += excess / (slope + excess * (slope - 2 * x) / 2);
    }
    return x;
}
}  // namespace minialex

MINIALEX_API double erfcinv(double y) {
    if (!(y > 0 && y < 2)) return y == 0 ? INFINITY : y == 2 ? -INFINITY : NAN;
    return y > 1 ? -minialex::inverse_of_erfc(2 - y) : y == 1 ? 0 : minialex::inverse_of_erfc(y);
}
MINIALEX_API double erfinv(double y) {
    const double size = fabs(y);
    if (!(size < 1)) return size == 1 ? copysign(INFINITY, y) : NAN;
    if (size > 0.5) return copysign(minialex::inverse_of_erfc(1 - size), y);
    // From the first terms of its series; then Halley's steps on erf itself.
    double x = 0.88622692545275801365 * y * (1 + 0.26179938779914943654 * y * y);
    for (int i = 0; i < 3; ++i) {
        const double step = (erf(x) - y) / (1.1283791670955125739 * exp(-x * x));
        x -= step / (1 + x * step);
    }
    return y == 0 ? y : x;
}
MINIALEX_API double normcdf(double x) {
    // x / sqrt(2) as a rounded number and what the rounding has lost, which erfc makes large.
    const double root = 0.70710678118654752440, root_rest = -4.8336466567264851e-17;
    const double z = x * root, rest = __builtin_fma(x, root, -z) + x * root_rest;
    if (!(fabs(z) < 40)) return z != z ? x : z > 0 ? 1 : 0;
    return 0.5 * (erfc(-z) + 1.1283791670955125739 * exp(-z * z) * rest);
}
MINIALEX_API double normcdfinv(double p) { return -1.4142135623730950488 * erfcinv(2 * p); }
MINIALEX_FLOAT_TOO(erfcx)
MINIALEX_FLOAT_TOO(erfcinv)
MINIALEX_FLOAT_TOO(erfinv)
MINIALEX_FLOAT_TOO(normcdf)
MINIALEX_FLOAT_TOO(normcdfinv)

// ---- Modified Bessel functions ---------------------------------------------------------------------------

namespace minialex {
// Their series, whose terms are all positive: (x / 2)^order / order! * sum of (x^2 / 4)^k / (k! (k + order)!).
MINIALEX_API double modified_bessel(int order, double x) {
    const double u = x * x / 4;
    double term = order ? x / 2 : 1, sum = term;
    for (int k = 1; k < 2000 && fabs(term) > 1e-17 * fabs(sum); ++k) sum += term *= u / (double(k) * (k + order));
    return sum;
}
}  // namespace minialex
MINIALEX_API double cyl_bessel_i0(double x) { return minialex::modified_bessel(0, x); }
MINIALEX_API double cyl_bessel_i1(double x) { return minialex::modified_bessel(1, x); }
MINIALEX_FLOAT_TOO(cyl_bessel_i0)
MINIALEX_FLOAT_TOO(cyl_bessel_i1)

// ---- Operations in other directions of rounding: to zero (rz), up (ru), down (rd) -------------------------

namespace minialex {
template <int direction, class T, class Operation, class... Operands>
MINIALEX_API T rounded(Operation operation, Operands... operands) {
    const int before = fegetround();
    fesetround(direction);
    (opaque(operands), ...);  // so that the operation stays between the two changes
    T result = operation(operands...);
    opaque(result);
    fesetround(before);
    return result;
}
}  // namespace minialex

#define MINIALEX_DIRECTIONS(make, name, ...)           \
    make(name##_rz, FE_TOWARDZERO, __VA_ARGS__)        \
    make(name##_ru, FE_UPWARD, __VA_ARGS__)            \
    make(name##_rd, FE_DOWNWARD, __VA_ARGS__)
#define MINIALEX_ROUND_1(name, direction, to, from, expression)                                        \
    MINIALEX_API to name(from x) { return minialex::rounded<direction, to>([](from x) { return to(expression); }, x); }
#define MINIALEX_ROUND_2(name, direction, type, expression)                                            \
    MINIALEX_API type name(type x, type y) {                                                           \
        return minialex::rounded<direction, type>([](type x, type y) { return type(expression); }, x, y); \
    }
#define MINIALEX_ROUND_3(name, direction, type, expression)                                            \
    MINIALEX_API type name(type x, type y, type z) {                                                   \
        return minialex::rounded<direction, type>([](type x, type y, type z) { return type(expression); }, x, y, z); \
    }
MINIALEX_DIRECTIONS(MINIALEX_ROUND_2, __fadd, float, x + y)
MINIALEX_DIRECTIONS(MINIALEX_ROUND_2, __fsub, float, x - y)
MINIALEX_DIRECTIONS(MINIALEX_ROUND_2, __fmul, float, x * y)
MINIALEX_DIRECTIONS(MINIALEX_ROUND_2, __fdiv, float, x / y)
MINIALEX_DIRECTIONS(MINIALEX_ROUND_2, __dadd, double, x + y)
MINIALEX_DIRECTIONS(MINIALEX_ROUND_2, __dsub, double, x - y)
MINIALEX_DIRECTIONS(MINIALEX_ROUND_2, __dmul, double, x * y)
MINIALEX_DIRECTIONS(MINIALEX_ROUND_2, __ddiv, double, x / y)
MINIALEX_DIRECTIONS(MINIALEX_ROUND_3, __fmaf, float, __builtin_fmaf(x, y, z))
MINIALEX_DIRECTIONS(MINIALEX_ROUND_3, __fma, double, __builtin_fma(x, y, z))
MINIALEX_DIRECTIONS(MINIALEX_ROUND_1, __frcp, float, float, 1.0f / x)
MINIALEX_DIRECTIONS(MINIALEX_ROUND_1, __drcp, double, double, 1.0 / x)
MINIALEX_DIRECTIONS(MINIALEX_ROUND_1, __fsqrt, float, float, __builtin_sqrtf(x))
MINIALEX_DIRECTIONS(MINIALEX_ROUND_1, __dsqrt, double, double, __builtin_sqrt(x))
MINIALEX_DIRECTIONS(MINIALEX_ROUND_1, __double2float, float, double, x)
MINIALEX_DIRECTIONS(MINIALEX_ROUND_1, __int2float, float, int, x)
MINIALEX_DIRECTIONS(MINIALEX_ROUND_1, __uint2float, float, unsigned int, x)
MINIALEX_DIRECTIONS(MINIALEX_ROUND_1, __ll2float, float, long long, x)
MINIALEX_DIRECTIONS(MINIALEX_ROUND_1, __ull2float, float, unsigned long long, x)
MINIALEX_DIRECTIONS(MINIALEX_ROUND_1, __ll2double, double, long long, x)
MINIALEX_DIRECTIONS(MINIALEX_ROUND_1, __ull2double, double, unsigned long long, x)

#if __CUDA_ARCH__ >= 1000
// Two floats at once.
#define MINIALEX_PAIRS(direction)                                                                                  \
    MINIALEX_API float2 __fadd2_##direction(float2 x, float2 y) {                                                  \
        return {__fadd_##direction(x.x, y.x), __fadd_##direction(x.y, y.y)};                                       \
    }                                                                                                              \
    MINIALEX_API float2 __fmul2_##direction(float2 x, float2 y) {                                                  \
        return {__fmul_##direction(x.x, y.x), __fmul_##direction(x.y, y.y)};                                       \
    }                                                                                                              \
    MINIALEX_API float2 __ffma2_##direction(float2 x, float2 y, float2 z) {                                        \
        return {__fmaf_##direction(x.x, y.x, z.x), __fmaf_##direction(x.y, y.y, z.y)};                             \
    }
MINIALEX_PAIRS(rn)
MINIALEX_PAIRS(rz)
MINIALEX_PAIRS(ru)
MINIALEX_PAIRS(rd)
#endif
