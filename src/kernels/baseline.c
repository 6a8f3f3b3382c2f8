/* The set that every processor of the architecture has: SSE2 on x86-64, NEON on arm64. */
#include "system.h"
#define ISA baseline
#define VBYTES 16
#include "isa.h"
