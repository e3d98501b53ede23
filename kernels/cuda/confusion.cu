#include "kernels/class_indices.h"
#include "kernels/cuda/each.cuh"
#include "kernels/cuda/ops.h"

// Whole numbers are counted by atomics, since their sums don't depend on any order.
namespace fulmar::cuda {
namespace {

using Count = unsigned long long;
static_assert(max_confusion_classes * max_confusion_classes * sizeof(Count) <=
              Queue::partial_bytes);

constexpr int count_threads = 256;
// Cells of a matrix that a block counts in its shared memory.
constexpr int64_t most_shared_cells = 48 * 1024 / sizeof(unsigned);

struct Pairs {
  ClassIndices predicted, labels;
  const float* weights;  // of pixels; nullptr: all count
  int64_t classes;
  // The pixel's place in the matrix; -1: not counted.
  FULMAR_DEVICE int64_t cell(int64_t pixel) const {
    if (weights && !(weights[pixel] > 0)) return -1;
    const int64_t p = predicted[pixel], t = labels[pixel];
    return p >= 0 && p < classes && t >= 0 && t < classes ? t * classes + p : -1;
  }
};

__global__ void __launch_bounds__(count_threads)
    count_in_blocks(int64_t pixels, Pairs pairs, Count* counts) {
  FULMAR_DYNAMIC_SHARED(unsigned, found);
  const int cells = static_cast<int>(pairs.classes * pairs.classes);
  const int thread = static_cast<int>(threadIdx.x);
  for (int i = thread; i < cells; i += count_threads) found[i] = 0;
  __syncthreads();
  const int64_t step = int64_t{gridDim.x} * count_threads;
  for (int64_t i = int64_t{blockIdx.x} * count_threads + thread; i < pixels; i += step) {
    const int64_t cell = pairs.cell(i);
    if (cell >= 0) atomicAdd(found + cell, 1u);
  }
  __syncthreads();
  for (int i = thread; i < cells; i += count_threads)
    if (found[i] > 0) atomicAdd(counts + i, Count{found[i]});
}

struct CountPair {
  Pairs pairs;
  Count* counts;
  FULMAR_DEVICE void operator()(int64_t pixel) const {
    const int64_t cell = pairs.cell(pixel);
    if (cell >= 0) atomicAdd(counts + cell, Count{1});
  }
};

struct Clear {
  Count* counts;
  FULMAR_DEVICE void operator()(int64_t i) const { counts[i] = 0; }
};
struct KeepCounts {
  const Count* counts;
  double* y;
  FULMAR_DEVICE void operator()(int64_t i) const { y[i] = static_cast<double>(counts[i]); }
};

}  // namespace

void confusion(Stream& stream, const View& predicted, const View& labels, const View& pixel_weight,
               const View& counts) {
  const int64_t classes = counts.shape.channels(), cells = classes * classes;
  if (classes > max_confusion_classes)
    usage_error("confusion: " + std::to_string(classes) + " classes, at most " +
                std::to_string(max_confusion_classes) + " are possible");
  const Queue& queue = queue_of(stream);
  const int64_t pixels = labels.shape.pixels();
  const Pairs pairs{ClassIndices(predicted), ClassIndices(labels), elements<float>(pixel_weight),
                    classes};
  auto* const found = reinterpret_cast<Count*>(queue.partials);
  each(stream, "confusion: clear", cells, Clear{found});
  if (cells > most_shared_cells) {
    each(stream, "confusion", pixels, CountPair{pairs, found});
  } else if (pixels > 0) {
    // A block counts several times as many pixels as its matrix has cells, and fewer than 2^32.
    const int64_t share = std::max<int64_t>(count_threads * 16, 4 * cells);
    const int64_t blocks = std::max(
        std::min<int64_t>((pixels + share - 1) / share, queue.max_blocks), (pixels >> 31) + 1);
    launch({"confusion", static_cast<unsigned>(blocks), count_threads, queue.stream,
            static_cast<size_t>(cells) * sizeof(unsigned)},
           count_in_blocks, pixels, pairs, found);
  }
  each(stream, "confusion: keep", cells, KeepCounts{found, elements<double>(counts)});
}

}  // namespace fulmar::cuda
