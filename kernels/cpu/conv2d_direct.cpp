#include "kernels/cpu/conv2d_direct.h"

#include <algorithm>

#include "kernels/cpu/scratch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/conv2d_direct.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// Must come after foreach_target.h.
#include "kernels/cpu/direct_row-inl.h"
#include "kernels/cpu/stores-inl.h"
#include "kernels/cpu/zipped_picture-inl.h"
#include "kernels/cpu/zipped_sums-inl.h"

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

// A task makes `lines` rows of y and has sums of its own.
void direct_target(ThreadPool& pool, const Loaded& x, const View& w, const View& bias,
                   const View& shift, const View& y, const View& sums, const Window& window,
                   int64_t lines, double* work) {
  const ZippedConv conv(x.shape(), w, y, window);
  const ZippedSource source(x);
  const int64_t tasks = (conv.lines() + lines - 1) / lines;
  const int64_t row_floats = conv.out_width * conv.outputs;
  const bool past_caches = writes_past_caches(y) && row_floats % (line_bytes / sizeof(float)) == 0;
  const size_t bytes =
      static_cast<size_t>(conv.ring_floats() + 2 * conv.y_row() + source.row_floats()) *
          sizeof(float) +
      static_cast<size_t>(conv.depth()) * sizeof(float*);
  const ZippedSums row_sums(conv, shift);
  pool.run(tasks, [&](int64_t task, int worker) HWY_ATTR {
    float* const memory = static_cast<float*>(pool.scratch(worker, bytes));
    float* const zipped = memory + conv.ring_floats();
    float* const plain = zipped + conv.y_row();
    float* const picture_row = plain + conv.y_row();
    const auto taps = reinterpret_cast<const float**>(picture_row + source.row_floats());
    WarpColumns columns;
    double* const total = sums ? work + task * row_sums.size() : nullptr;
    if (total) std::fill_n(total, row_sums.size(), 0.0);
    ZippedRows rows = source.rows(conv, memory);
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
      source.find_taps(rows, line, taps, columns, picture_row);
      row.next = source.next(rows, conv.columns / 2 * conv.depth());
      direct_row(row);
      if (total) row_sums.add(zipped, total);
      float* const to = y.as<float>() + line * row_floats;
      store_zipped(zipped, conv.y_count, row_floats, past_caches, plain, to);
    }
    if (past_caches) hwy::FlushStream();
  });
  if (sums) row_sums.collect(work, tasks, y, sums);
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fulmar::cpu {

HWY_EXPORT(is_direct);
HWY_EXPORT(direct_target);

namespace {

int64_t lines_of(const View& y) { return y.shape.images() * y.shape.height(); }

// By shape alone: it decides how sums are split. Enough tasks for many threads, but few rows of x
// that two tasks zip.
int64_t lines_of_task(const View& y) { return std::clamp<int64_t>(lines_of(y) / 64, 4, 32); }

}  // namespace

size_t conv2d_direct_workspace(const View& y, const View& sums) {
  if (sums.shape.rank() == 0) return 0;
  const int64_t lines = lines_of_task(y), tasks = (lines_of(y) + lines - 1) / lines;
  return static_cast<size_t>(tasks * 2 * y.shape.channels()) * sizeof(double);
}

bool conv2d_is_direct(const View& w, const View& y, const Window& window, int64_t groups) {
  return HWY_DYNAMIC_DISPATCH(is_direct)(w, y, window, groups);
}

void conv2d_direct(Stream& stream, const Loaded& x, const View& w, const View& bias,
                   const View& shift, const View& y, const View& sums, const Window& window,
                   void* work) {
  HWY_DYNAMIC_DISPATCH(direct_target)
  (*stream.pool, x, w, bias, shift, y, sums, window, lines_of_task(y), static_cast<double*>(work));
}

}  // namespace fulmar::cpu
#endif
