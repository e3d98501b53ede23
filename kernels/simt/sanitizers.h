#pragma once

// Which sanitizer this build has, and the calls that the emulator makes to it.
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FULMAR_SIMT_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define FULMAR_SIMT_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) && !defined(FULMAR_SIMT_ASAN)
#define FULMAR_SIMT_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__) && !defined(FULMAR_SIMT_TSAN)
#define FULMAR_SIMT_TSAN 1
#endif

#ifdef FULMAR_SIMT_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#ifdef FULMAR_SIMT_TSAN
#include <sanitizer/tsan_interface.h>
extern "C" {
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);
}
#endif

namespace fulmar::simt {

#ifdef FULMAR_SIMT_TSAN
constexpr bool race_checked = true;
// One thread's writes before publish(tag) are known to those who call observe(tag) later.
inline void publish(void* tag) { __tsan_release(tag); }
inline void observe(void* tag) { __tsan_acquire(tag); }
// The emulator's own memory is shared by all fibers of a thread on purpose: no race.
inline void watch_begin() {
  AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
  AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
}
inline void watch_end() {
  AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
  AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
}
#else
constexpr bool race_checked = false;
inline void publish(void*) {}
inline void observe(void*) {}
inline void watch_begin() {}
inline void watch_end() {}
#endif

// While it lives, accesses to memory are the emulator's, not the kernel's.
class Unwatched {
 public:
  Unwatched() { watch_end(); }
  ~Unwatched() { watch_begin(); }
  Unwatched(const Unwatched&) = delete;
  Unwatched& operator=(const Unwatched&) = delete;
};

}  // namespace fulmar::simt
