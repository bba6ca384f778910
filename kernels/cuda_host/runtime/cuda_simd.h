// Integers packed into an int: two of 16 bits, or four of 8 (CUDA Math API, "SIMD Intrinsics"), and dot products.
#pragma once

namespace minialex {

template <class Part>
MINIALEX_API Part part(unsigned int packed, unsigned i) {
    return Part(packed >> 8 * sizeof(Part) * i);
}

template <class Part>
MINIALEX_API unsigned int at_part(long long value, unsigned i) {
    return (unsigned int)(std::make_unsigned_t<Part>(value)) << 8 * sizeof(Part) * i;
}

// function(a, b) of each pair of parts, cut to a part's bits.
template <class Part, class Function>
MINIALEX_API unsigned int by_parts(unsigned int a, unsigned int b, Function function) {
    unsigned int result = 0;
    for (unsigned i = 0; i < 4 / sizeof(Part); ++i)
        result |= at_part<Part>(function((long long)part<Part>(a, i), (long long)part<Part>(b, i)), i);
    return result;
}

template <class Part>
MINIALEX_API long long saturated(long long value) {
    constexpr long long bits = 8 * sizeof(Part);
    constexpr long long least = std::is_signed_v<Part> ? -(1ll << (bits - 1)) : 0;
    constexpr long long most = std::is_signed_v<Part> ? (1ll << (bits - 1)) - 1 : (1ll << bits) - 1;
    return value < least ? least : value > most ? most : value;
}

MINIALEX_API long long distance(long long x, long long y) { return x < y ? y - x : x - y; }
MINIALEX_API long long lesser(long long x, long long y) { return x < y ? x : y; }
MINIALEX_API long long greater(long long x, long long y) { return x < y ? y : x; }

}  // namespace minialex

// name##2 and name##4, signed (s) or unsigned (u) parts.
#define MINIALEX_PARTS(name, half, byte, expression)                                            \
    MINIALEX_API unsigned int name##2(unsigned int a, unsigned int b) {                         \
        using Part = half;                                                                      \
        return minialex::by_parts<Part>(a, b, [](long long x, long long y) { return (long long)(expression); }); \
    }                                                                                           \
    MINIALEX_API unsigned int name##4(unsigned int a, unsigned int b) {                         \
        using Part = byte;                                                                      \
        return minialex::by_parts<Part>(a, b, [](long long x, long long y) { return (long long)(expression); }); \
    }
#define MINIALEX_SIGNED_PARTS(name, expression) MINIALEX_PARTS(name, short, signed char, expression)
#define MINIALEX_UNSIGNED_PARTS(name, expression) MINIALEX_PARTS(name, unsigned short, unsigned char, expression)
#define MINIALEX_ONE_OPERAND(name, two)                                      \
    MINIALEX_API unsigned int name##2(unsigned int a) { return two##2(0, a); } \
    MINIALEX_API unsigned int name##4(unsigned int a) { return two##4(0, a); }

MINIALEX_UNSIGNED_PARTS(__vadd, x + y)
MINIALEX_SIGNED_PARTS(__vaddss, minialex::saturated<Part>(x + y))
MINIALEX_UNSIGNED_PARTS(__vaddus, minialex::saturated<Part>(x + y))
MINIALEX_UNSIGNED_PARTS(__vsub, x - y)
MINIALEX_SIGNED_PARTS(__vsubss, minialex::saturated<Part>(x - y))
MINIALEX_UNSIGNED_PARTS(__vsubus, minialex::saturated<Part>(x - y))
// A half is rounded away from zero, as the instructions that NVRTC makes of it do; __vhaddu rounds down.
MINIALEX_SIGNED_PARTS(__vavgs, (x + y + (x + y >= 0)) >> 1)
MINIALEX_UNSIGNED_PARTS(__vavgu, (x + y + 1) >> 1)
MINIALEX_UNSIGNED_PARTS(__vhaddu, (x + y) >> 1)
MINIALEX_SIGNED_PARTS(__vabsdiffs, minialex::distance(x, y))
MINIALEX_UNSIGNED_PARTS(__vabsdiffu, minialex::distance(x, y))
MINIALEX_SIGNED_PARTS(__vmaxs, minialex::greater(x, y))
MINIALEX_UNSIGNED_PARTS(__vmaxu, minialex::greater(x, y))
MINIALEX_SIGNED_PARTS(__vmins, minialex::lesser(x, y))
MINIALEX_UNSIGNED_PARTS(__vminu, minialex::lesser(x, y))
MINIALEX_ONE_OPERAND(__vneg, __vsub)
MINIALEX_ONE_OPERAND(__vnegss, __vsubss)
MINIALEX_ONE_OPERAND(__vabs, __vabsdiffs)
namespace minialex {
MINIALEX_SIGNED_PARTS(saturated_distance, saturated<Part>(distance(x, y)))
}
MINIALEX_ONE_OPERAND(__vabsss, minialex::saturated_distance)

#define MINIALEX_COMPARE_PARTS(relation, sign, expression)                  \
    MINIALEX_##sign##_PARTS(__vset##relation, (expression) ? 1 : 0)         \
    MINIALEX_##sign##_PARTS(__vcmp##relation, (expression) ? -1 : 0)
MINIALEX_COMPARE_PARTS(eq, UNSIGNED, x == y)
MINIALEX_COMPARE_PARTS(ne, UNSIGNED, x != y)
MINIALEX_COMPARE_PARTS(ges, SIGNED, x >= y)
MINIALEX_COMPARE_PARTS(gts, SIGNED, x > y)
MINIALEX_COMPARE_PARTS(les, SIGNED, x <= y)
MINIALEX_COMPARE_PARTS(lts, SIGNED, x < y)
MINIALEX_COMPARE_PARTS(geu, UNSIGNED, x >= y)
MINIALEX_COMPARE_PARTS(gtu, UNSIGNED, x > y)
MINIALEX_COMPARE_PARTS(leu, UNSIGNED, x <= y)
MINIALEX_COMPARE_PARTS(ltu, UNSIGNED, x < y)

#define MINIALEX_SUM_OF_DISTANCES(name, Part)                                          \
    MINIALEX_API unsigned int name(unsigned int a, unsigned int b) {                   \
        unsigned int sum = 0;                                                          \
        for (unsigned i = 0; i < 4 / sizeof(Part); ++i)                                \
            sum += (unsigned int)minialex::distance(minialex::part<Part>(a, i), minialex::part<Part>(b, i)); \
        return sum;                                                                    \
    }
MINIALEX_SUM_OF_DISTANCES(__vsads2, short)
MINIALEX_SUM_OF_DISTANCES(__vsads4, signed char)
MINIALEX_SUM_OF_DISTANCES(__vsadu2, unsigned short)
MINIALEX_SUM_OF_DISTANCES(__vsadu4, unsigned char)

// The greater or lesser of three, or of a sum and a third, and not less than zero (relu).
#define MINIALEX_OF_THREE(name, greatest)                                                                        \
    MINIALEX_API int __vi##name##3_s32(int a, int b, int c) { return greatest(greatest(a, b), c); }              \
    MINIALEX_API int __vi##name##3_s32_relu(int a, int b, int c) { return max(__vi##name##3_s32(a, b, c), 0); }  \
    MINIALEX_API unsigned int __vi##name##3_u32(unsigned int a, unsigned int b, unsigned int c) {                \
        return greatest(greatest(a, b), c);                                                                      \
    }                                                                                                            \
    MINIALEX_API unsigned int __vi##name##3_s16x2(unsigned int a, unsigned int b, unsigned int c) {              \
        return __v##name##s2(__v##name##s2(a, b), c);                                                            \
    }                                                                                                            \
    MINIALEX_API unsigned int __vi##name##3_s16x2_relu(unsigned int a, unsigned int b, unsigned int c) {         \
        return __vmaxs2(__vi##name##3_s16x2(a, b, c), 0);                                                        \
    }                                                                                                            \
    MINIALEX_API unsigned int __vi##name##3_u16x2(unsigned int a, unsigned int b, unsigned int c) {              \
        return __v##name##u2(__v##name##u2(a, b), c);                                                            \
    }                                                                                                            \
    MINIALEX_API int __vi##name##_s32_relu(int a, int b) { return max(greatest(a, b), 0); }                      \
    MINIALEX_API unsigned int __vi##name##_s16x2_relu(unsigned int a, unsigned int b) {                          \
        return __vmaxs2(__v##name##s2(a, b), 0);                                                                 \
    }                                                                                                            \
    MINIALEX_API int __viadd##name##_s32(int a, int b, int c) {                                                  \
        return greatest(int((unsigned int)a + (unsigned int)b), c);                                              \
    }                                                                                                            \
    MINIALEX_API int __viadd##name##_s32_relu(int a, int b, int c) { return max(__viadd##name##_s32(a, b, c), 0); } \
    MINIALEX_API unsigned int __viadd##name##_u32(unsigned int a, unsigned int b, unsigned int c) {              \
        return greatest(a + b, c);                                                                               \
    }                                                                                                            \
    MINIALEX_API unsigned int __viadd##name##_s16x2(unsigned int a, unsigned int b, unsigned int c) {            \
        return __v##name##s2(__vadd2(a, b), c);                                                                  \
    }                                                                                                            \
    MINIALEX_API unsigned int __viadd##name##_s16x2_relu(unsigned int a, unsigned int b, unsigned int c) {       \
        return __vmaxs2(__viadd##name##_s16x2(a, b, c), 0);                                                      \
    }                                                                                                            \
    MINIALEX_API unsigned int __viadd##name##_u16x2(unsigned int a, unsigned int b, unsigned int c) {            \
        return __v##name##u2(__vadd2(a, b), c);                                                                  \
    }                                                                                                            \
    /* And whether it is the first one. */                                                                       \
    MINIALEX_API int __vib##name##_s32(int a, int b, bool* first) { return *first = greatest(a, b) == a, greatest(a, b); } \
    MINIALEX_API unsigned int __vib##name##_u32(unsigned int a, unsigned int b, bool* first) {                   \
        return *first = greatest(a, b) == a, greatest(a, b);                                                     \
    }                                                                                                            \
    MINIALEX_API unsigned int __vib##name##_s16x2(unsigned int a, unsigned int b, bool* high, bool* low) {       \
        const unsigned int result = __v##name##s2(a, b);                                                         \
        *high = result >> 16 == a >> 16, *low = (unsigned short)result == (unsigned short)a;                     \
        return result;                                                                                           \
    }                                                                                                            \
    MINIALEX_API unsigned int __vib##name##_u16x2(unsigned int a, unsigned int b, bool* high, bool* low) {       \
        const unsigned int result = __v##name##u2(a, b);                                                         \
        *high = result >> 16 == a >> 16, *low = (unsigned short)result == (unsigned short)a;                     \
        return result;                                                                                           \
    }
MINIALEX_OF_THREE(max, max)
MINIALEX_OF_THREE(min, min)

// ---- Dot products of 8-bit numbers with 8-bit (dp4a) or 16-bit (dp2a) ones, added to c -------------------

namespace minialex {
template <class A, class B, class Sum>
MINIALEX_API Sum dot(unsigned int a, unsigned int b, Sum c, unsigned first_b) {
    unsigned int sum = (unsigned int)c;
    for (unsigned i = 0; i < 4 / sizeof(A); ++i)
        sum += (unsigned int)(int(part<A>(a, i)) * int(part<B>(b, first_b + i)));
    return Sum(sum);
}
template <class Vector>
MINIALEX_API unsigned int packed(Vector v) {
    static_assert(sizeof v == 4);
    return same_bits<unsigned int>(v);
}
}  // namespace minialex

MINIALEX_API int __dp4a(int a, int b, int c) { return minialex::dot<signed char, signed char>(a, b, c, 0); }
MINIALEX_API unsigned int __dp4a(unsigned int a, unsigned int b, unsigned int c) {
    return minialex::dot<unsigned char, unsigned char>(a, b, c, 0);
}
MINIALEX_API int __dp4a(char4 a, char4 b, int c) { return __dp4a(int(minialex::packed(a)), int(minialex::packed(b)), c); }
MINIALEX_API unsigned int __dp4a(uchar4 a, uchar4 b, unsigned int c) {
    return __dp4a(minialex::packed(a), minialex::packed(b), c);
}
#define MINIALEX_DP2A(name, first)                                                                                 \
    MINIALEX_API int name(int a, int b, int c) { return minialex::dot<short, signed char>(a, b, c, first); }       \
    MINIALEX_API unsigned int name(unsigned int a, unsigned int b, unsigned int c) {                               \
        return minialex::dot<unsigned short, unsigned char>(a, b, c, first);                                       \
    }                                                                                                              \
    MINIALEX_API int name(short2 a, char4 b, int c) { return name(int(minialex::packed(a)), int(minialex::packed(b)), c); } \
    MINIALEX_API unsigned int name(ushort2 a, uchar4 b, unsigned int c) {                                          \
        return name(minialex::packed(a), minialex::packed(b), c);                                                  \
    }
MINIALEX_DP2A(__dp2a_lo, 0)
MINIALEX_DP2A(__dp2a_hi, 2)
