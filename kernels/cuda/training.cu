#include <cmath>

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
  float rate;  // the least float that isn't below the rate: draws compare with it as with the rate
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
        const bool keep = uniform(bits.word[(i + k) % 4]) >= rate;
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
    auto value = load<lanes>(g + i);
    if (state->micro_batch != 0) {
      const auto before = load<lanes>(sum + i);
      FULMAR_UNROLL
      for (int k = 0; k < lanes; k++) value.v[k] += before.v[k];
    }
    store<lanes>(sum + i, value);
  }
};

}  // namespace

void dropout(Stream& stream, const View& x, const View& y, const StepState* state, double rate,
             uint64_t id) {
  for_type_of(x, [&](auto zero) {
    using T = decltype(zero);
    const float scale = static_cast<float>(1 / (1 - rate));
    float least = static_cast<float>(rate);
    if (static_cast<double>(least) < rate) least = std::nextafter(least, 2.0F);
    const Dropout<T> body{elements<T>(x), elements<T>(y), state, least, id, scale};
    each_several<T>(stream, "dropout", x.shape.elements(), body, body.x, body.y);
  });
}

void accumulate(Stream& stream, const View& g, const View& sum, const StepState* state) {
  const Accumulate body{reals(g), reals(sum), state};
  each_several<float>(stream, "accumulate", g.shape.elements(), body, body.g, body.sum);
}

}  // namespace fulmar::cuda
