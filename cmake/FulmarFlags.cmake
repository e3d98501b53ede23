# The interface target that every target of ours links: warnings, floating point, sanitizers.
add_library(fulmar_flags INTERFACE)
target_include_directories(fulmar_flags INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>)
target_compile_features(fulmar_flags INTERFACE cxx_std_20)
target_compile_options(fulmar_flags INTERFACE
  -Wall -Wextra $<$<BOOL:${FULMAR_WERROR}>:-Werror>
  # No a*b+c is turned into an FMA behind our back: the reference computes the same bits with every
  # compiler. Kernels that want an FMA ask Highway for one.
  -ffp-contract=off
  # Warns wrongly about "text" + std::string (https://gcc.gnu.org/bugzilla/show_bug.cgi?id=105651).
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>)

# No -march: Highway compiles each CPU kernel for several instruction sets and chooses at run time.
# Here they are AVX2, AVX-512 (HWY_AVX3) and the plain fallback, whatever Highway's version: bits 4
# (AVX3_SPR), 6 (AVX3_ZEN4), 7 (AVX3_DL), 11 (SSE4), 12 (SSSE3) and 14 (SSE2) are off.
# ThreadSanitizer's build leaves AVX-512 (bit 8) out too: it looks at threads, not at lanes.
if(FULMAR_SANITIZE MATCHES thread)
  target_compile_definitions(fulmar_flags INTERFACE HWY_DISABLED_TARGETS=0x59D0)
else()
  target_compile_definitions(fulmar_flags INTERFACE HWY_DISABLED_TARGETS=0x58D0)
endif()

# SIMD code is unusably slow without any inlining.
set(CMAKE_CXX_FLAGS_DEBUG "-Og -g" CACHE STRING "Flags of debug builds" FORCE)

if(FULMAR_SANITIZE)
  # Stack traces need lines, no more: full debug information costs a third of the compiler's time.
  target_compile_options(fulmar_flags INTERFACE
    -fsanitize=${FULMAR_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer
    $<$<CXX_COMPILER_ID:Clang>:-gline-tables-only>)
  if(FULMAR_SANITIZE MATCHES address AND CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    # Large functions (SIMD kernels) call ASan's checks: written out, they compile twice as long.
    target_compile_options(fulmar_flags INTERFACE
      "SHELL:-mllvm -asan-instrumentation-with-call-threshold=300")
  endif()
  target_link_options(fulmar_flags INTERFACE -fsanitize=${FULMAR_SANITIZE})
endif()
