#include <limits>

#include "kernels/class_indices.h"
#include "kernels/cuda/each.cuh"
#include "kernels/cuda/ops.h"
#include "kernels/first_largest.h"

// A row of classes is one thread's, or one warp's where there are many.
namespace fulmar::cuda {
namespace {

constexpr int row_threads = 256;
constexpr int64_t few_classes = 16;

// The threads of one row: which of them this is, and what they make together, in a fixed order.
template <int lanes>
struct Team {
  int lane;
  FULMAR_DEVICE float largest(float value) const {
    for (int by = lanes / 2; by > 0; by /= 2) {
      const float other = __shfl_xor_sync(~0u, value, by);
      value = other > value ? other : value;
    }
    return value;
  }
  FULMAR_DEVICE float sum(float value) const {
    for (int by = lanes / 2; by > 0; by /= 2) value += __shfl_xor_sync(~0u, value, by);
    return value;
  }
};

// body(team, row) for all rows. The threads of a warp stay together, so that all can take part in
// its operations: rows past the end are worked on as the last one is, and not written.
template <int lanes, class Body>
__global__ void __launch_bounds__(row_threads) rows_kernel(int64_t rows, Body body) {
  constexpr int64_t teams = row_threads / lanes;
  const int64_t first = int64_t{blockIdx.x} * teams + threadIdx.x / lanes;
  const int64_t step = int64_t{gridDim.x} * teams;
  const Team<lanes> team{static_cast<int>(threadIdx.x) % lanes};
  for (int64_t begin = int64_t{blockIdx.x} * teams, row = first; begin < rows;
       begin += step, row += step)
    body(team, row < rows ? row : rows - 1, row < rows);
}

template <class Body>
void for_rows(const Stream& stream, const char* name, int64_t rows, int64_t classes,
              const Body& body) {
  if (rows == 0) return;
  const Queue& queue = queue_of(stream);
  const int lanes = classes <= few_classes ? 1 : 32;
  const int64_t teams = row_threads / lanes;
  const int64_t blocks = std::min<int64_t>((rows + teams - 1) / teams, queue.max_blocks);
  const Launch how{name, static_cast<unsigned>(blocks), row_threads, queue.stream};
  if (lanes == 1)
    launch(how, rows_kernel<1, Body>, rows, body);
  else
    launch(how, rows_kernel<32, Body>, rows, body);
}

// max z and sum exp(z - max): no overflow.
struct Normaliser {
  float largest, sum;
};
template <int lanes, class T>
FULMAR_DEVICE Normaliser normaliser(const Team<lanes>& team, const T* z, int64_t classes) {
  float largest = -INFINITY, sum = 0;
  for (int64_t k = team.lane; k < classes; k += lanes) {
    const float value = number(z[k]);
    largest = value > largest ? value : largest;
  }
  largest = team.largest(largest);
  for (int64_t k = team.lane; k < classes; k += lanes) sum += expf(number(z[k]) - largest);
  return {largest, team.sum(sum)};
}

template <class T>
struct Softmax {
  const T* x;
  T* y;
  int64_t classes;
  template <int lanes>
  FULMAR_DEVICE void operator()(const Team<lanes>& team, int64_t row, bool writes) const {
    const T* z = x + row * classes;
    const Normaliser n = normaliser(team, z, classes);
    if (!writes) return;
    for (int64_t k = team.lane; k < classes; k += lanes)
      y[row * classes + k] = rounded<T>(expf(number(z[k]) - n.largest) / n.sum);
  }
};

// What labels and weights say about the classes of a row.
struct Targets {
  ClassIndices indices;                      // or
  const float* soft;                         // [rows, classes]
  const float *class_weight, *pixel_weight;  // each may be null
  int64_t classes;
  float kept, spread;  // t' = kept t + spread
  int64_t ignore_index;

  FULMAR_DEVICE bool ignored(int64_t row) const { return indices && indices[row] == ignore_index; }
  // Of the row; NaN where the label names no class.
  FULMAR_DEVICE float weight(int64_t row) const {
    if (indices && !ignored(row) && (indices[row] < 0 || indices[row] >= classes)) return NAN;
    return pixel_weight ? pixel_weight[row] : 1;
  }
  // c_k t_k
  FULMAR_DEVICE float plain(int64_t row, int64_t k) const { return weighted(k, target(row, k)); }
  // c_k t'_k
  FULMAR_DEVICE float smoothed(int64_t row, int64_t k) const {
    return weighted(k, kept * target(row, k) + spread);
  }

 private:
  FULMAR_DEVICE float target(int64_t row, int64_t k) const {
    if (indices) return indices[row] == k ? 1 : 0;
    return soft[row * classes + k];
  }
  FULMAR_DEVICE float weighted(int64_t k, float t) const {
    return class_weight ? class_weight[k] * t : t;
  }

 public:
  static Targets of(const View& labels, const View& class_weight, const View& pixel_weight,
                    int64_t classes, const CrossEntropy& how) {
    Targets t{};
    t.indices = ClassIndices(labels);
    if (!t.indices) t.soft = reals(labels);
    t.class_weight = class_weight ? reals(class_weight) : nullptr;
    t.pixel_weight = pixel_weight ? reals(pixel_weight) : nullptr;
    t.classes = classes;
    t.kept = static_cast<float>(1 - how.label_smoothing);
    t.spread = static_cast<float>(how.label_smoothing / static_cast<double>(classes));
    t.ignore_index = how.ignore_index;
    return t;
  }
};

template <class T>
struct Loss {
  const T* logits;
  Targets targets;
  float *row_loss, *row_weight;
  template <int lanes>
  FULMAR_DEVICE void operator()(const Team<lanes>& team, int64_t row, bool writes) const {
    const int64_t classes = targets.classes;
    const T* z = logits + row * classes;
    const Normaliser n = normaliser(team, z, classes);
    const float log_sum = logf(n.sum);
    float loss = 0, weight = 0;
    for (int64_t k = team.lane; k < classes; k += lanes) {
      const float target = targets.smoothed(row, k);
      // A class without weight adds nothing even where its probability is 0.
      if (target != 0) loss += target * (log_sum - (number(z[k]) - n.largest));
      weight += targets.plain(row, k);
    }
    loss = team.sum(loss), weight = team.sum(weight);
    if (!writes || team.lane > 0) return;
    const bool counts = !targets.ignored(row);
    row_loss[row] = counts ? loss * targets.weight(row) : 0;
    row_weight[row] = counts ? weight * targets.weight(row) : 0;
  }
};

// d/dz_j of -sum_k a_k log p_k, where a_k = q c_k t'_k, is p_j sum_k a_k - a_j.
template <class T>
struct LossGrad {
  const T* logits;
  Targets targets;
  const float* drow_loss;
  T* dlogits;
  template <int lanes>
  FULMAR_DEVICE void operator()(const Team<lanes>& team, int64_t row, bool writes) const {
    const int64_t classes = targets.classes;
    const T* z = logits + row * classes;
    const Normaliser n = normaliser(team, z, classes);
    float total = 0;
    for (int64_t k = team.lane; k < classes; k += lanes) total += targets.smoothed(row, k);
    const float scale = team.sum(total) / n.sum;
    if (!writes) return;
    const float dloss = drow_loss[row] * targets.weight(row);
    for (int64_t k = team.lane; k < classes; k += lanes) {
      const float grad =
          dloss * (expf(number(z[k]) - n.largest) * scale - targets.smoothed(row, k));
      dlogits[row * classes + k] = rounded<T>(targets.ignored(row) ? 0 : grad);
    }
  }
};

// A pixel a thread.
template <class T, class Index>
struct Argmax {
  const T* x;
  Index* y;
  int64_t channels;
  FULMAR_DEVICE void operator()(int64_t pixel) const {
    y[pixel] = static_cast<Index>(first_largest(x + pixel * channels, channels));
  }
};

}  // namespace

void softmax(Stream& stream, const View& x, const View& y) {
  const int64_t classes = x.shape.channels();
  for_type_of(x, [&](auto zero) {
    using T = decltype(zero);
    for_rows(stream, "softmax", x.shape.pixels(), classes,
             Softmax<T>{elements<T>(x), elements<T>(y), classes});
  });
}

void softmax_cross_entropy(Stream& stream, const View& logits, const View& labels,
                           const View& class_weight, const View& pixel_weight, const View& row_loss,
                           const View& row_weight, const CrossEntropy& how) {
  const int64_t classes = logits.shape.channels();
  const Targets targets = Targets::of(labels, class_weight, pixel_weight, classes, how);
  for_type_of(logits, [&](auto zero) {
    using T = decltype(zero);
    for_rows(stream, "softmax_cross_entropy", logits.shape.pixels(), classes,
             Loss<T>{elements<T>(logits), targets, reals(row_loss), reals(row_weight)});
  });
}

void softmax_cross_entropy_grad(Stream& stream, const View& logits, const View& labels,
                                const View& class_weight, const View& pixel_weight,
                                const View& drow_loss, const View& dlogits,
                                const CrossEntropy& how) {
  const int64_t classes = logits.shape.channels();
  const Targets targets = Targets::of(labels, class_weight, pixel_weight, classes, how);
  for_type_of(logits, [&](auto zero) {
    using T = decltype(zero);
    for_rows(stream, "softmax_cross_entropy_grad", logits.shape.pixels(), classes,
             LossGrad<T>{elements<T>(logits), targets, reals(drow_loss), elements<T>(dlogits)});
  });
}

void argmax(Stream& stream, const View& x, const View& y) {
  for_type_of(x, [&](auto zero) {
    using T = decltype(zero);
    const int64_t pixels = x.shape.pixels(), channels = x.shape.channels();
    if (y.type == DType::u8)
      each(stream, "argmax", pixels,
           Argmax<T, uint8_t>{elements<T>(x), elements<uint8_t>(y), channels});
    else
      each(stream, "argmax", pixels,
           Argmax<T, int32_t>{elements<T>(x), elements<int32_t>(y), channels});
  });
}

}  // namespace fulmar::cuda
