#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#include "system.h"
#define ISA avx2
#define VBYTES 32
#include "isa.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
