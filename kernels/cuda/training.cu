#include "kernels/cuda/each.cuh"
#include "kernels/cuda/ops.h"
#include "kernels/random.h"

// What changes from step to step is read from StepState in device memory, never from arguments.
namespace fulmar::cuda {
namespace {

template <class T>
struct Dropout {
  const T* x;
  T* y;
  const StepState* state;
  double rate;
  uint64_t id;
  float scale;
  template <int lanes>
  FULMAR_DEVICE void run(int64_t i) const {
    auto value = load<lanes>(x + i);
    constexpr int drawn = lanes < 4 ? lanes : 4;  // by one philox
    FULMAR_UNROLL
    for (int first = 0; first < lanes; first += drawn) {
      const RandomBits bits =
          philox(state->seed, state->draw, id << 40 | static_cast<uint64_t>((i + first) / 4));
      FULMAR_UNROLL
      for (int k = first; k < first + drawn; k++) {
        const bool keep = static_cast<double>(uniform(bits.word[(i + k) % 4])) >= rate;
        value.v[k] = keep ? value.v[k] * scale : 0;
      }
    }
    store<lanes>(y + i, value);
  }
};

struct Accumulate {
  const float* g;
  float* sum;
  const StepState* state;
  template <int lanes>
  FULMAR_DEVICE void run(int64_t i) const {
    const float share = static_cast<float>(1 / static_cast<double>(state->micro_batches));
    auto value = load<lanes>(g + i);
    FULMAR_UNROLL
    for (int k = 0; k < lanes; k++) value.v[k] *= share;
    if (state->micro_batch != 0) {
      const auto before = load<lanes>(sum + i);
      FULMAR_UNROLL
      for (int k = 0; k < lanes; k++) value.v[k] += before.v[k];
    }
    store<lanes>(sum + i, value);
  }
};

// theta -= decay theta; m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2;
// theta -= rate m / (sqrt(v) root_scale + epsilon)
struct Factors {
  float decay, beta1, rest1, beta2, rest2, rate, root_scale, epsilon;
};

FULMAR_DEVICE Factors factors_of(const StepState& state, const AdamW& how) {
  const double lr = state.learning_rate, t = static_cast<double>(state.step);
  const double correct1 = 1 - pow(how.beta1, t), correct2 = 1 - pow(how.beta2, t);
  Factors f;
  f.decay = static_cast<float>(how.decay_scaled_by_lr ? lr * how.weight_decay : how.weight_decay);
  f.beta1 = static_cast<float>(how.beta1);
  f.rest1 = static_cast<float>(1 - how.beta1);
  f.beta2 = static_cast<float>(how.beta2);
  f.rest2 = static_cast<float>(1 - how.beta2);
  f.rate = static_cast<float>(how.keras_epsilon ? lr * sqrt(correct2) / correct1 : lr / correct1);
  f.root_scale = static_cast<float>(how.keras_epsilon ? 1.0 : 1 / sqrt(correct2));
  f.epsilon = static_cast<float>(how.epsilon);
  return f;
}

// The arenas from `first` on; segments lie in it in rising order.
struct Arena {
  const float* g;
  float *theta, *m, *v;
  const Segment* segments;
  int64_t segment_count;

  // The first segment that ends behind element i.
  FULMAR_DEVICE int64_t segment_of(int64_t i) const {
    int64_t low = 0, high = segment_count;
    while (low < high) {
      const int64_t middle = (low + high) / 2;
      if (segments[middle].end > i)
        high = middle;
      else
        low = middle + 1;
    }
    return low;
  }

  template <int lanes>
  FULMAR_DEVICE void step(int64_t i, bool decays, const Factors& f) const {
    const auto grad = load<lanes>(g + i);
    auto t = load<lanes>(theta + i), first = load<lanes>(m + i), second = load<lanes>(v + i);
    FULMAR_UNROLL
    for (int k = 0; k < lanes; k++) {
      if (decays) t.v[k] -= f.decay * t.v[k];
      first.v[k] = f.beta1 * first.v[k] + f.rest1 * grad.v[k];
      second.v[k] = f.beta2 * second.v[k] + f.rest2 * grad.v[k] * grad.v[k];
      t.v[k] -= f.rate * first.v[k] / (sqrtf(second.v[k]) * f.root_scale + f.epsilon);
    }
    store<lanes>(theta + i, t);
    store<lanes>(m + i, first);
    store<lanes>(v + i, second);
  }
};

// A thread takes `lanes` neighbours at a time, one by one where a segment begins or ends in them.
template <int lanes>
__global__ void __launch_bounds__(each_threads)
    adamw_kernel(Arena arena, int64_t count, const StepState* state, AdamW how) {
  FULMAR_SHARED(Factors, shared_factors, [1]);
  if (threadIdx.x == 0) shared_factors[0] = factors_of(*state, how);  // pow is slow
  __syncthreads();
  const Factors factors = shared_factors[0];
  const int64_t step = int64_t{gridDim.x} * each_threads * lanes;
  for (int64_t i = (int64_t{blockIdx.x} * each_threads + threadIdx.x) * lanes; i < count;
       i += step) {
    int64_t segment = arena.segment_of(i);
    if (segment == arena.segment_count) continue;
    const Segment s = arena.segments[segment];
    if (s.begin <= i && i + lanes <= s.end) {
      arena.template step<lanes>(i, s.decays != 0, factors);
      continue;
    }
    for (int64_t k = i; k < i + lanes && k < count; k++) {
      while (segment < arena.segment_count && arena.segments[segment].end <= k) segment++;
      if (segment == arena.segment_count) break;
      if (arena.segments[segment].begin <= k)
        arena.template step<1>(k, arena.segments[segment].decays != 0, factors);
    }
  }
}

}  // namespace

void dropout(Stream& stream, const View& x, const View& y, const StepState* state, double rate,
             uint64_t id) {
  for_type_of(x, [&](auto zero) {
    using T = decltype(zero);
    const float scale = static_cast<float>(1 / (1 - rate));
    const Dropout<T> body{elements<T>(x), elements<T>(y), state, rate, id, scale};
    each_several<T>(stream, "dropout", x.shape.elements(), body, body.x, body.y);
  });
}

void accumulate(Stream& stream, const View& g, const View& sum, const StepState* state) {
  const Accumulate body{reals(g), reals(sum), state};
  each_several<float>(stream, "accumulate", g.shape.elements(), body, body.g, body.sum);
}

void adamw(Stream& stream, const View& g, const View& theta, const View& m, const View& v,
           const Segment* segments, int64_t segment_count, const StepState* state,
           const AdamW& how) {
  const int64_t count = g.shape.elements();
  if (count == 0) return;
  const Arena arena{reals(g), reals(theta), reals(m), reals(v), segments, segment_count};
  const bool by_four = can_move_16_bytes(arena.g) && can_move_16_bytes(arena.theta) &&
                       can_move_16_bytes(arena.m) && can_move_16_bytes(arena.v);
  const Queue& queue = queue_of(stream);
  const int64_t per_block = each_threads * (by_four ? 4 : 1);
  const int64_t blocks = std::min<int64_t>((count + per_block - 1) / per_block, queue.max_blocks);
  launch({"adamw", static_cast<unsigned>(blocks), each_threads, queue.stream},
         by_four ? adamw_kernel<4> : adamw_kernel<1>, arena, count, state, how);
}

}  // namespace fulmar::cuda
