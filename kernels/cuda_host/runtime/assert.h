// What <assert.h> and <cassert> are to a kernel. As everywhere, NDEBUG counts at each inclusion.
#undef assert
#ifdef NDEBUG
#define assert(condition) ((void)0)
#else
#define assert(condition) \
    ((condition) ? (void)0 : minialex::stop("the assertion " #condition " failed", __FILE__, __LINE__))
#endif
