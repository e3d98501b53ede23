#pragma once

#include <vector>

namespace fulmar::test {

// Whether this build runs code many times slower than a release, as ThreadSanitizer makes it. Tests
// that run everything several times then run it less often.
#if defined(__SANITIZE_THREAD__)
constexpr bool slow_build = true;
#elif defined(__has_feature)
constexpr bool slow_build = __has_feature(thread_sanitizer);
#else
constexpr bool slow_build = false;
#endif

// Or several times slower, as AddressSanitizer makes it.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool address_sanitizer = true;
#elif defined(__has_feature)
constexpr bool address_sanitizer = __has_feature(address_sanitizer);
#else
constexpr bool address_sanitizer = false;
#endif
constexpr bool sanitized = slow_build || address_sanitizer;

// Numbers of threads whose results are compared.
inline std::vector<int> thread_counts() {
  return sanitized ? std::vector{1, 3} : std::vector{1, 2, 3, 7};
}

}  // namespace fulmar::test
