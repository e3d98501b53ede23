#include "kernels/cuda/each.cuh"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/sums.cuh"

// What changes from step to step is read from StepState in device memory, never from arguments; and
// so are the sum's weight and the count that refuses a step.
namespace fulmar::cuda {
namespace {

// A step's operands but for the arenas that change.
struct Given {
  const float *g, *weight;
  const int32_t* nonfinite;
  const Segment* segments;
  int64_t segment_count;
  const StepState* state;

  FULMAR_DEVICE bool refused() const { return *nonfinite > 0; }
  // What a sum of gradients is multiplied by.
  FULMAR_DEVICE float share() const { return *weight <= 0 ? 0 : 1 / *weight; }
  // The first segment that ends behind element i; segments lie in rising order.
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
};

Given given(const View& g, const View& weight, const View& nonfinite, const Segment* segments,
            int64_t segment_count, const StepState* state) {
  return {reals(g), reals(weight), elements<int32_t>(nonfinite), segments, segment_count, state};
}

// theta -= decay theta; m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2;
// theta -= rate m / (sqrt(v) root_scale + epsilon)
struct AdamWRule {
  static constexpr int arenas = 3;
  AdamW how;

  struct Factors {
    float share, decay, beta1, rest1, beta2, rest2, rate, root_scale, epsilon;
  };
  FULMAR_DEVICE Factors factors(const Given& given) const {
    const double lr = given.state->learning_rate, t = static_cast<double>(given.state->step);
    const double correct1 = 1 - pow(how.beta1, t), correct2 = 1 - pow(how.beta2, t);
    Factors f;
    f.share = given.share();
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
  FULMAR_DEVICE Factors of_segment(Factors f, bool decays, int64_t) const {
    if (!decays) f.decay = 0;
    return f;
  }
  FULMAR_DEVICE static void step(const Factors& f, float sum, float& theta, float& m, float& v) {
    const float g = sum * f.share;
    theta -= f.decay * theta;
    m = f.beta1 * m + f.rest1 * g;
    v = f.beta2 * v + f.rest2 * g * g;
    theta -= f.rate * m / (sqrtf(v) * f.root_scale + f.epsilon);
  }
};

// d = g + decay theta; v = momentum v + d; theta -= lr (nesterov ? d + momentum v : v)
struct SgdRule {
  static constexpr int arenas = 2;
  Sgd how;

  struct Factors {
    float share, decay, momentum, rate;
    bool nesterov;
  };
  FULMAR_DEVICE Factors factors(const Given& given) const {
    return {given.share(), static_cast<float>(how.weight_decay), static_cast<float>(how.momentum),
            static_cast<float>(given.state->learning_rate), how.nesterov};
  }
  FULMAR_DEVICE Factors of_segment(Factors f, bool decays, int64_t) const {
    if (!decays) f.decay = 0;
    return f;
  }
  FULMAR_DEVICE static void step(const Factors& f, float sum, float& theta, float& v) {
    const float g = sum * f.share + f.decay * theta;
    v = f.momentum * v + g;
    theta -= f.rate * (f.nesterov ? g + f.momentum * v : v);
  }
};

// v = momentum v + rate (g + decay theta); theta -= v
struct LarsRule {
  static constexpr int arenas = 2;
  Lars how;
  const float* rates;  // [segments]

  struct Factors {
    float share, decay, momentum, rate;
  };
  FULMAR_DEVICE Factors factors(const Given& given) const {
    return {given.share(), static_cast<float>(how.weight_decay), static_cast<float>(how.momentum),
            0};
  }
  FULMAR_DEVICE Factors of_segment(Factors f, bool decays, int64_t segment) const {
    if (!decays) f.decay = 0;
    f.rate = rates[segment];
    return f;
  }
  FULMAR_DEVICE static void step(const Factors& f, float sum, float& theta, float& v) {
    const float g = sum * f.share + f.decay * theta;
    v = f.momentum * v + f.rate * g;
    theta -= v;
  }
};

template <class Rule>
struct Arenas {
  float* of[Rule::arenas];

  template <int lanes>
  FULMAR_DEVICE void step(const float* g, int64_t i, const typename Rule::Factors& f) const {
    const auto sum = load<lanes>(g + i);
    Vec<float, lanes> value[Rule::arenas];
    FULMAR_UNROLL
    for (int a = 0; a < Rule::arenas; a++) value[a] = load<lanes>(of[a] + i);
    FULMAR_UNROLL
    for (int k = 0; k < lanes; k++) {
      if constexpr (Rule::arenas == 3)
        Rule::step(f, sum.v[k], value[0].v[k], value[1].v[k], value[2].v[k]);
      else
        Rule::step(f, sum.v[k], value[0].v[k], value[1].v[k]);
    }
    FULMAR_UNROLL
    for (int a = 0; a < Rule::arenas; a++) store<lanes>(of[a] + i, value[a]);
  }
};

// A thread takes `lanes` neighbours at a time, one by one where a segment begins or ends in them.
template <int lanes, class Rule>
__global__ void __launch_bounds__(each_threads)
    update_kernel(Given given, Rule rule, Arenas<Rule> arenas, int64_t count) {
  if (given.refused()) return;
  FULMAR_SHARED(typename Rule::Factors, shared_factors, [1]);
  if (threadIdx.x == 0) shared_factors[0] = rule.factors(given);  // pow is slow
  __syncthreads();
  const typename Rule::Factors factors = shared_factors[0];
  const auto factors_of = [&](int64_t segment) {
    return rule.of_segment(factors, given.segments[segment].decays != 0, segment);
  };
  const int64_t step = int64_t{gridDim.x} * each_threads * lanes;
  for (int64_t i = (int64_t{blockIdx.x} * each_threads + threadIdx.x) * lanes; i < count;
       i += step) {
    int64_t segment = given.segment_of(i);
    if (segment == given.segment_count) continue;
    const Segment s = given.segments[segment];
    if (s.begin <= i && i + lanes <= s.end) {
      arenas.template step<lanes>(given.g, i, factors_of(segment));
      continue;
    }
    for (int64_t k = i; k < i + lanes && k < count; k++) {
      while (segment < given.segment_count && given.segments[segment].end <= k) segment++;
      if (segment == given.segment_count) break;
      if (given.segments[segment].begin <= k)
        arenas.template step<1>(given.g, k, factors_of(segment));
    }
  }
}

template <class Rule>
void update(const Stream& stream, const char* name, const Given& given, const Rule& rule,
            const Arenas<Rule>& arenas, int64_t count) {
  if (count == 0) return;
  bool by_four = can_move_16_bytes(given.g);
  for (const float* arena : arenas.of) by_four = by_four && can_move_16_bytes(arena);
  const Queue& queue = queue_of(stream);
  const int64_t per_block = each_threads * (by_four ? 4 : 1);
  const int64_t blocks = std::min<int64_t>((count + per_block - 1) / per_block, queue.max_blocks);
  launch({name, static_cast<unsigned>(blocks), each_threads, queue.stream},
         by_four ? update_kernel<4, Rule> : update_kernel<1, Rule>, given, rule, arenas, count);
}

// Squares of theta and g of each segment, which `chunks` blocks share: the host doesn't know where
// segments end. A thread adds up its elements in order, a block its threads in a tree.
__global__ void __launch_bounds__(sum_threads)
    segment_squares(Given given, const float* theta, int64_t chunks, double* squares) {
  FULMAR_SHARED(double, part, [2][sum_threads]);
  if (given.refused()) return;
  const int thread = static_cast<int>(threadIdx.x);
  const int64_t blocks = given.segment_count * chunks;
  for (int64_t block = blockIdx.x; block < blocks; block += gridDim.x) {
    const int64_t segment = divide(block, chunks), chunk = block - segment * chunks;
    const Segment s = given.segments[segment];
    const int64_t length = (s.end - s.begin + chunks - 1) / chunks;
    const int64_t begin = s.begin + chunk * length;
    const int64_t end = begin + length < s.end ? begin + length : s.end;
    double of_theta = 0, of_g = 0;
    for (int64_t i = begin + thread; i < end; i += sum_threads) {
      const double t = static_cast<double>(theta[i]), g = static_cast<double>(given.g[i]);
      of_theta += t * t;
      of_g += g * g;
    }
    part[0][thread] = of_theta;
    part[1][thread] = of_g;
    __syncthreads();
    for (int half = sum_threads / 2; half > 0; half /= 2) {
      if (thread < half)
        for (int k = 0; k < 2; k++) part[k][thread] += part[k][thread + half];
      __syncthreads();
    }
    if (thread < 2) squares[block * 2 + thread] = part[thread][0];
    __syncthreads();  // before the next segment's sums
  }
}

// rates [segments]: learning rate times local rate.
struct LocalRates {
  Given given;
  Lars how;
  int64_t chunks;
  const double* squares;  // [segments][chunks][theta, g]
  float* rates;
  FULMAR_DEVICE void operator()(int64_t segment) const {
    if (given.refused()) return;
    double local = 1;
    if (given.segments[segment].decays != 0) {
      double of_theta = 0, of_g = 0;
      for (int64_t chunk = 0; chunk < chunks; chunk++) {
        of_theta += squares[(segment * chunks + chunk) * 2];
        of_g += squares[(segment * chunks + chunk) * 2 + 1];
      }
      const double size = sqrt(of_theta), slope = static_cast<double>(given.share()) * sqrt(of_g);
      if (size != 0 && slope != 0)
        local = how.trust_coefficient * size / (slope + how.weight_decay * size + how.epsilon);
    }
    rates[segment] = static_cast<float>(given.state->learning_rate * local);
  }
};

}  // namespace

void adamw(Stream& stream, const View& g, const View& weight, const View& nonfinite,
           const View& theta, const View& m, const View& v, const Segment* segments,
           int64_t segment_count, const StepState* state, const AdamW& how) {
  update(stream, "adamw", given(g, weight, nonfinite, segments, segment_count, state),
         AdamWRule{how}, Arenas<AdamWRule>{{reals(theta), reals(m), reals(v)}}, g.shape.elements());
}

void sgd(Stream& stream, const View& g, const View& weight, const View& nonfinite,
         const View& theta, const View& v, const Segment* segments, int64_t segment_count,
         const StepState* state, const Sgd& how) {
  update(stream, "sgd", given(g, weight, nonfinite, segments, segment_count, state), SgdRule{how},
         Arenas<SgdRule>{{reals(theta), reals(v)}}, g.shape.elements());
}

void lars(Stream& stream, const View& g, const View& weight, const View& nonfinite,
          const View& theta, const View& v, const Segment* segments, int64_t segment_count,
          const StepState* state, const Lars& how) {
  if (segment_count == 0) return;
  // The number of segments alone decides how their sums are split, and so their bits.
  constexpr int64_t most_chunks = 32;
  if (segment_count > most_partials / 4)
    usage_error("cuda: lars takes up to " + std::to_string(most_partials / 4) + " segments, " +
                std::to_string(segment_count) + " given");
  const int64_t chunks = std::min(most_chunks, most_partials / segment_count / 2 - 1);
  const Queue& queue = queue_of(stream);
  double* squares = queue.partials;
  auto* rates = reinterpret_cast<float*>(squares + segment_count * chunks * 2);
  const Given all = given(g, weight, nonfinite, segments, segment_count, state);
  const int64_t blocks = std::min<int64_t>(segment_count * chunks, queue.max_blocks);
  launch({"lars norms", static_cast<unsigned>(blocks), sum_threads, queue.stream}, segment_squares,
         all, reals(theta), chunks, squares);
  each(stream, "lars rates", segment_count, LocalRates{all, how, chunks, squares, rates});
  update(stream, "lars", all, LarsRule{how, rates}, Arenas<LarsRule>{{reals(theta), reals(v)}},
         g.shape.elements());
}

}  // namespace fulmar::cuda
