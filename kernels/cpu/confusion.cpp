#include <algorithm>
#include <vector>

#include "kernels/cpu/ops.h"
#include "kernels/cpu/parallel.h"

namespace fulmar::cpu {
namespace {

template <class P, class T>
void count_pairs(Stream& stream, const P* predicted, const T* labels, int64_t pixels,
                 const View& counts) {
  const int64_t classes = counts.shape.channels();
  // Whole numbers have the same sum, whichever worker counted what.
  std::vector<std::vector<int64_t>> parts(static_cast<size_t>(stream.pool->threads()));
  for_chunks(stream, pixels, elementwise_grain, [&](int64_t begin, int64_t end, int worker) {
    std::vector<int64_t>& part = parts[static_cast<size_t>(worker)];
    part.resize(static_cast<size_t>(classes * classes));
    int64_t* const cells = part.data();
    for (int64_t i = begin; i < end; i++) {
      const int64_t p = predicted[i], t = labels[i];
      if (p >= 0 && p < classes && t >= 0 && t < classes) cells[t * classes + p]++;
    }
  });
  auto* const sums = counts.as<double>();
  std::fill_n(sums, classes * classes, 0.0);
  for (const std::vector<int64_t>& part : parts)
    for (size_t i = 0; i < part.size(); i++) sums[i] += static_cast<double>(part[i]);
}

}  // namespace

void confusion(Stream& stream, const View& predicted, const View& labels, const View& counts) {
  const auto with_labels = [&](const auto* p) {
    const int64_t pixels = labels.shape.pixels();
    if (labels.type == DType::u8)
      count_pairs(stream, p, labels.as<uint8_t>(), pixels, counts);
    else
      count_pairs(stream, p, labels.as<int32_t>(), pixels, counts);
  };
  if (predicted.type == DType::u8)
    with_labels(predicted.as<uint8_t>());
  else
    with_labels(predicted.as<int32_t>());
}

}  // namespace fulmar::cpu
