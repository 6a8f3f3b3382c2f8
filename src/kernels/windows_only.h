/* <windows.h> without definitions that would clash with our names. */
#ifndef FASTBP_WINDOWS_ONLY_H
#define FASTBP_WINDOWS_ONLY_H

#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#ifndef NOMINMAX
#define NOMINMAX
#endif
#ifndef _WIN32_WINNT
#define _WIN32_WINNT 0x0602     /* Windows 8, for WaitOnAddress */
#endif
#include <windows.h>
#undef near
#undef far

#endif
