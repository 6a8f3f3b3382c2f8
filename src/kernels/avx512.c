#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512dq,avx512vl,avx512bw,avx2,fma")
#endif
#include "system.h"
#define ISA avx512
#define VBYTES 64
#include "isa.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
