#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <type_traits>

#include "kernels/cpu/element_type.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/scratch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/separable.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// Must come after foreach_target.h.
#include "kernels/cpu/pixel_pairs-inl.h"
#include "kernels/cpu/separable-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

// Most partial sums of a call.
constexpr int64_t most_tasks = 64;

// Sums of y and y^2 about a shift, for one task: in float for some pixels, then in double. What
// float adds up is taken about the mean of some pixels: squares of far numbers would lose it.
class ChannelSumming {
 public:
  ChannelSumming(const Channels& channels, const float* shift, float* memory, double* total)
      : channels_(channels), shift_(shift), centre_(memory), total_(total) {
    std::fill_n(total, 2 * channels.count, 0.0);
    std::memset(memory, 0, floats(channels) * sizeof(float));
    for (int64_t e = 0; e < channels.period; e++)
      if (e % channels.stride < channels.count) centre_[e] = shift[e % channels.stride];
  }
  static size_t floats(const Channels& channels) {
    return 3 * static_cast<size_t>(channels.period);
  }

  // Sums of vectors of one phase, in registers, for kernels that add pixels as they make them: once
  // the centre is chosen, which add() does.
  struct Running {
    V centre, s0, s1;
    HWY_INLINE void add(V y) {
      const V x = hn::Sub(y, centre);
      s0 = hn::Add(s0, x);
      s1 = hn::MulAdd(x, x, s1);
    }
  };
  bool centred() const { return !first_; }
  HWY_INLINE Running running(int64_t phase) const {
    const float* const at = centre_ + phase;
    const int64_t period = channels_.period;
    return {hn::LoadU(D(), at), hn::LoadU(D(), at + period), hn::LoadU(D(), at + 2 * period)};
  }
  HWY_INLINE void keep(const Running& sums, int64_t phase) {
    float* const at = centre_ + phase;
    hn::StoreU(sums.s0, D(), at + channels_.period);
    hn::StoreU(sums.s1, D(), at + 2 * channels_.period);
  }
  void count(int64_t pixels) {
    constexpr int64_t most_pixels = 1024;
    pixels_ += pixels;
    if (pixels_ >= most_pixels) flush();
  }

  // Adds a tile of a product with whole vectors of channels, from channel c on: once the centre is
  // chosen. count() is the caller's.
  template <class DX, int rows, int vectors>
  HWY_INLINE void add_tile(DX d, const hn::Vec<DX> (&y)[rows][vectors], int64_t c) const {
    const int64_t period = channels_.period;
#pragma GCC unroll 2
    for (int v = 0; v < vectors; v++) {
      float* const at = centre_ + c + v * static_cast<int64_t>(hn::Lanes(d));
      const auto centre = hn::LoadU(d, at);
      auto s0 = hn::LoadU(d, at + period), s1 = hn::LoadU(d, at + 2 * period);
      auto t0 = hn::Zero(d), t1 = hn::Zero(d);  // a second chain: additions wait for each other
#pragma GCC unroll 16
      for (int r = 0; r < rows; r++) {
        const auto x = hn::Sub(y[r][v], centre);
        auto &sum = r % 2 == 0 ? s0 : t0, &square = r % 2 == 0 ? s1 : t1;
        sum = hn::Add(sum, x);
        square = hn::MulAdd(x, x, square);
      }
      hn::StoreU(hn::Add(s0, t0), d, at + period);
      hn::StoreU(hn::Add(s1, t1), d, at + 2 * period);
    }
  }

  // Adds pixels, which follow one another in scratch memory from a whole vector on, and calls
  // store(v, element) for each vector of them.
  template <class Store>
  HWY_INLINE void add(const float* y, int64_t pixels, const Store& store) {
    const D d;
    const int64_t size = pixels * channels_.stride, whole = size / lanes() * lanes();
    float* const sum = centre_ + channels_.period;
    if (first_) choose_centre(y, pixels);
    for (int64_t phase = 0; phase < channels_.period; phase += lanes()) {
      const V centre = hn::LoadU(d, centre_ + phase);
      V s0 = hn::LoadU(d, sum + phase), s1 = hn::LoadU(d, sum + channels_.period + phase);
      V t0 = hn::Zero(d), t1 = hn::Zero(d);  // a second chain: additions wait for each other
      int64_t e = phase;
      for (; e + channels_.period < whole; e += 2 * channels_.period) {
        const V a = hn::LoadU(d, y + e), b = hn::LoadU(d, y + e + channels_.period);
        const V x = hn::Sub(a, centre), z = hn::Sub(b, centre);
        s0 = hn::Add(s0, x);
        t0 = hn::Add(t0, z);
        s1 = hn::MulAdd(x, x, s1);
        t1 = hn::MulAdd(z, z, t1);
        store(a, e);
        store(b, e + channels_.period);
      }
      for (; e < size; e += channels_.period) {
        const V a = hn::LoadU(d, y + e);
        const V x = hn::IfThenElseZero(
            hn::FirstN(d, static_cast<size_t>(std::min(lanes(), size - e))), hn::Sub(a, centre));
        s0 = hn::Add(s0, x);
        s1 = hn::MulAdd(x, x, s1);
        store(a, e);
      }
      hn::StoreU(hn::Add(s0, t0), d, sum + phase);
      hn::StoreU(hn::Add(s1, t1), d, sum + channels_.period + phase);
    }
    count(pixels);
  }

  void flush() {
    const int64_t step = channels_.stride, period = channels_.period;
    float* const sum = centre_ + period;
    const int64_t sharing = period / step;  // pixels of a period
    const double n = static_cast<double>(pixels_) / static_cast<double>(sharing);
    for (int64_t e = 0; e < period; e++) {
      const int64_t c = e % step;
      if (c >= channels_.count) continue;
      const double apart = static_cast<double>(centre_[e]) - static_cast<double>(shift_[c]);
      const auto s0 = static_cast<double>(sum[e]), s1 = static_cast<double>(sum[period + e]);
      sum_about_shift(total_[c], total_[channels_.count + c], s0, s1, n, apart);
    }
    std::memset(sum, 0, 2 * static_cast<size_t>(period) * sizeof(float));
    pixels_ = 0;
  }

 private:
  // Lanes of one channel have one centre.
  void choose_centre(const float* y, int64_t pixels) {
    constexpr int64_t most_samples = 8;
    first_ = false;
    const int64_t samples = std::min(pixels, most_samples), apart = pixels / samples;
    for (int64_t c = 0; c < channels_.count; c++) {
      float total = 0;
      for (int64_t i = 0; i < samples; i++)
        total += y[i * apart * channels_.stride + c] - shift_[c];
      if (!std::isfinite(total)) continue;
      for (int64_t e = c; e < channels_.period; e += channels_.stride)
        centre_[e] = shift_[c] + total / static_cast<float>(samples);
    }
  }

  // Lanes of a period share the pixels evenly only on the whole; the differences cancel in n apart
  // where the centre is the same for all of them.
  static void sum_about_shift(double& total0, double& total1, double s0, double s1, double n,
                              double apart) {
    total0 += s0 + n * apart;
    total1 += s1 + apart * (2 * s0 + n * apart);
  }

  Channels channels_;
  const float* shift_;
  float* centre_;  // then the two sums
  double* total_;
  int64_t pixels_ = 0;
  bool first_ = true;
};

// What a product does with its sums where it stores them in y itself: stores past the caches that
// come in a burst, after many products, wait for memory (Zen 4: 0.86 of the time with 16 channels).
struct AddUp {
  using SeesTiles = void;
  AddBias add_bias;
  const ChannelSumming& summing;
  template <class DX, class VX>
  HWY_INLINE VX operator()(DX d, VX sum, int64_t m, int64_t c) const {
    return add_bias(d, sum, m, c);
  }
  HWY_INLINE void fetch(const float*, int) const {}
  template <class DX, class VX, int rows, int vectors, class Place, class Load>
  HWY_INLINE void tile(DX d, VX (&y)[rows][vectors], const Place&, const Load&, int64_t c) const {
    summing.add_tile(d, y, c);
  }
};

// Where pixels of parts of two rows lie.
struct TwoRows {
  float *first, *second;
  int64_t stride, pixels;  // of a part
  float* operator()(int64_t m) const {
    return m < pixels ? first + m * stride : second + (m - pixels) * stride;
  }
};

struct Forward {
  const Loaded& x;
  const View &depthwise, &pointwise, &bias, &shift, &y, &sums;

  Channels in() const { return Channels(x.x.shape.channels()); }
  Channels out() const { return Channels(y.shape.channels()); }
  Bands bands() const { return {x.x.shape, most_tasks}; }
  bool sums_up() const { return sums.shape.rank() > 0; }
  // Where bands are few, tasks share out their outputs too; each makes the depthwise part anew.
  // Sums are taken of whole pixels, and so are those that are rounded.
  int64_t column_parts() const {
    constexpr int64_t least_tasks = 8, widest_panel = 2 * max_lanes;
    const int64_t tasks = std::max<int64_t>(1, bands().tasks());
    const int64_t wanted = (least_tasks + tasks - 1) / tasks;
    const bool whole = sums_up() || y.type != DType::f32;
    return whole ? 1 : std::clamp<int64_t>(out().count / (2 * widest_panel), 1, wanted);
  }

  int64_t panel_floats() const { return Weight::floats(in().count, out().count); }
  int64_t bias_floats() const { return padded_columns(out().count) + 2 * max_lanes; }
  size_t work_bytes() const {
    const int64_t totals = sums_up() ? bands().tasks() * 2 * out().count : 0;
    return static_cast<size_t>(totals) * sizeof(double) +
           static_cast<size_t>(panel_floats() + bias_floats()) * sizeof(float);
  }
};

struct ForwardScratch {
  int64_t ring, segment, product, summing;  // floats

  ForwardScratch(const Forward& f, const Pace& pace) {
    const Channels in = f.in(), out = f.out();
    ring = (pace.step + 2) * Ring::stride_of(f.x.x.shape.width(), in);
    segment = pace.step * rounded_up(pace.segment * in.stride, lanes());
    product = pace.step * rounded_up(pace.segment * out.stride, lanes()) + 2 * max_lanes;
    summing = static_cast<int64_t>(ChannelSumming::floats(out));
  }
  size_t bytes() const {
    return static_cast<size_t>(ring + segment + product + summing) * sizeof(float);
  }
};

// What a task makes: a band of rows, or some of its output channels.
struct ForwardTask {
  int64_t image, begin, end, first_column, last_column;

  ForwardTask(const Forward& f, int64_t task) {
    const Bands bands = f.bands();
    const int64_t parts = f.column_parts(), band = task / parts, part = task % parts;
    image = band / bands.count;
    begin = band % bands.count * bands.rows;
    end = std::min(bands.height, begin + bands.rows);
    constexpr int64_t widest_panel = 2 * max_lanes;
    const int64_t columns = f.out().count;
    const int64_t each = rounded_up((columns + parts - 1) / parts, widest_panel);
    first_column = std::min(columns, part * each);
    last_column = std::min(columns, first_column + each);
  }
};

struct ForwardTables {
  const float* taps;
  Weight pointwise;
  const float* bias;   // whole panels
  const float* pairs;  // pack_pair_weight's and the bias by lanes, or null
};

#if HWY_TARGET == HWY_AVX3
// For inference, which needs no sums.
struct NoSums {
  HWY_INLINE void add(V) const {}
};

// A segment of a convolution from 8 channels to 8, in registers.
template <class T, class Store>
void segment_in_pairs(const Ring& ring, const PairTables& tables, const Segment& s,
                      ChannelSumming* summing, T* y, int64_t y_row, NextRows ahead,
                      const Store& store) {
  const int64_t at = s.first * pair_channels, floats = s.pixels * pair_channels;
  s.by_rows([&](auto count, int64_t r) HWY_ATTR {
    constexpr int rows = decltype(count)::value;
    const float* x[rows + 2];
    for (int64_t i = 0; i < rows + 2; i++) x[i] = ring.at(s.h + r - 1 + i) + at;
    T* const to = y + r * y_row;
    if (!summing) {
      NoSums none;
      return separable_pairs<rows>(x, tables, floats, ahead, none, to, y_row, store);
    }
    auto sums = summing->running(0);
    separable_pairs<rows>(x, tables, floats, ahead, sums, to, y_row, store);
    summing->keep(sums, 0);
    summing->count(rows * s.pixels);
  });
}
#endif

template <class T, class Store>
void separable_band(const Forward& f, const RowLoader<T>& load, const ForwardTables& tables,
                    const ForwardTask& task, float* memory, double* totals, const Store& store) {
  const Channels in = f.in(), out = f.out();
  const int64_t height = f.y.shape.height(), width = f.y.shape.width();
  const Pace pace(f.x.x.shape, in);
  const ForwardScratch sizes(f, pace);
  const Ring ring(memory, pace.step + 2, width, in);
  float* const segment = memory + sizes.ring;
  float* const product = segment + sizes.segment;
  ring.clear_edges(width * in.stride);
  constexpr bool past_caches = std::is_same_v<Store, Streamed>;
  std::optional<ChannelSumming> summing;
  if (totals) summing.emplace(out, f.shift.as<float>(), product + sizes.product, totals);

  int64_t loaded = task.begin - 1;
  for (int64_t h = task.begin; h < task.end; h += pace.step) {
    const int64_t rows = std::min(pace.step, task.end - h);
    for (; loaded <= h + rows; loaded++) load(ring, task.image, loaded);
    const T* const next = load.x + (task.image * height + h + rows + 1) * width * in.count;
    for (int64_t first = 0; first < width; first += pace.segment) {
      const Segment s{h, rows, first, std::min(pace.segment, width - first)};
      const auto place = [&](int64_t r) {
        return elements<T>(f.y) + ((task.image * height + h + r) * width + first) * out.count;
      };
      const auto ahead = NextRows::of(next + first * in.count, width * in.count);
#if HWY_TARGET == HWY_AVX3
      if (tables.pairs && s.pixels % 2 == 0 && (!summing || summing->centred())) {
        segment_in_pairs(ring, {tables.taps, tables.pairs, tables.pairs + pair_weight_floats}, s,
                         summing ? &*summing : nullptr, place(0), width * out.count, ahead, store);
        continue;
      }
#endif
      depthwise_segment(ring, in, tables.taps, s, segment, ahead);
      const int64_t in_row = s.row_floats(in), out_row = s.row_floats(out);
      if constexpr (std::is_same_v<T, float>) {
        if (!summing) {
          const auto multiply_run = [&](int64_t r, int64_t pixels) HWY_ATTR {
            multiply_weight(pixels, {segment + r * in_row, in.stride}, tables.pointwise,
                            tables.bias, EvenRows{place(r), out.count}, {next, 0, 0},
                            task.first_column, task.last_column);
          };
          if (s.pixels == width && in_row == width * in.stride)
            multiply_run(0, rows * width);
          else
            for (int64_t r = 0; r < rows; r++) multiply_run(r, s.pixels);
          continue;
        }
      }
      // Whether tiles are added up depends on the shape alone, as the order of additions does.
      if (summing && summing->centred() && out.count % lanes() == 0 &&
          in_row == s.pixels * in.stride && (s.pixels == width || rows <= 2)) {
        const auto multiply_run = [&](bool past, const auto& to) HWY_ATTR {
          multiply<Left::rows>(
              Block{rows * s.pixels, 0, out.count, 0, in.count, {true, true}, past},
              LeftBlock{segment, in.stride}, Panels{tables.pointwise.data, in.count, out.count},
              AheadByTile{asked_at(next), 0, 0}, to, AddUp{{tables.bias}, *summing});
        };
        if constexpr (!std::is_same_v<T, float>) {
          multiply_run(false, EvenRows{product, out.count});
          for (int64_t r = 0; r < rows; r++)
            for (int64_t e = 0; e < out_row; e += lanes())
              store(hn::LoadU(D(), product + r * out_row + e), place(r) + e);
        } else if (s.pixels == width) {
          multiply_run(past_caches, EvenRows{place(0), out.count});
        } else {
          multiply_run(past_caches, TwoRows{place(0), place(rows - 1), out.count, s.pixels});
        }
        summing->count(rows * s.pixels);
        continue;
      }
      s.for_runs(in, out, [&](int64_t r, int64_t pixels) HWY_ATTR {
        multiply_weight(pixels, {segment + r * in_row, in.stride}, tables.pointwise, tables.bias,
                        EvenRows{product + r * out_row, out.stride}, {asked_at(next), 0, 0}, 0,
                        out.count);
      });
      for (int64_t r = 0; r < rows; r++) {
        const float* const from = product + r * out_row;
        T* const to = place(r);
        if (summing && out.dense() && s.pixels * out.count % lanes() == 0) {
          summing->add(from, s.pixels, [&](V v, int64_t e) HWY_ATTR { store(v, to + e); });
          continue;
        }
        if (summing) summing->add(from, s.pixels, [](V, int64_t) {});
        store_pixels(out, from, s.pixels, to);
      }
    }
  }
  if (summing) summing->flush();
  store.finish();
}

template <class T>
void run_forward(Stream& stream, const Forward& f, void* work) {
  ThreadPool& pool = *stream.pool;
  const Channels in = f.in(), out = f.out();
  const Shape& shape = f.x.x.shape;
  const Bands bands = f.bands();
  auto* const totals = f.sums_up() ? static_cast<double*>(work) : nullptr;
  auto* const panels = reinterpret_cast<float*>(static_cast<double*>(work) +
                                                (totals ? bands.tasks() * 2 * out.count : 0));
  float* const biases = panels + f.panel_floats();
  const Weight pointwise = pack_weight(pool, f.pointwise, false, panels);
  std::memset(biases, 0, static_cast<size_t>(f.bias_floats()) * sizeof(float));
  if (f.bias) std::memcpy(biases, f.bias.data, f.bias.bytes());
  const NormaliseTables tables(f.x, in);
  const Scratch<float> taps = tap_tables(in, f.depthwise);
  Scratch<float> pairs;
#if HWY_TARGET == HWY_AVX3
  if (in_pairs(in, out)) {
    pairs.resize(static_cast<size_t>(pair_weight_floats + out.period));
    pack_pair_weight(f.pointwise.as<float>(), false, pairs.data());
    const auto bias = out.table([&](int64_t c) { return biases[c]; });
    std::copy(bias.begin(), bias.end(), pairs.begin() + pair_weight_floats);
  }
#endif
  const ForwardTables of_band{taps.data(), pointwise, biases,
                              pairs.empty() ? nullptr : pairs.data()};
  const RowLoader<T> load{elements<T>(f.x.x), shape.height(), shape.width(), in,
                          f.x.normalised(),   tables.affine()};
  const Pace pace(shape, in);
  const size_t bytes = ForwardScratch(f, pace).bytes();
  const auto run = [&](auto store) {
    pool.run(bands.tasks() * f.column_parts(), [&](int64_t task, int worker) HWY_ATTR {
      separable_band(f, load, of_band, ForwardTask(f, task),
                     static_cast<float*>(pool.scratch(worker, bytes)),
                     totals ? totals + task * 2 * out.count : nullptr, store);
    });
  };
  if (streams(f.y, pace.segment))
    run(Streamed());
  else
    run(Cached());
  if (!totals) return;
  double* const sums = f.sums.as<double>();
  std::fill_n(sums, 2 * out.count, 0.0);
  for (int64_t task = 0; task < bands.tasks(); task++)
    for (int64_t i = 0; i < 2 * out.count; i++) sums[i] += totals[task * 2 * out.count + i];
  std::fill_n(sums + 2 * out.count, out.count, static_cast<double>(f.y.shape.pixels()));
}

void separable_target(Stream& stream, const Loaded& x, const View& depthwise, const View& pointwise,
                      const View& bias, const View& shift, const View& y, const View& sums,
                      void* work) {
  for_type_of(y, [&]<class T>(std::type_identity<T>) {
    run_forward<T>(stream, {x, depthwise, pointwise, bias, shift, y, sums}, work);
  });
}

size_t separable_bytes(const Loaded& x, const View& depthwise, const View& pointwise,
                       const View& bias, const View& shift, const View& y, const View& sums) {
  return Forward{x, depthwise, pointwise, bias, shift, y, sums}.work_bytes();
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fulmar::cpu {

HWY_EXPORT(separable_target);
void separable(Stream& stream, const Loaded& x, const View& depthwise, const View& pointwise,
               const View& bias, const View& shift, const View& y, const View& sums, void* work) {
  HWY_DYNAMIC_DISPATCH(separable_target)
  (stream, x, depthwise, pointwise, bias, shift, y, sums, work);
}

HWY_EXPORT(separable_bytes);
size_t separable_workspace(Stream&, const Loaded& x, const View& depthwise, const View& pointwise,
                           const View& bias, const View& shift, const View& y, const View& sums) {
  return HWY_DYNAMIC_DISPATCH(separable_bytes)(x, depthwise, pointwise, bias, shift, y, sums);
}

}  // namespace fulmar::cpu
#endif
