#include <algorithm>

#include "kernels/cpu/ops.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/scratch.h"

namespace fulmar::cpu {
namespace {

template <class P, class T>
void count_pairs(Stream& stream, const P* predicted, const T* labels, const float* weights,
                 int64_t pixels, const View& counts) {
  const int64_t classes = counts.shape.channels();
  const auto cell_count = static_cast<size_t>(classes * classes);
  // Whole numbers have the same sum, whichever worker counted what.
  Scratch<int64_t*> parts(static_cast<size_t>(stream.pool->threads()));  // nullptr: nothing yet
  for_chunks(stream, pixels, elementwise_grain, [&](int64_t begin, int64_t end, int worker) {
    int64_t*& cells = parts[static_cast<size_t>(worker)];
    if (!cells) {
      cells = static_cast<int64_t*>(stream.pool->scratch(worker, cell_count * sizeof(int64_t)));
      std::fill_n(cells, cell_count, 0);
    }
    for (int64_t i = begin; i < end; i++) {
      if (weights && !(weights[i] > 0)) continue;
      const int64_t p = predicted[i], t = labels[i];
      if (p >= 0 && p < classes && t >= 0 && t < classes) cells[t * classes + p]++;
    }
  });
  auto* const sums = counts.as<double>();
  std::fill_n(sums, classes * classes, 0.0);
  for (const int64_t* cells : parts)
    for (size_t i = 0; cells && i < cell_count; i++) sums[i] += static_cast<double>(cells[i]);
}

}  // namespace

void confusion(Stream& stream, const View& predicted, const View& labels, const View& pixel_weight,
               const View& counts) {
  const auto* const weights = pixel_weight.as<const float>();
  const auto with_labels = [&](const auto* p) {
    const int64_t pixels = labels.shape.pixels();
    if (labels.type == DType::u8)
      count_pairs(stream, p, labels.as<uint8_t>(), weights, pixels, counts);
    else
      count_pairs(stream, p, labels.as<int32_t>(), weights, pixels, counts);
  };
  if (predicted.type == DType::u8)
    with_labels(predicted.as<uint8_t>());
  else
    with_labels(predicted.as<int32_t>());
}

}  // namespace fulmar::cpu
