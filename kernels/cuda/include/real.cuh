// The floating-point type that a file is compiled for: one source serves float32 and float64.
//
//     -DREAL=float or -DREAL=double        float if neither is given
//
// REAL_IS_DOUBLE can be tested with #if. The constants are those of IEEE 754, with names as in <cfloat>,
// which NVRTC lacks. Write literals as (real)0.5, and call the functions that are overloaded for
// both types (exp, not expf), so that no float is computed in double by accident.

#ifndef REAL
#define REAL float
#endif

// The preprocessor cannot compare REAL itself: it is pasted into a name that is 0 or 1.
#define MINIALEX_IS_DOUBLE_float 0
#define MINIALEX_IS_DOUBLE_double 1
#define MINIALEX_PASTE(a, b) a##b
#define MINIALEX_IS_DOUBLE(type) MINIALEX_PASTE(MINIALEX_IS_DOUBLE_, type)
#define REAL_IS_DOUBLE MINIALEX_IS_DOUBLE(REAL)

typedef REAL real;

#if REAL_IS_DOUBLE
#define REAL_MAX 1.7976931348623157e308       // the largest finite number
#define REAL_MIN 2.2250738585072014e-308      // the smallest normal one
#define REAL_EPSILON 2.220446049250313e-16    // from 1 to the next number
#else
#define REAL_MAX 3.40282347e38f
#define REAL_MIN 1.17549435e-38f
#define REAL_EPSILON 1.19209290e-7f
#endif

// Written as bit conversions: a constant expression that overflows is a warning or an error.
#define REAL_INFINITY ((real)__int_as_float(0x7f800000))
#define REAL_NAN ((real)__int_as_float(0x7fffffff))
