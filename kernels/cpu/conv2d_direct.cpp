#include "kernels/cpu/conv2d_direct.h"

#include <algorithm>

#include "kernels/cpu/scratch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/conv2d_direct.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// Must come after foreach_target.h.
#include "kernels/cpu/direct_row-inl.h"
#include "kernels/cpu/stores-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

// Of 64 channels a zipped row leaves L1: 3x3 from 3 to 64 took twice as long as the product of
// packed patches; to 32, 0.8 of its time (2026-11-30).
bool is_direct(const View& w, const View& y, const Window& window, int64_t groups) {
  constexpr int64_t most_outputs = 32;
  const ZippedConv conv(w, y, window);
  return conv.outputs <= most_outputs && conv.suits(groups);
}

void direct_target(ThreadPool& pool, const View& x, const View& w, const View& bias, const View& y,
                   const Window& window) {
  const ZippedConv conv(x, w, y, window);
  // Enough tasks for many threads, but few rows of x that two tasks zip.
  const int64_t lines = std::clamp<int64_t>(conv.lines() / 64, 4, 32);
  const int64_t row_floats = conv.out_width * conv.outputs;
  const bool past_caches = writes_past_caches(y) && row_floats % (line_bytes / sizeof(float)) == 0;
  const size_t bytes = static_cast<size_t>(conv.ring_floats() + 2 * conv.y_row()) * sizeof(float) +
                       static_cast<size_t>(conv.depth()) * sizeof(float*);
  pool.run((conv.lines() + lines - 1) / lines, [&](int64_t task, int worker) HWY_ATTR {
    float* const memory = static_cast<float*>(pool.scratch(worker, bytes));
    float* const zipped = memory + conv.ring_floats();
    float* const plain = zipped + conv.y_row();
    const auto taps = reinterpret_cast<const float**>(plain + conv.y_row());
    ZippedRows rows(conv, x.as<float>(), memory);
    DirectRow row{taps,
                  conv.depth(),
                  w.as<float>(),
                  bias ? bias.as<float>() : nullptr,
                  conv.outputs,
                  conv.columns,
                  conv.column_step(),
                  conv.outputs * max_lanes,
                  zipped,
                  {}};
    for (int64_t line = task * lines; line < std::min(conv.lines(), (task + 1) * lines); line++) {
      rows.find_taps(line, taps);
      row.next = rows.next(conv.columns / 2 * conv.depth());
      direct_row(row);
      float* const to = y.as<float>() + line * row_floats;
      store_zipped(zipped, conv.y_count, row_floats, past_caches, plain, to);
    }
    if (past_caches) hwy::FlushStream();
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fulmar::cpu {

HWY_EXPORT(is_direct);
HWY_EXPORT(direct_target);

bool conv2d_is_direct(const View& w, const View& y, const Window& window, int64_t groups) {
  return HWY_DYNAMIC_DISPATCH(is_direct)(w, y, window, groups);
}

void conv2d_direct(Stream& stream, const View& x, const View& w, const View& bias, const View& y,
                   const Window& window) {
  HWY_DYNAMIC_DISPATCH(direct_target)(*stream.pool, x, w, bias, y, window);
}

}  // namespace fulmar::cpu
#endif
