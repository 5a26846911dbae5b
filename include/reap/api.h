/* The version, and what stands around the declarations of every public header: C's names in C++, and the symbols that
 * the shared library shows. */
#ifndef REAP_API_H
#define REAP_API_H

#define REAP_VERSION "0.1.0"

#ifdef __cplusplus
#define REAP_API_BEGIN _Pragma("GCC visibility push(default)") extern "C" {
#define REAP_API_END \
  }                  \
  _Pragma("GCC visibility pop")
#else
#define REAP_API_BEGIN _Pragma("GCC visibility push(default)")
#define REAP_API_END _Pragma("GCC visibility pop")
#endif

#endif
