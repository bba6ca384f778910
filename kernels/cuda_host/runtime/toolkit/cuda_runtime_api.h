// What kernels need of it is there without it (cuda_language.h); the host's functions are not.
