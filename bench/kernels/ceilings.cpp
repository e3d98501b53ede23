#include "bench/kernels/ceilings.h"

#include <chrono>
#include <numeric>
#include <vector>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "bench/kernels/ceilings.cpp"
#include "hwy/foreach_target.h"
// Must come after foreach_target.h.
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::bench {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Twelve sums that don't wait for each other. Returns the operations done; `sink` keeps them.
double multiply_add(int64_t rounds, float* sink) {
  const hn::ScalableTag<float> d;
  constexpr int sums = 12;
  hn::Vec<decltype(d)> sum[sums];
#pragma GCC unroll 12
  for (int i = 0; i < sums; i++) sum[i] = hn::Set(d, sink[0] + static_cast<float>(i));
  const auto x = hn::Set(d, sink[1]);
  for (int64_t r = 0; r < rounds; r++) {
#pragma GCC unroll 12
    for (auto& s : sum) s = hn::MulAdd(s, x, x);
  }
  auto total = sum[0];
#pragma GCC unroll 12
  for (int i = 1; i < sums; i++) total = hn::Add(total, sum[i]);
  sink[0] = hn::GetLane(total);
  return 2.0 * sums * static_cast<double>(hn::Lanes(d)) * static_cast<double>(rounds);
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::bench
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fulmar::bench {

HWY_EXPORT(multiply_add);

double fma_gflops(ThreadPool& pool) {
  const int tasks = pool.threads();
  std::vector<double> operations(static_cast<size_t>(tasks));
  const auto start = std::chrono::steady_clock::now();
  pool.run(tasks, [&](int64_t task, int) {
    float sink[2] = {1, 0.5f};
    operations[static_cast<size_t>(task)] = HWY_DYNAMIC_DISPATCH(multiply_add)(600000, sink);
  });
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
  return std::accumulate(operations.begin(), operations.end(), 0.0) / time.count() / 1e9;
}

}  // namespace fulmar::bench
#endif
