#include <doctest/doctest.h>

#include <cmath>
#include <numeric>
#include <vector>

#include "kernels/bf16.h"
#include "kernels/cuda/vectors.cuh"
#include "kernels/simt/sanitizers.h"
#include "tests/simt_kernels.h"
#include "tests/support/built.h"
#include "tests/support/error_of.h"
#include "tests/support/process.h"
#include "tests/support/simt_orders.h"

namespace fulmar::test {
namespace {

std::vector<float> numbers(int count) {
  std::vector<float> x(static_cast<size_t>(count));
  for (int i = 0; i < count; i++) x[i] = std::sin(static_cast<float>(i));
  return x;
}

}  // namespace

TEST_CASE("simt: a sum over a grid equals the plain loop, with the same bits in every order") {
  constexpr int count = 5000, blocks = 3;
  const std::vector<float> x = numbers(count);
  const double expected = std::accumulate(x.begin(), x.end(), 0.0);
  std::vector<float> first;
  in_every_order([&] {
    std::vector<float> out(blocks);
    launch({"block_sums", blocks, 128}, block_sums<128>, x.data(), out.data(), count);
    CHECK(std::accumulate(out.begin(), out.end(), 0.0) == doctest::Approx(expected).epsilon(1e-5));
    if (first.empty()) first = out;
    CHECK(out == first);
  });
}

TEST_CASE("simt: prefix sums and a halo in dynamic shared memory equal plain loops") {
  in_every_order([] {
    for (const unsigned threads : {1u, 31u, 64u, 1024u}) {
      std::vector<int> x(threads), y(threads), expected(threads);
      for (unsigned i = 0; i < threads; i++) x[i] = static_cast<int>(i * i % 17) - 8;
      std::partial_sum(x.begin(), x.end(), expected.begin());
      launch({"scan", 1, threads}, scan, x.data(), y.data());
      CHECK(y == expected);
    }
    constexpr int count = 1000;
    const std::vector<float> x = numbers(count);
    std::vector<float> y(count);
    launch({"box3", (count + 63) / 64, 64, nullptr, 66 * sizeof(float)}, box3<>, x.data(), y.data(),
           count);
    for (int i = 0; i < count; i++) {
      const float before = i > 0 ? x[i - 1] : 0, after = i + 1 < count ? x[i + 1] : 0;
      CHECK(y[i] == before + x[i] + after);
    }
  });
}

namespace {

__global__ void shuffles(const double* x, double* out, int width) {
  const unsigned i = threadIdx.x, n = blockDim.x;
  out[i] = __shfl_sync(~0u, x[i], 5, width);
  out[n + i] = __shfl_up_sync(~0u, x[i], 3, width);
  out[2 * n + i] = __shfl_down_sync(~0u, x[i], 3, width);
  out[3 * n + i] = __shfl_xor_sync(~0u, x[i], 6, width);
}

__global__ void votes(const int* x, unsigned* out) {
  const unsigned i = threadIdx.x, n = blockDim.x;
  out[i] = __ballot_sync(~0u, x[i]);
  out[n + i] = static_cast<unsigned>(__any_sync(~0u, x[i]));
  out[2 * n + i] = static_cast<unsigned>(__all_sync(~0u, x[i]));
  out[3 * n + i] = static_cast<unsigned>(__syncthreads_count(x[i]));
  out[4 * n + i] = static_cast<unsigned>(__syncthreads_or(x[i]));
  // Halves of a warp by themselves, at different times.
  const unsigned half = i % 32 < 16 ? 0x0000FFFFu : 0xFFFF0000u;
  if (i % 32 < 16) __syncwarp(half);
  out[5 * n + i] = __ballot_sync(half, x[i]);
}

}  // namespace

TEST_CASE("simt: shuffles move what CUDA's definition says") {
  in_every_order([] {
    for (const int width : {32, 8}) {
      constexpr int n = 64;
      std::vector<double> x(n), out(4 * n);
      for (int i = 0; i < n; i++) x[i] = 1000.5 + i;
      launch({"shuffles", 1, n}, shuffles, x.data(), out.data(), width);
      for (int i = 0; i < n; i++) {
        const int first = i / width * width, lane = i - first;
        CHECK(out[i] == x[first + 5]);
        CHECK(out[n + i] == x[lane >= 3 ? i - 3 : i]);
        CHECK(out[2 * n + i] == x[lane + 3 < width ? i + 3 : i]);
        CHECK(out[3 * n + i] == x[i ^ 6]);
      }
    }
  });
}

namespace {

__global__ void histogram(const int* x, unsigned long long* total, int count) {
  FULMAR_SHARED(unsigned, found, [4]);
  if (threadIdx.x < 4) found[threadIdx.x] = 0;
  __syncthreads();
  const int step = static_cast<int>(gridDim.x * blockDim.x);
  for (int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x); i < count; i += step)
    atomicAdd(&found[x[i]], 3u);
  __syncthreads();
  if (threadIdx.x < 4)
    total[4 + 4 * blockIdx.x + threadIdx.x] =
        atomicAdd(&total[threadIdx.x], static_cast<unsigned long long>(found[threadIdx.x]));
}

}  // namespace

TEST_CASE("simt: atomic additions of whole numbers lose none, and give what was there before") {
  in_every_order([] {
    constexpr int count = 1000, blocks = 3;
    std::vector<int> x(count);
    for (int i = 0; i < count; i++) x[i] = i * i % 4;  // 0 or 1
    constexpr unsigned long long begin = 0xFFFFFFFFu;  // the sum needs 64 bits
    std::vector<unsigned long long> total(4 + 4 * blocks, begin);
    launch({"histogram", blocks, 96}, histogram, x.data(), total.data(), count);
    CHECK(total[0] == begin + 1500);
    CHECK(total[1] == begin + 1500);
    CHECK(total[2] == begin);
    bool first = false;  // some block came first
    for (int block = 0; block < blocks; block++) first = first || total[4 + 4 * block] == begin;
    CHECK(first);
  });
}

TEST_CASE("simt: votes of warps, half warps and blocks") {
  in_every_order([] {
    constexpr unsigned n = 70;  // the last warp has 6 lanes
    std::vector<int> x(n);
    for (unsigned i = 0; i < n; i++) x[i] = i >= 64 || i % 5 == 0;
    std::vector<unsigned> out(6 * n);
    launch({"votes", 1, n}, votes, x.data(), out.data());
    const unsigned total = static_cast<unsigned>(std::accumulate(x.begin(), x.end(), 0));
    for (unsigned i = 0; i < n; i++) {
      unsigned bits = 0;
      for (unsigned l = 0; l < 32 && i / 32 * 32 + l < n; l++)
        bits |= static_cast<unsigned>(x[i / 32 * 32 + l]) << l;
      CHECK(out[i] == bits);
      CHECK(out[n + i] == 1);
      CHECK(out[2 * n + i] == (i >= 64 ? 1 : 0));
      CHECK(out[3 * n + i] == total);
      CHECK(out[4 * n + i] == 1);
      CHECK(out[5 * n + i] == (i % 32 < 16 ? bits & 0xFFFF : bits & 0xFFFF0000));
    }
  });
}

namespace {

__global__ void indices(int* out) {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  out[block * blockDim.x * blockDim.y * blockDim.z + thread]++;
}

}  // namespace

TEST_CASE("simt: every thread of every block runs once") {
  in_every_order([] {
    for (const dim3 grid : {dim3(1), dim3(7), dim3(3, 2, 4)}) {
      std::vector<int> out(grid.x * grid.y * grid.z * 30);
      launch({"indices", grid, dim3(5, 3, 2)}, indices, out.data());
      CHECK(out == std::vector<int>(out.size(), 1));
    }
  });
}

namespace {

__global__ void early_leaver(int* out) {
  if (threadIdx.x % 3 == 0) return;
  __syncthreads();
  out[threadIdx.x] = __popc(__ballot_sync(~0u, 1));
}

__global__ void reads_unwritten(float* out) {
  FULMAR_SHARED(float, memory, [4]);
  FULMAR_DYNAMIC_SHARED(float, dynamic);
  if (blockIdx.x == 0) memory[0] = dynamic[0] = 1;
  out[2 * blockIdx.x] = memory[0];
  out[2 * blockIdx.x + 1] = dynamic[0];
}

// Two calls of the same are what is wrong here. NOLINTBEGIN(bugprone-branch-clone)
__global__ void divergent_barrier() {
  if (threadIdx.x < 16)
    __syncthreads();
  else
    __syncthreads();
}

__global__ void waits_for_ever() {
  if (threadIdx.x < 16)
    __syncthreads();
  else
    __shfl_xor_sync(~0u, 1, 1);
}

__global__ void not_in_its_mask() { __ballot_sync(1u, 1); }

__global__ void different_operations() {
  if (threadIdx.x < 16)
    __ballot_sync(~0u, 1);
  else
    __ballot_sync(~0u, 1);
}
// NOLINTEND(bugprone-branch-clone)

__global__ void misaligned_load(const float* x, float* out) {
  out[threadIdx.x] = cuda::load<4>(x + threadIdx.x).v[0];
}

__global__ void much_static() {
  FULMAR_SHARED(char, memory, [49 * 1024]);
  memory[0] = 0;
}

__global__ void some_static() {
  FULMAR_SHARED(char, memory, [1024]);
  memory[0] = 0;
}

#ifndef FULMAR_SIMT_ASAN  // ends the process at the write
__global__ void overruns(int by) {
  FULMAR_SHARED(int, memory, [8]);
  memory[static_cast<int>(threadIdx.x) + by] = 0;
}
#endif

__global__ void throws() {
  if (threadIdx.x == 3) usage_error("from thread 3");
  __syncthreads();
}

}  // namespace

TEST_CASE("simt: threads that left are not waited for, and their lanes take no part") {
  in_every_order([] {
    std::vector<int> out(32);
    launch({"early_leaver", 1, 32}, early_leaver, out.data());
    for (int i = 0; i < 32; i++) CHECK(out[i] == (i % 3 == 0 ? 0 : 21));
  });
}

TEST_CASE("simt: shared memory is NaN until it is written, in every block anew") {
  std::vector<float> out(4);
  launch({"reads_unwritten", 2, 1, nullptr, 64}, reads_unwritten, out.data());
  CHECK(out[0] == 1);
  CHECK(out[1] == 1);
  CHECK(std::isnan(out[2]));
  CHECK(std::isnan(out[3]));
}

TEST_CASE("simt: what breaks a rule is an error that names kernel, block, threads and lines") {
  in_every_order([] {
    std::string text = error_of(ErrorKind::usage, [] {
      launch({"divergent_barrier", 1, 32}, divergent_barrier);
    });
    CHECK(has(text, "divergent_barrier, block (0,0,0), thread ("));
    CHECK(has(text, "divergent barrier: it is at __syncthreads ("));
    CHECK(has(text, "simt_test.cpp:"));

    text = error_of(ErrorKind::usage, [] {
      launch({"waits_for_ever", dim3(2, 3), 64}, waits_for_ever);
    });
    CHECK(has(text, "waits_for_ever, block ("));
    CHECK(has(text, "deadlock: threads 0-15 wait at __syncthreads ("));
    CHECK(has(text, "threads 16-31 wait at __shfl_xor_sync ("));
    CHECK(has(text, "for mask ffffffff"));
    CHECK(has(text, "threads 32-63 left"));

    text = error_of(ErrorKind::usage, [] { launch({"not_in_its_mask", 1, 2}, not_in_its_mask); });
    CHECK(has(text, "thread (1,0,0): __ballot_sync ("));
    CHECK(has(text, "not in its own mask"));

    text = error_of(ErrorKind::usage, [] {
      launch({"different_operations", 1, 32}, different_operations);
    });
    CHECK(has(text, "lanes of one mask at different operations"));

    text = error_of(ErrorKind::usage, [] { launch({"throws", 1, 64}, throws); });
    CHECK(text == "from thread 3");
  });
  // The emulator works after all of this.
  std::vector<int> out(64);
  launch({"early_leaver", 1, 32}, early_leaver, out.data());
  CHECK(out[1] == 21);
}

#ifndef FULMAR_SIMT_ASAN
TEST_CASE("simt: a write beside a shared array is found when the block ends") {
  const auto of = [](int by) {
    return error_of(ErrorKind::usage, [&] { launch({"overruns", 1, 8}, overruns, by); });
  };
  CHECK(of(0) == "no error");
  CHECK(has(of(1), "overruns, block (0,0,0): a write past the end of 'memory'"));
  CHECK(has(of(-1), "overruns, block (0,0,0): a write before the beginning of 'memory'"));
}
#endif

TEST_CASE("simt: a misaligned vector access is an error") {
  alignas(16) float x[8] = {};
  float out[2];
  launch({"misaligned_load", 1, 1}, misaligned_load, x, out);
  const std::string text = error_of(ErrorKind::usage, [&] {
    launch({"misaligned_load", 1, 2}, misaligned_load, x, out);
  });
  CHECK(has(text, "misaligned_load, block (0,0,0), thread (1,0,0): misaligned address: 4 bytes"));
}

TEST_CASE("simt: CUDA's limits of a launch are errors") {
  const auto of = [](dim3 grid, dim3 block, size_t dynamic, void (*kernel)()) {
    return error_of(ErrorKind::usage, [&] {
      launch({"k", grid, block, nullptr, dynamic}, kernel);
    });
  };
  CHECK(has(of(1, 1025, 0, throws), "launch of k: a block of 1025 x 1 x 1 threads"));
  CHECK(has(of(1, dim3(1, 1, 65), 0, throws), "a block of 1 x 1 x 65"));
  CHECK(has(of(1, 0, 0, throws), "a block of 0 x 1 x 1"));
  CHECK(has(of(0, 1, 0, throws), "a grid of 0 x 1 x 1"));
  CHECK(has(of(dim3(1, 65536), 1, 0, throws), "a grid of 1 x 65536 x 1"));
  CHECK(has(of(1, 1, 227 * 1024 + 1, throws), "232449 bytes of dynamic shared memory"));
  CHECK(has(of(1, 1, 0, much_static), "static shared memory with 'memory' is 50176 bytes"));
  CHECK(has(of(1, 1, 226 * 1024 + 1, some_static), "shared memory with 'memory' is 232449"));
  CHECK(of(1, 1, 226 * 1024, some_static) == "no error");
}

TEST_CASE("simt: broken kernels are caught, by the errors, results or sanitizers of this build") {
  const auto ran = [](const char* name) { return run_process(built::simt_broken, {name}); };
  CHECK(ran("box").out == "right\n");
  CHECK(ran("sums").out == "right\n");
  const Ended no_barrier = ran("no barrier"), halo = ran("halo"), neighbour = ran("neighbour");
  const Ended same_element = ran("same element"), past_the_end = ran("past the end");
#ifdef FULMAR_SIMT_TSAN
  for (const Ended& ended : {no_barrier, neighbour, same_element}) {
    CHECK(ended.code != 0);
    CHECK(has(ended.err, "data race"));
    CHECK(has(ended.err, "simt_kernels.h"));
  }
  CHECK(halo.out == "wrong\n");
#else
  CHECK(no_barrier.out == "wrong\n");
  CHECK(neighbour.out == "wrong\n");
#ifdef FULMAR_SIMT_ASAN
  for (const Ended& ended : {halo, past_the_end}) {
    CHECK(ended.code != 0);
    CHECK(has(ended.err, "AddressSanitizer"));
    CHECK(has(ended.err, "simt_kernels.h"));
  }
#else
  CHECK(halo.out == "wrong\n");
#endif
#endif
}

TEST_CASE("simt: without barrier a sum is wrong in at least one order") {
  if (simt::race_checked) return;  // the process would end
  int wrong = 0;
  in_every_order([&] {
    const std::vector<float> x(256, 1.0f);
    float out = 0;
    launch({"block_sums", 1, 64}, block_sums<64, Bug::no_barrier>, x.data(), &out, 256);
    wrong += out != 256;
  });
  CHECK(wrong > 0);
}

namespace {

// The nearest of all 65536 bf16 by distance in double, ties to the even one.
bf16 nearest(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint16_t down = static_cast<uint16_t>(bits >> 16), up = static_cast<uint16_t>(down + 1);
  // One step past the largest counts as 2^128, as IEEE 754 rounds.
  const auto magnitude = [](uint16_t b) {
    if ((b & 0x7FFF) == 0x7F80) return std::ldexp(1.0, 128);
    return std::abs(static_cast<double>(to_float(bf16{b})));
  };
  const double x = std::abs(static_cast<double>(value));
  const double below = x - magnitude(down), above = magnitude(up) - x;
  if (below != above) return {below < above ? down : up};
  return {down % 2 == 0 ? down : up};
}

}  // namespace

TEST_CASE("simt: bf16 rounds to the nearest, ties to even") {
  for (uint32_t upper = 0; upper < 0x10000; upper++) {
    const bool finite = (upper & 0x7F80) != 0x7F80;
    for (const uint32_t lower : {0u, 1u, 0x7FFFu, 0x8000u, 0x8001u, 0xFFFFu}) {
      const float value = std::bit_cast<float>(upper << 16 | lower);
      const uint16_t found = to_bf16(value).bits;
      if (finite)
        REQUIRE(found == nearest(value).bits);
      else if (std::isnan(value))
        REQUIRE(found == 0x7FFF);
      else
        REQUIRE(found == upper);
    }
    const float exact = to_float(bf16{static_cast<uint16_t>(upper)});
    REQUIRE(std::bit_cast<uint32_t>(exact) == upper << 16);
  }
}

}  // namespace fulmar::test
