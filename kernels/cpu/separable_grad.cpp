#include <algorithm>
#include <cstring>
#include <type_traits>

#include "kernels/cpu/element_type.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/scratch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/separable_grad.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// Must come after foreach_target.h.
#include "kernels/cpu/cotangent-inl.h"
#include "kernels/cpu/depthwise_back-inl.h"
#include "kernels/cpu/pixel_pairs-inl.h"
#include "kernels/cpu/separable-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fulmar::cpu {
namespace HWY_NAMESPACE {

// Gradients of weights add up in float over so many pixels at most, then sums of such sums do.
constexpr int64_t pixels_per_sum = 1024;

struct Backward {
  const Cotangent& dy;
  const Loaded& x;
  const View &depthwise, &pointwise;
  const SkipGrad& skip;
  const SeparableGrad& d;

  Channels in() const { return Channels(x.x.shape.channels()); }
  Channels out() const { return Channels(pointwise.shape.channels()); }
  bool weights() const { return d.dpointwise.shape.rank() > 0; }
  // From 8 channels to 16 it took 0.88 of its time with 32 pixels at a time instead of 64 (Zen 4).
  Pace pace() const {
    const Channels from = in();
    const int64_t both = std::max(from.stride, out().stride);
    return {x.x.shape, from, from.stride < lanes() ? both : from.stride};
  }

  // Partial sums of weight gradients are kept for every task: as many as take 8 MiB, where bands of
  // an image would be more, and then a task takes several images.
  int64_t most_tasks() const {
    constexpr int64_t most_floats = 1 << 21;
    const int64_t most = weights() ? most_floats / (in().count * out().count) : 64;
    return std::clamp<int64_t>(most, 4, 64);
  }
  Bands bands() const { return {x.x.shape, most_tasks()}; }
  int64_t images_of_task() const {
    const Bands cut = bands();
    return cut.count > 1 ? 1 : (cut.images + most_tasks() - 1) / most_tasks();
  }
  int64_t tasks() const {
    const Bands cut = bands();
    const int64_t each = images_of_task();
    return (cut.images + each - 1) / each * cut.count;
  }
  // Of a task: dpointwise [Ci][Co], ddepthwise [taps][period], sums of dx [2][period].
  int64_t product_floats() const { return weights() ? in().count * out().count : 0; }
  int64_t tap_floats() const { return weights() ? taps * in().period : 0; }
  int64_t sum_floats() const { return x.normalised() ? 2 * in().period : 0; }
  int64_t total_floats() const { return product_floats() + tap_floats(); }

  int64_t panel_floats() const { return Weight::floats(out().count, in().count); }
  int64_t skip_floats() const {
    return skip.given() ? Weight::floats(skip.w.shape.channels(), in().count) : 0;
  }
  size_t work_bytes() const {
    return static_cast<size_t>(tasks() * sum_floats()) * sizeof(double) +
           static_cast<size_t>(tasks() * total_floats() + panel_floats() + skip_floats()) *
               sizeof(float);
  }
};

// Scratch memory of a task, in floats.
struct BackwardScratch {
  int64_t ring_in, gradient, segment, dz, skip, skip_dy, dx, sums, accumulated;

  BackwardScratch(const Backward& b, const Pace& pace) {
    const Channels in = b.in(), out = b.out();
    const int64_t width = b.x.x.shape.width();
    ring_in = (pace.step + 2) * Ring::stride_of(width, in);
    gradient = b.dy.pooled() ? pace.step * rounded_up(width * out.stride + lanes(), lanes()) : 0;
    segment = pace.step * rounded_up(pace.segment * in.stride, lanes()) + 2 * max_lanes;
    dz = pace.step * rounded_up(pace.segment * out.stride, lanes()) + 2 * max_lanes;
    skip = b.skip.given()
               ? rounded_up((pace.step / 2 + 1) * (width + 1) * in.stride, lanes()) + 2 * max_lanes
               : 0;
    // Products read floats.
    skip_dy = b.skip.given() && b.skip.dy.type != DType::f32
                  ? rounded_up((pace.step / 2 + 1) * ((width + 1) / 2) * b.skip.w.shape.channels() +
                                   lanes(),
                               lanes())
                  : 0;
    dx = 4 * rounded_up(width * in.stride, lanes());
    sums = b.sum_floats();
    accumulated = rounded_up(b.total_floats(), lanes());
  }
  size_t bytes() const {
    return static_cast<size_t>(2 * ring_in + gradient + segment + dz + skip + skip_dy + dx + sums +
                               accumulated) *
           sizeof(float);
  }
};

// One band of one image.
template <class T, class Store>
class BackwardBand {
 public:
  struct Tables {
    const float *taps, *turned;
    Weight pointwise, skip;  // transposed
    const float* pairs;      // pack_pair_weight's, or null
  };

  BackwardBand(const Backward& b, const RowLoader<T>& load, const CotangentRows<T>& cotangent,
               const Tables& tables, const Store& store, int64_t task, float* memory,
               double* sum_totals, float* totals)
      : b_(b),
        load_(load),
        cotangent_(cotangent),
        tables_(tables),
        store_(store),
        in_(b.in()),
        out_(b.out()),
        pace_(b.pace()),
        height_(b.x.x.shape.height()),
        width_(b.x.x.shape.width()),
        rows_(memory, pace_.step + 2, width_, in_),
        dd_(memory + BackwardScratch(b, pace_).ring_in, pace_.step + 2, width_, in_),
        sum_totals_(sum_totals),
        totals_(totals),
        offsets_(static_cast<size_t>(pace_.step * pace_.segment)) {
    const BackwardScratch sizes(b, pace_);
    const Bands bands = b.bands();
    image_ = task / bands.count * b.images_of_task();
    last_image_ = std::min(bands.images, image_ + b.images_of_task());
    begin_ = task % bands.count * bands.rows;
    end_ = std::min(height_, begin_ + bands.rows);
    rows_.clear_edges(width_ * in_.stride);
    dd_.clear_edges(width_ * in_.stride);
    float* at = memory + 2 * sizes.ring_in;
    const auto take = [&](int64_t floats) {
      float* const taken = at;
      at += floats;
      return taken;
    };
    const auto take_zeros = [&](int64_t floats) {
      return static_cast<float*>(
          std::memset(take(floats), 0, static_cast<size_t>(floats) * sizeof(float)));
    };
    gradient_ = take(sizes.gradient);
    segment_ = take(sizes.segment);
    dz_ = take(sizes.dz);
    skip_ = take_zeros(sizes.skip);
    skip_dy_ = take(sizes.skip_dy);
    dx_ = take(sizes.dx);
    sums_ = take_zeros(sizes.sums);
    // Few pixels add up in the total itself.
    split_ = (last_image_ - image_) * (end_ - begin_) * width_ > pixels_per_sum;
    accumulated_ = split_ ? take_zeros(sizes.accumulated) : totals_;
    if (totals_) std::memset(totals_, 0, static_cast<size_t>(b.total_floats()) * sizeof(float));
    if (sum_totals_) std::fill_n(sum_totals_, b.sum_floats(), 0.0);
  }

  void run() {
    for (; image_ < last_image_; image_++) run_image();
    flush();
    store_.finish();
  }

 private:
  void run_image() {
    int64_t loaded = begin_ - 1, made = begin_;
    if (begin_ > 0)
      rows_of_dd({begin_ - 1, 1, 0, 0}, false);
    else
      dd_.clear(-1);
    for (int64_t h = begin_; h < end_; h += pace_.step) {
      const int64_t rows = std::min(pace_.step, end_ - h);
      if (loads_x())
        for (; loaded <= h + rows; loaded++) load_(rows_, image_, loaded);
      rows_of_dd({h, rows, 0, 0}, b_.weights());
      make_dx(made, h + rows - 1);
      made = h + rows - 1;
      pixels_ += rows * width_;
      if (pixels_ >= pixels_per_sum) flush();
    }
    if (end_ < height_)
      rows_of_dd({end_, 1, 0, 0}, false);
    else
      dd_.clear(end_);
    make_dx(made, end_);
  }

  // The depthwise output's cotangent, for rows of the band or the row beside it.
  void rows_of_dd(Segment s, bool weights) {
    if (cotangent_.pooled())
      for (int64_t r = 0; r < s.rows; r++)
        cotangent_.spread(image_, s.h + r, gradient_ + r * gradient_row());
    const T* const next = load_.x + (image_ * height_ + s.h + s.rows + 1) * width_ * in_.count;
    for (s.first = 0; s.first < width_; s.first += pace_.segment) {
      s.pixels = std::min(pace_.segment, width_ - s.first);
      const int64_t in_row = s.row_floats(in_), out_row = s.row_floats(out_);
      for (int64_t r = 0; r < s.rows; r++)
        cotangent_.load(image_, s.h + r, s.first, s.pixels,
                        gradient_ + r * gradient_row() + s.first * out_.stride, dz_ + r * out_row);
      const auto ahead = NextRows::of(next + s.first * in_.count, width_ * in_.count);
#if HWY_TARGET == HWY_AVX3
      if (tables_.pairs && s.pixels % 2 == 0) {
        segment_in_pairs(s, weights, ahead);
        continue;
      }
#endif
      if (weights) depthwise_segment(rows_, in_, tables_.taps, s, segment_, ahead);
      // Weights are read once for all rows, unless a row has pixels enough.
      constexpr int64_t many = 32;
      if (s.pixels < many) {
        for (int64_t i = 0; i < s.rows * s.pixels; i++)
          offsets_[i] =
              dd_.at(s.h + i / s.pixels) - dd_.memory + (s.first + i % s.pixels) * in_.stride;
        s.for_runs(out_, out_, [&](int64_t r, int64_t pixels) HWY_ATTR {
          multiply_rows(dz_ + r * out_row, pixels,
                        ScatteredRows{dd_.memory, offsets_.data() + r * s.pixels}, {dz_, 0, 0});
        });
        if (weights)
          s.for_runs(in_, out_, [&](int64_t r, int64_t pixels) HWY_ATTR {
            add_weights(segment_ + r * in_row, dz_ + r * out_row, pixels, {dz_, 0, 0});
          });
        continue;
      }
      for (int64_t r = 0; r < s.rows; r++) {
        const int64_t later = pixel_after(s, r) * out_.count;
        multiply_rows(dz_ + r * out_row, s.pixels,
                      EvenRows{dd_.at(s.h + r) + s.first * in_.stride, in_.stride},
                      cotangent_.asks_dy(later, out_.count));
        if (weights)
          add_weights(segment_ + r * in_row, dz_ + r * out_row, s.pixels,
                      cotangent_.asks_z(later, s.pixels));
      }
    }
  }
#if HWY_TARGET == HWY_AVX3
  // Of 8 channels to 8, in registers.
  void segment_in_pairs(const Segment& s, bool weights, NextRows ahead) {
    const PairTables tables{tables_.taps, tables_.pairs, nullptr};
    const int64_t floats = s.pixels * in_.stride;
    s.by_rows([&](auto count, int64_t first) HWY_ATTR {
      constexpr int rows = decltype(count)::value;
      const float* x[rows + 2];
      PairCotangent row[rows];
      for (int64_t i = 0; i < rows + 2; i++)
        x[i] = rows_.at(s.h + first + i - 1) + s.first * in_.stride;
      for (int64_t i = 0; i < rows; i++) {
        const int64_t r = first + i, later = pixel_after(s, r) * out_.count;
        row[i] = {dz_ + r * s.row_floats(out_), dd_.at(s.h + r) + s.first * in_.stride,
                  cotangent_.asks_dy(later, 1), cotangent_.asks_z(later, 1)};
      }
      if (weights) return dd_and_weights_pairs<rows>(x, tables, floats, ahead, row, accumulated_);
      for (const PairCotangent& one : row) dd_pairs(tables, floats, one);
    });
  }
#endif
  // The pixel that is loaded next where pixel `first` of row r is now.
  int64_t pixel_after(const Segment& s, int64_t r) const {
    const bool next_row = s.first + pace_.segment >= width_;
    const int64_t row = std::min(s.h + r + (next_row ? s.rows : 0), height_ - 1);
    return (image_ * height_ + row) * width_ + (next_row ? 0 : s.first + pace_.segment);
  }
  template <class Rows>
  HWY_INLINE void multiply_rows(const float* dz, int64_t pixels, const Rows& to,
                                const AheadByTile& ahead) {
    multiply_weight(pixels, {dz, out_.stride}, tables_.pointwise, nullptr, to, ahead, 0, in_.count);
  }
  // Adds to the pointwise kernel's gradient.
  HWY_INLINE void add_weights(const float* d, const float* dz, int64_t pixels,
                              const AheadByTile& ahead) {
#if HWY_TARGET == HWY_AVX3
    if (in_.count == 8 && out_.count == 8)
      return add_products_in_pairs(d, dz, pixels, accumulated_, ahead.next, ahead.share);
#endif
    multiply<Left::columns>(Block{in_.count, 0, out_.count, 0, pixels, {false, false}},
                            LeftBlock{d, in_.stride}, PlainRight{dz, out_.stride, out_.count},
                            ahead, EvenRows{accumulated_, out_.count}, StoreSum());
  }
  int64_t gradient_row() const { return rounded_up(width_ * out_.stride + lanes(), lanes()); }

  // dx of rows [first, last), whose own and neighbouring rows of dd are there.
  void make_dx(int64_t first, int64_t last) {
    if (first >= last) return;
    const int64_t half = (width_ + 1) / 2, first_even = (first + 1) / 2;
    if (b_.skip.given() && 2 * first_even < last) {
      const int64_t count = (last + 1) / 2 - first_even, depth = b_.skip.w.shape.channels();
      const T* const dy =
          elements<T>(b_.skip.dy) + (image_ * ((height_ + 1) / 2) + first_even) * half * depth;
      constexpr int64_t line = asked_floats<T>(16);
      const AheadByTile next_rows{asked_at(dy + count * half * depth), depth * line, line};
      // Into every second pixel; the others stay 0.
      multiply_weight(count * half, {as_floats(dy, count * half * depth), depth}, tables_.skip,
                      nullptr, EvenRows{skip_, 2 * in_.stride}, next_rows, 0, in_.count);
    }
    int64_t r = first;
    for (; r + 2 <= last; r += 2) make_rows<2>(r, first_even);
    if (r < last) make_rows<1>(r, first_even);
  }
  const float* as_floats(const float* dy, int64_t /*count*/) const { return dy; }
  const float* as_floats(const bf16* dy, int64_t count) const {
    transform(
        Cached(), count, skip_dy_, [](V v) HWY_ATTR { return v; }, dy);
    return skip_dy_;
  }

  // Rows that end within a vector, or whose channels do, take a way through scratch memory.
  bool is_direct() const { return in_.dense() && width_ * in_.stride % lanes() == 0; }
  // Behind such rows' ends what is loaded is 0, where x is not known to give 0.
  bool loads_x() const { return b_.weights() || !is_direct(); }

  template <int rows>
  void make_rows(int64_t r, int64_t first_even) {
    if constexpr (!std::is_same_v<T, float>) {
      if (!is_direct()) return make_rows_in<rows, float>(r, first_even);
    }
    make_rows_in<rows, T>(r, first_even);
  }
  // Place: elements of the rows that the kernel reads x from and writes dx to.
  template <int rows, class Place>
  void make_rows_in(int64_t r, int64_t first_even) {
    const int64_t floats = width_ * in_.stride, row = rounded_up(floats, lanes());
    const bool direct = is_direct();
    const float *dd[rows + 2], *a[rows];
    for (int64_t i = 0; i < rows + 2; i++) dd[i] = dd_.at(r - 1 + i);
    Finish<rows, Place> finish{};
    finish.affine = load_.affine;
    finish.sums = sums_;
    const auto element = [&](int64_t i) { return (image_ * height_ + r + i) * width_ * in_.count; };
    for (int64_t i = 0; i < rows; i++) {
      a[i] = rows_.at(r + i);
      const bool even = (r + i) % 2 == 0;
      finish.skip[i] =
          even && b_.skip.given() ? skip_ + ((r + i) / 2 - first_even) * skip_row() : nullptr;
      const T* const x = load_.x + element(i);
      if constexpr (std::is_same_v<T, Place>) {
        finish.to[i] = elements<T>(b_.d.dx) + element(i);
        finish.x[i] = x;
      }
      if constexpr (std::is_same_v<Place, float>) {
        if (direct) continue;
        finish.to[i] = dx_ + i * row;
        finish.x[i] = dx_ + (rows + i) * row;
        load_pixels(in_, width_, dx_ + (rows + i) * row, Plainly(), x);
      }
    }
    float* const taps_sum = accumulated_ + b_.product_floats();
    const auto back = [&](auto weights, auto mask) {
      with_columns<rows + 2>(in_.stride, [&](auto columns) HWY_ATTR {
        depthwise_back<rows, decltype(weights)::value, decltype(mask)::value,
                       typename decltype(columns)::type>(
            dd, a, tables_.turned, in_.stride, in_.period, floats, taps_sum, finish, store_);
      });
    };
    const std::true_type yes;
    const std::false_type no;
    const std::integral_constant<Mask, Mask::none> none;
    const std::integral_constant<Mask, Mask::loaded> loaded;
    const std::integral_constant<Mask, Mask::from_x> from_x;
    if (b_.weights())
      b_.x.normalised() ? back(yes, loaded) : back(yes, none);
    else if (!b_.x.normalised())
      back(no, none);
    else
      loads_x() ? back(no, loaded) : back(no, from_x);
    if constexpr (std::is_same_v<Place, float>) {
      for (int64_t i = 0; !direct && i < rows; i++)
        store_pixels(in_, finish.to[i], width_, elements<T>(b_.d.dx) + element(i));
    }
  }
  int64_t skip_row() const { return (width_ + 1) / 2 * 2 * in_.stride; }

  void flush() {
    pixels_ = 0;
    if (sum_totals_) {
      const hn::ScalableTag<double> wide;
      const hn::Rebind<float, decltype(wide)> narrow;
      for (int64_t i = 0; i < b_.sum_floats(); i += static_cast<int64_t>(hn::Lanes(wide))) {
        double* const total = sum_totals_ + i;
        const auto part = hn::PromoteTo(wide, hn::LoadU(narrow, sums_ + i));
        hn::StoreU(hn::Add(hn::LoadU(wide, total), part), wide, total);
        hn::StoreU(hn::Zero(narrow), narrow, sums_ + i);
      }
    }
    if (!totals_ || !split_) return;
    transform(
        Cached(), b_.total_floats(), totals_, [](V a, V b) HWY_ATTR { return hn::Add(a, b); },
        totals_, accumulated_);
    std::memset(accumulated_, 0, static_cast<size_t>(b_.total_floats()) * sizeof(float));
  }

  const Backward& b_;
  const RowLoader<T>& load_;
  const CotangentRows<T>& cotangent_;
  const Tables& tables_;
  const Store& store_;
  Channels in_, out_;
  Pace pace_;
  int64_t height_, width_;
  Ring rows_, dd_;
  double* sum_totals_;  // [2][period]
  float* totals_;       // dpointwise, ddepthwise; null where they are not wanted
  int64_t image_, last_image_, begin_, end_, pixels_ = 0;
  bool split_;
  float *gradient_, *segment_, *dz_, *skip_, *skip_dy_, *dx_, *sums_, *accumulated_;
  Scratch<int64_t> offsets_;
};

// to[i] = sum over tasks of from[task * each + i], in their order, for i in [first, last).
HWY_NOINLINE void join_range(const float* from, int64_t tasks, int64_t each, int64_t first,
                             int64_t last, float* to) {
  const hn::ScalableTag<double> wide;
  const hn::Rebind<float, decltype(wide)> narrow;
  const auto step = static_cast<int64_t>(hn::Lanes(wide));
  int64_t i = first;
  for (; i + 2 * step <= last; i += 2 * step) {
    auto a = hn::Zero(wide), b = hn::Zero(wide);
    for (int64_t t = 0; t < tasks; t++) {
      const float* const part = from + t * each + i;
      a = hn::Add(a, hn::PromoteTo(wide, hn::LoadU(narrow, part)));
      b = hn::Add(b, hn::PromoteTo(wide, hn::LoadU(narrow, part + step)));
    }
    hn::StoreU(hn::DemoteTo(narrow, a), narrow, to + i);
    hn::StoreU(hn::DemoteTo(narrow, b), narrow, to + i + step);
  }
  for (; i < last; i++) {
    double sum = 0;
    for (int64_t t = 0; t < tasks; t++) sum += static_cast<double>(from[t * each + i]);
    to[i] = static_cast<float>(sum);
  }
}

// What tasks summed up.
void join_weights(ThreadPool& pool, const Backward& b, const float* totals) {
  const Channels in = b.in();
  const int64_t tasks = b.tasks(), each = b.total_floats();
  constexpr int64_t grain = 1 << 14;
  const int64_t products = b.product_floats();
  pool.run((products + grain - 1) / grain, [&](int64_t chunk, int) {
    join_range(totals, tasks, each, chunk * grain, std::min(products, (chunk + 1) * grain),
               b.d.dpointwise.as<float>());
  });
  float* const ddepthwise = b.d.ddepthwise.as<float>();
  for (int64_t tap = 0; tap < taps; tap++)
    for (int64_t c = 0; c < in.count; c++) {
      double sum = 0;
      for (int64_t t = 0; t < tasks; t++)
        for (int64_t e = c; e < in.period; e += in.stride)
          sum += static_cast<double>(totals[t * each + products + tap * in.period + e]);
      ddepthwise[(taps - 1 - tap) * in.count + c] = static_cast<float>(sum);
    }
}

void join_sums(const Backward& b, const double* totals) {
  const Channels in = b.in();
  double* const sums = b.d.grad_sums.as<double>();
  for (int64_t row = 0; row < 2; row++)
    for (int64_t c = 0; c < in.count; c++) {
      double sum = 0;
      for (int64_t t = 0; t < b.tasks(); t++)
        for (int64_t e = c; e < in.period; e += in.stride)
          sum += totals[t * b.sum_floats() + row * in.period + e];
      sums[row * in.count + c] = sum;
    }
}

template <class T>
void run_backward(Stream& stream, const Backward& b, void* work) {
  ThreadPool& pool = *stream.pool;
  const Channels in = b.in(), out = b.out();
  const Shape& shape = b.x.x.shape;
  const int64_t tasks = b.tasks();
  auto* const sums = static_cast<double*>(work);
  auto* const totals = reinterpret_cast<float*>(sums + tasks * b.sum_floats());
  float* const panels = totals + tasks * b.total_floats();
  float* const skip_panels = panels + b.panel_floats();
  const Weight pointwise = pack_weight(pool, b.pointwise, true, panels);
  const Weight skip = b.skip.given() ? pack_weight(pool, b.skip.w, true, skip_panels) : Weight{};

  const NormaliseTables tables(b.x, in);
  const Scratch<float> w = tap_tables(in, b.depthwise), turned = tap_tables(in, b.depthwise, true);
  const RowLoader<T> load{elements<T>(b.x.x), shape.height(), shape.width(), in,
                          b.x.normalised(),   tables.affine()};
  const CotangentRows<T> cotangent(b.dy, Shape{shape[0], shape[1], shape[2], out.count}, out);
  const size_t bytes = BackwardScratch(b, b.pace()).bytes();
  Scratch<float> pairs;
#if HWY_TARGET == HWY_AVX3
  if (in_pairs(in, out)) {
    pairs.resize(static_cast<size_t>(pair_weight_floats));
    pack_pair_weight(b.pointwise.as<float>(), true, pairs.data());
  }
#endif
  const auto run = [&](auto store) {
    using Band = BackwardBand<T, decltype(store)>;
    const typename Band::Tables of_band{w.data(), turned.data(), pointwise, skip,
                                        pairs.empty() ? nullptr : pairs.data()};
    pool.run(tasks, [&](int64_t task, int worker) HWY_ATTR {
      Band(b, load, cotangent, of_band, store, task,
           static_cast<float*>(pool.scratch(worker, bytes)),
           b.x.normalised() ? sums + task * b.sum_floats() : nullptr,
           b.weights() ? totals + task * b.total_floats() : nullptr)
          .run();
    });
  };
  if (streams(b.d.dx, shape.width()))
    run(Streamed());
  else
    run(Cached());
  if (b.weights()) join_weights(pool, b, totals);
  if (b.x.normalised()) join_sums(b, sums);
}

void separable_grad_target(Stream& stream, const Cotangent& dy, const Loaded& x,
                           const View& depthwise, const View& pointwise, const SkipGrad& skip,
                           const SeparableGrad& d, void* work) {
  for_type_of(x.x, [&]<class T>(std::type_identity<T>) {
    run_backward<T>(stream, {dy, x, depthwise, pointwise, skip, d}, work);
  });
}

size_t separable_grad_bytes(const Cotangent& dy, const Loaded& x, const View& depthwise,
                            const View& pointwise, const SkipGrad& skip, const SeparableGrad& d) {
  return Backward{dy, x, depthwise, pointwise, skip, d}.work_bytes();
}

}  // namespace HWY_NAMESPACE
}  // namespace fulmar::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fulmar::cpu {

HWY_EXPORT(separable_grad_target);
void separable_grad(Stream& stream, const Cotangent& dy, const Loaded& x, const View& depthwise,
                    const View& pointwise, const SkipGrad& skip, const SeparableGrad& d,
                    void* work) {
  HWY_DYNAMIC_DISPATCH(separable_grad_target)
  (stream, dy, x, depthwise, pointwise, skip, d, work);
}

HWY_EXPORT(separable_grad_bytes);
size_t separable_grad_workspace(Stream&, const Cotangent& dy, const Loaded& x,
                                const View& depthwise, const View& pointwise, const SkipGrad& skip,
                                const SeparableGrad& d) {
  return HWY_DYNAMIC_DISPATCH(separable_grad_bytes)(dy, x, depthwise, pointwise, skip, d);
}

}  // namespace fulmar::cpu
#endif
