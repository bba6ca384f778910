// How the executor calls a kernel: its description, with types that templates deduce, and the loop over threads.
#pragma once

#include <type_traits>
#include <utility>

#include "executor.h"

extern "C" {
// Set by the linker: where the library begins in memory, and where its code ends.
extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char etext[] __attribute__((visibility("hidden")));
}

namespace minialex {

#ifdef MINIALEX_CHECKED
// The executor and the checker lie before the source in a checked library.
extern const char code_begin[] asm("minialex_code_begin") __attribute__((visibility("hidden")));
asm(".text\n.globl minialex_code_begin\n.hidden minialex_code_begin\nminialex_code_begin:");
#else
static constexpr const char* code_begin = __ehdr_start;
#endif

// The index of the running thread. Nothing outside the source being compiled can point to it, so that the
// compiler may keep it in a register, and vectorise the loop over threads. Whoever runs other threads
// meanwhile sets it back.
#ifdef MINIALEX_CHECKED
static uint3 thread;
#else
static __thread uint3 thread;
#endif

// Calls a function of the executor that runs other threads before it returns.
template <class Function>
static inline __attribute__((always_inline)) auto while_others_run(Function function) {
    const uint3 self = thread;
    here.thread = self;
    const auto result = function();
    thread = self;
    return result;
}

template <class T>
struct TypeName {
    static_assert(!sizeof(T), "a kernel's parameter must be a number, a vector or a structure, or a pointer to one");
};
// Specialised for float4 and its kin.
template <class T>
constexpr bool is_vector = false;
#define MINIALEX_NAME_TYPE(type)                     \
    template <>                                      \
    struct TypeName<type> {                          \
        static constexpr const char* value = #type;  \
    };
MINIALEX_NAME_TYPE(void)
MINIALEX_NAME_TYPE(bool)
MINIALEX_NAME_TYPE(char)
MINIALEX_NAME_TYPE(signed char)
MINIALEX_NAME_TYPE(unsigned char)
MINIALEX_NAME_TYPE(short)
MINIALEX_NAME_TYPE(unsigned short)
MINIALEX_NAME_TYPE(int)
MINIALEX_NAME_TYPE(unsigned int)
MINIALEX_NAME_TYPE(long)
MINIALEX_NAME_TYPE(unsigned long)
MINIALEX_NAME_TYPE(long long)
MINIALEX_NAME_TYPE(unsigned long long)
MINIALEX_NAME_TYPE(float)
MINIALEX_NAME_TYPE(double)

template <size_t LENGTH>
struct Characters {
    char value[LENGTH];
};

// The name of a structure, as the compiler spells it: "constexpr auto minialex::spell() [with T = Particle]".
template <class T>
constexpr auto spell() {
    Characters<sizeof __PRETTY_FUNCTION__> name{};
    size_t begin = 0, end = sizeof __PRETTY_FUNCTION__ - 2;
    while (__PRETTY_FUNCTION__[begin] != '=') ++begin;
    begin += 2;
    for (size_t i = begin; i < end; ++i) name.value[i - begin] = __PRETTY_FUNCTION__[i];
    return name;
}
template <class T>
constexpr auto spelled = spell<T>();

template <class T>
constexpr bool is_structure = std::is_class_v<T> || std::is_union_v<T>;

template <class T>
constexpr const char* type_name() {
    if constexpr (std::is_enum_v<T>) return TypeName<std::underlying_type_t<T>>::value;
    else if constexpr (is_structure<T> && !is_vector<T>) return spelled<T>.value;
    else return TypeName<T>::value;
}

template <class T>
constexpr int bytes_of() {
    if constexpr (std::is_void_v<T>) return 1;
    else return sizeof(T);
}

template <class T>
constexpr Parameter describe() {
    static_assert(!std::is_reference_v<T>, "a kernel's parameter cannot be a reference");
    static_assert(std::is_trivially_copyable_v<T>, "a kernel's parameter must be one whose bytes can be copied");
    using Element = std::remove_pointer_t<T>;
    using Type = std::remove_cv_t<Element>;
    const auto kind = is_vector<Type> ? Parameter::VECTOR : is_structure<Type> ? Parameter::STRUCTURE : Parameter::SCALAR;
    return {type_name<Type>(), kind, std::is_pointer_v<T>, std::is_const_v<Element>, bytes_of<Element>()};
}

template <class T>
constexpr const char* element_name() {
    if constexpr (std::is_pointer_v<T>) return "pointer";
    else if constexpr (std::is_enum_v<T>) return TypeName<std::underlying_type_t<T>>::value;
    else if constexpr (std::is_arithmetic_v<T> || is_vector<T>) return TypeName<T>::value;
    else return nullptr;
}

template <class T, size_t... I>
constexpr Global describe_global(T& variable, const char* name, int constant, std::index_sequence<I...>) {
    using Element = std::remove_all_extents_t<T>;
    static_assert(sizeof...(I) <= 8, "an array in global or constant memory has eight dimensions at most");
    return {name, const_cast<void*>(static_cast<const volatile void*>(&variable)),
            element_name<std::remove_cv_t<Element>>(), constant, std::is_const_v<Element>, sizeof(T), sizeof(Element),
            int(sizeof...(I)), {std::extent_v<T, I>...}};
}
template <class T>
constexpr Global describe_global(T& variable, const char* name, int constant) {
    return describe_global(variable, name, constant, std::make_index_sequence<std::rank_v<T>>());
}

// Sets the source's pointers to dynamic shared memory that are outside functions (declarations.py).
static void find_dynamic_shared();

// A value into which bytes are copied: no constructor runs.
template <class T>
union Copied {
    char none;
    T value;
    Copied() : none() {}
};

// Not instrumented: the slots are Python's memory, which a kernel may not access.
template <class T>
__attribute__((no_sanitize("thread"))) T argument(const uint64_t* slot) {
    Copied<T> copied;
    __builtin_memcpy(&copied, slot, sizeof(T));
    return copied.value;
}

template <class... P>
constexpr size_t first_slot(size_t parameter) {
    const size_t slots[] = {(sizeof(P) + 7) / 8 ..., 0};
    size_t first = 0;
    for (size_t i = 0; i < parameter; ++i) first += slots[i];
    return first;
}

constexpr int first(int threads, int = 0, int = 0) { return threads; }

#ifdef MINIALEX_INSTRUMENTED
#define MINIALEX_INLINE_ALL
#else
#define MINIALEX_INLINE_ALL __attribute__((flatten))
#endif

// A kernel with the types of its parameters, as the compiler deduces them.
template <auto Function>
struct Invocation;

template <class... P, void (*Function)(P...)>
struct Invocation<Function> {
    static constexpr Parameter parameters[] = {describe<P>()..., {}};

    static void run(const uint64_t* arguments) { run(arguments, std::index_sequence_for<P...>()); }

    template <size_t... I>
    MINIALEX_INLINE_ALL static void run(const uint64_t* arguments, std::index_sequence<I...>) {
        run(argument<P>(arguments + first_slot<P...>(I))...);
    }

    MINIALEX_INLINE_ALL static void run(P... arguments) {
        find_dynamic_shared();
        do {
            const unsigned width = here.block_size.x;
            thread = here.thread;
            unsigned x = thread.x;
            do {
                thread.x = x;
                Function(arguments...);
            } while (!here.scheduled && ++x < width);
        } while (next_threads());
    }

    static constexpr Kernel kernel(const char* name, const char* parameter_names, int launch_bound,
                                   const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
        return {name, parameter_names, parameters, int(sizeof...(P)), launch_bound, run, __ehdr_start, code_begin, etext, file, line};
    }
};

}  // namespace minialex
