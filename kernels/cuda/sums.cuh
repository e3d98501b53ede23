#pragma once

#include "kernels/cuda/each.cuh"

// Sums over rows with the same bits each time: every thread adds up its rows in order, a block adds
// its threads in a tree, and another block the blocks. Runs of a thread's rows are added in float,
// the rest in double.
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

// Rows of a run. GPUs that rate fp64 at a 64th of fp32 pay nothing for a double beside so many.
constexpr int float_run = 32;

template <int count>
struct RunSum {
  float of[count] = {};
};

// The same of what one thread adds up.
struct LongSum {
  double total;
  float run = 0;
  int left = float_run;

  FULMAR_DEVICE explicit LongSum(double start = 0) : total(start) {}
  FULMAR_DEVICE void add(float x) {
    run += x;
    if (--left > 0) return;
    total += static_cast<double>(run);
    run = 0;
    left = float_run;
  }
  FULMAR_DEVICE float sum() const { return static_cast<float>(total + static_cast<double>(run)); }
};

// What is summed up: for each group and column `count` sums over `rows` rows.
// body(group, row, column, run): adds a row's part to run.of[]; finish(group, column, sum): takes
// it.
struct SumShape {
  int64_t groups, rows, columns;
};

// A thread's rows: from `begin` on each `step`th.
template <int count, class Body>
FULMAR_DEVICE Sum<count> add_rows(const Body& body, int64_t group, int64_t begin, int64_t end,
                                  int64_t step, int64_t column) {
  Sum<count> sum;
  for (int64_t row = begin; row < end;) {
    RunSum<count> run;
    for (int i = 0; i < float_run && row < end; i++, row += step) body(group, row, column, run);
    for (int k = 0; k < count; k++) sum.of[k] += static_cast<double>(run.of[k]);
  }
  return sum;
}

template <int count, class Body, class Finish>
struct SumRows {
  SumShape shape;
  Body body;
  Finish finish;
  FULMAR_DEVICE void operator()(int64_t i) const {
    const int64_t group = divide(i, shape.columns), column = i - group * shape.columns;
    finish(group, column, add_rows<count>(body, group, 0, shape.rows, 1, column));
  }
};

// partials [groups][chunks][count][columns]: a block takes `blockDim.x` sums, whose chunks its
// threads share out.
template <int count, class Finish>
__global__ void __launch_bounds__(sum_threads)
    add_chunks_kernel(SumShape shape, int64_t chunks, const double* partials, Finish finish) {
  FULMAR_SHARED(double, part, [count][sum_threads]);
  const int width = static_cast<int>(blockDim.x), height = static_cast<int>(blockDim.y);
  const int x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
  const int64_t i = int64_t{blockIdx.x} * width + x;
  const bool inside = i < shape.groups * shape.columns;
  const int64_t group = divide(i, shape.columns), column = i - group * shape.columns;
  Sum<count> sum;
  if (inside)
    for (int64_t chunk = y; chunk < chunks; chunk += height)
      for (int k = 0; k < count; k++)
        sum.of[k] += partials[((group * chunks + chunk) * count + k) * shape.columns + column];
  for (int k = 0; k < count; k++) part[k][y * width + x] = sum.of[k];
  __syncthreads();
  for (int half = height / 2; half > 0; half /= 2) {
    if (y < half)
      for (int k = 0; k < count; k++) part[k][y * width + x] += part[k][(y + half) * width + x];
    __syncthreads();
  }
  if (y > 0 || !inside) return;
  for (int k = 0; k < count; k++) sum.of[k] = part[k][x];
  finish(group, column, sum);
}

// The chunks' sums in the queue's partials, joined: 4 of them a thread.
template <int count, class Finish>
void add_chunks(const Stream& stream, const char* name, const SumShape& shape, int64_t chunks,
                const Finish& finish) {
  unsigned height = 1;
  while (height < sum_threads && height * 4 < chunks) height *= 2;
  const unsigned width = sum_threads / height;
  const int64_t blocks = (shape.groups * shape.columns + width - 1) / width;
  const Queue& queue = queue_of(stream);
  launch({name, static_cast<unsigned>(blocks), dim3(width, height), queue.stream},
         add_chunks_kernel<count, Finish>, shape, chunks, queue.partials, finish);
}

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
  if (column < shape.columns) sum = add_rows<count>(body, group, begin + y, end, height, column);
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
  if (chunks > 1) add_chunks<count>(stream, name, shape, chunks, finish);
}

}  // namespace fulmar::cuda
