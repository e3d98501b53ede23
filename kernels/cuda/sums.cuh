#pragma once

#include "kernels/cuda/each.cuh"

// Sums over rows with the same bits each time: every thread adds up its rows in order, a block adds
// its threads in a tree, and one thread adds the blocks in order. All in double.
namespace fulmar::cuda {

constexpr int sum_threads = 256;
// Up to this many rows, one thread adds up each sum.
constexpr int64_t few_rows = 64;
// Limit of the number of partial sums. It decides how sums are split, and so their bits.
constexpr int64_t most_partials = int64_t{1} << 20;
static_assert(most_partials * sizeof(double) <= Queue::partial_bytes);

template <int count>
struct Sum {
  double of[count] = {};
};

// What is summed up: for each group and column `count` sums over `rows` rows.
// body(group, row, column, sum): adds a row's part to sum.of[]; finish(group, column, sum): takes
// it.
struct SumShape {
  int64_t groups, rows, columns;
};

template <int count, class Body, class Finish>
struct SumRows {
  SumShape shape;
  Body body;
  Finish finish;
  FULMAR_DEVICE void operator()(int64_t i) const {
    const int64_t group = divide(i, shape.columns), column = i - group * shape.columns;
    Sum<count> sum;
    for (int64_t row = 0; row < shape.rows; row++) body(group, row, column, sum);
    finish(group, column, sum);
  }
};

template <int count, class Finish>
struct AddChunks {
  SumShape shape;
  int64_t chunks;
  const double* partials;  // [groups][chunks][count][columns]
  Finish finish;
  FULMAR_DEVICE void operator()(int64_t i) const {
    const int64_t group = divide(i, shape.columns), column = i - group * shape.columns;
    Sum<count> sum;
    for (int64_t chunk = 0; chunk < chunks; chunk++)
      for (int k = 0; k < count; k++)
        sum.of[k] += partials[((group * chunks + chunk) * count + k) * shape.columns + column];
    finish(group, column, sum);
  }
};

// A block takes `blockDim.x` columns and one chunk of the rows. Grid: x runs over groups and,
// faster, tiles of columns; y over chunks.
template <int count, class Body, class Finish>
__global__ void __launch_bounds__(sum_threads)
    sum_chunks(SumShape shape, int64_t rows_per_chunk, double* partials, Body body, Finish finish) {
  FULMAR_SHARED(double, part, [count][sum_threads]);
  const int width = static_cast<int>(blockDim.x), height = static_cast<int>(blockDim.y);
  const int x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
  const int64_t tiles = (shape.columns + width - 1) / width;
  const int64_t group = blockIdx.x / tiles;
  const int64_t column = (blockIdx.x - group * tiles) * width + x;
  const int64_t chunk = blockIdx.y, begin = chunk * rows_per_chunk;
  const int64_t end = begin + rows_per_chunk < shape.rows ? begin + rows_per_chunk : shape.rows;

  Sum<count> sum;
  if (column < shape.columns)
    for (int64_t row = begin + y; row < end; row += height) body(group, row, column, sum);
  for (int k = 0; k < count; k++) part[k][y * width + x] = sum.of[k];
  __syncthreads();
  for (int half = height / 2; half > 0; half /= 2) {
    if (y < half)
      for (int k = 0; k < count; k++) part[k][y * width + x] += part[k][(y + half) * width + x];
    __syncthreads();
  }
  if (y > 0 || column >= shape.columns) return;
  for (int k = 0; k < count; k++) sum.of[k] = part[k][x];
  if (gridDim.y == 1) {
    finish(group, column, sum);
  } else {
    const int64_t chunks = gridDim.y;
    for (int k = 0; k < count; k++)
      partials[((group * chunks + chunk) * count + k) * shape.columns + column] = sum.of[k];
  }
}

template <int count, class Body, class Finish>
void sum_rows(const Stream& stream, const char* name, const SumShape& shape, const Body& body,
              const Finish& finish) {
  const int64_t sums = shape.groups * shape.columns;
  if (sums == 0) return;
  if (shape.rows <= few_rows)
    return each(stream, name, sums, SumRows<count, Body, Finish>{shape, body, finish});

  const Queue& queue = queue_of(stream);
  unsigned width = 1;
  while (width < 32 && width < shape.columns) width *= 2;
  const unsigned height = sum_threads / width;
  // 8 rows a thread at least; no more chunks than help, and not too many partial sums.
  constexpr int64_t rows_per_thread = 8, most_chunks = 1024;
  const int64_t room = most_partials / (sums * count);
  const int64_t wanted = (shape.rows + height * rows_per_thread - 1) / (height * rows_per_thread);
  const int64_t chunks = std::max<int64_t>(1, std::min({wanted, room, most_chunks}));
  const int64_t rows_per_chunk = (shape.rows + chunks - 1) / chunks;
  const int64_t tiles = (shape.columns + width - 1) / width;
  launch({name, dim3(static_cast<unsigned>(tiles * shape.groups), static_cast<unsigned>(chunks)),
          dim3(width, height), queue.stream},
         sum_chunks<count, Body, Finish>, shape, rows_per_chunk, queue.partials, body, finish);
  if (chunks > 1)
    each(stream, name, sums, AddChunks<count, Finish>{shape, chunks, queue.partials, finish});
}

}  // namespace fulmar::cuda
